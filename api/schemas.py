"""Bodies of the REST interface that are not the search's own records or messages."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from brainformer.search.proxy.proxy import Name, Proxy
from brainformer.search.space.difference import Change
from brainformer.search.space.genome import Genome
from brainformer.search.space.space import Space
from brainformer.search.spec import Limits
from brainformer.search.store.note_store import NoteRecord
from brainformer.search.store.records import (
    AttemptRecord,
    AuditRecord,
    BaselineSummary,
    CertificateRecord,
    PoolRecord,
    PromotionRecord,
    SearchRecord,
    TokenRecord,
    TrialRecord,
    WorkerRecord,
)
from brainformer.search.store.scopes import Scope
from brainformer.search.studies.certificate import CertificateRequest
from brainformer.search.studies.promotion import PromotionRequest
from brainformer.search.trials.equal_tokens import EqualTokens
from brainformer.search.trials.trial import CurvePoint


class Body(BaseModel):
    """Base of the request bodies: no unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Answer(BaseModel):
    """Base of the answers."""

    model_config = ConfigDict(frozen=True)


class SearchPage(Answer):
    """One page of searches, newest first; `next_cursor` is null at the end."""

    items: tuple[SearchRecord, ...]
    next_cursor: str | None = None


class CertificateBody(CertificateRequest):
    """A certificate that is wanted; without a pool, it runs on the search's first."""

    pool: Name | None = None


class Certificates(Answer):
    """Certificates of a search, newest first."""

    items: tuple[CertificateRecord, ...]


class PromotionBody(PromotionRequest):
    """A promotion that is wanted; without a pool, it runs on that of the search's best block."""

    pool: Name | None = None


class Promotions(Answer):
    """Promotions of a search, newest first."""

    items: tuple[PromotionRecord, ...]


class TrialPage(Answer):
    """One page of trials. Curves and expert loads are left out here: ask for the trial."""

    items: tuple[TrialRecord, ...]
    next_cursor: str | None = None


class Trials(Answer):
    """Trials that come all at once."""

    items: tuple[TrialRecord, ...]


class TrialTable(Answer):
    """Rows of a sorted and filtered table, and how many it has in all."""

    items: tuple[TrialRecord, ...]
    total: int


class SparkLine(Answer):
    """The best single run so far, for a line as small as a word; null before the first.

    `pools` are those that have worked on the search.
    """

    best: tuple[float | None, ...]
    pools: tuple[str, ...]


class PoolCurves(Answer):
    """What a learning curve is seen beside on its pool.

    Attributes:
        rival: The newest completed run of the pool's baseline.
        number: The pool's best candidates, by single runs.
        curve: Theirs, one for each.
    """

    rival: TrialRecord | None
    number: tuple[int, ...]
    curve: tuple[tuple[CurvePoint, ...], ...]


class Baselines(Answer):
    """The baseline's figures, pool by pool."""

    items: tuple[BaselineSummary, ...]


class Workers(Answer):
    """The workers seen, latest first."""

    items: tuple[WorkerRecord, ...]


class Pools(Answer):
    """The pools seen."""

    items: tuple[PoolRecord, ...]


class Tokens(Answer):
    """All tokens, without secrets."""

    items: tuple[TokenRecord, ...]


class AuditPage(Answer):
    """One page of the audit trail, newest first."""

    items: tuple[AuditRecord, ...]
    next_cursor: str | None = None


class TrialDetail(TrialRecord):
    """A trial with every attempt and, for a mutation, what differs from its parent.

    `equal_tokens` compares it with the baseline of its pool after the same number of tokens.
    """

    attempts: tuple[AttemptRecord, ...] = ()
    changes: tuple[Change, ...] = ()
    equal_tokens: EqualTokens | None = None


class SearchChange(Body):
    """What may be changed of a search that has not ended."""

    limits: Limits


class NoteChange(Body):
    """What is to be changed of a search's note; what is left out stays as it is."""

    note: Annotated[str, Field(max_length=2000)] | None = None
    archived: bool | None = None


class Notes(Answer):
    """Notes on searches."""

    items: tuple[NoteRecord, ...]


class NewToken(Body):
    """A token to be made."""

    name: Name
    scopes: Annotated[tuple[Scope, ...], Field(min_length=1, max_length=4)]
    expires_in_seconds: Annotated[float, Field(gt=0, le=10 * 365 * 86_400)] | None = None


class CreatedToken(Answer):
    """A token that was made; its secret is shown here only."""

    token: TokenRecord
    secret: str


class Login(Body):
    """A token that becomes the browser's cookie."""

    token: Annotated[str, Field(min_length=1, max_length=512)]


class Identity(Answer):
    """Whom the controller takes a caller for."""

    name: str
    scopes: tuple[Scope, ...]


class NamedSpace(Answer):
    """A built-in space, how many genomes it has, and the proxy that is named after it."""

    name: str
    size: Annotated[float, Field(description="Number of distinct genomes.")]
    space: Space
    proxy: Proxy
    tuned: Annotated[
        bool, Field(description="Whether the proxy's learning rate was swept, not only chosen.")
    ]


class Spaces(Answer):
    """The built-in spaces."""

    items: tuple[NamedSpace, ...]


class ZooGenome(Answer):
    """A named genome of the literature, moved to a space."""

    name: str
    genome: Genome
    digest: str


class Zoo(Answer):
    """The zoo in one space."""

    space: str
    items: tuple[ZooGenome, ...]


class DataSet(Answer):
    """A data set id that a search may name, and who offers it."""

    id: str
    built_in: bool
    hash: str | None = None


class DataSets(Answer):
    """The data set ids known here."""

    items: tuple[DataSet, ...]


class GenomeQuestion(Body):
    """A genome to be checked and costed under a proxy."""

    genome: Genome
    proxy: Proxy = Proxy()


class GenomeFacts(Answer):
    """What the cost model says of a genome under a proxy."""

    digest: str
    genome: Genome
    parameters: int
    activated_parameters: int
    flops_per_token: float
    memory_bytes: int
    trainable: bool
    reason: Annotated[str, Field(description="Why it cannot train here; empty if it can.")] = ""


class Event(Answer):
    """The data of one server-sent event, beside the fields of its kind."""

    model_config = ConfigDict(frozen=True, extra="allow")

    seq: int
    search_id: str | None
    at: datetime


class Health(Answer):
    """Whether the controller lives, or is ready."""

    status: Literal["ok"]
    version: str
