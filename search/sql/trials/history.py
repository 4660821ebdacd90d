"""Evolution's view of a search: a window of finished candidates, read once each.

Ranks of completion are given under the search's lock and never change, so what was read once stays
true, in every controller; a proposal reads only what has finished since the last one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import bindparam, func, select
from typing_extensions import override

from brainformer.search.evolution.proposer import Proposer
from brainformer.search.space.genome import Genome
from brainformer.search.spec import SearchSpec
from brainformer.search.sql.connection.database import Transaction
from brainformer.search.sql.connection.tables import trials
from brainformer.search.sql.rows.values import read_genome
from brainformer.search.sql.trials.baselines import baseline_rows
from brainformer.search.sql.trials.state import SearchState
from brainformer.search.surrogate.screening import MOST_OBSERVATIONS
from brainformer.search.trials.history import History, Observation
from brainformer.search.trials.trial import OPEN, TrialKind, TrialStatus

FINISHED = (
    select(
        trials.c.number,
        trials.c.finished_rank,
        trials.c.genome,
        trials.c.fitness,
        trials.c.status,
        trials.c.step_time_ms,
        trials.c.parameters,
    )
    .where(trials.c.search_id == bindparam("search"), trials.c.finished_rank >= bindparam("first"))
    .order_by(trials.c.finished_rank)
)
# Asked for by digest alone: with a kind beside it SQLite would go through all candidates.
TRIED = select(trials.c.digest, trials.c.kind).where(
    trials.c.search_id == bindparam("search"),
    trials.c.digest.in_(bindparam("digests", expanding=True)),
)
# Of one digest, as most proposals ask: to expand a list takes longer than to look it up.
TRIED_ONE = select(trials.c.digest, trials.c.kind).where(
    trials.c.search_id == bindparam("search"), trials.c.digest == bindparam("digest")
)
# By one status at a time and by what the kind is not, for the same reason: the index of statuses.
OTHERS = [kind.value for kind in TrialKind if kind is not TrialKind.CANDIDATE]
IN_FLIGHT = (
    select(trials.c.number, trials.c.genome)
    .where(
        trials.c.search_id == bindparam("search"),
        trials.c.status == bindparam("status"),
        trials.c.kind.not_in(OTHERS),
    )
    .order_by(trials.c.number.desc())
    .limit(bindparam("limit"))
)

IMPORTED = (
    select(func.count())
    .select_from(trials)
    .where(
        trials.c.search_id == bindparam("search"),
        trials.c.kind == TrialKind.CANDIDATE.value,
        trials.c.imported,
    )
)


class FinishedRow(NamedTuple):
    """A finished candidate's columns, as `FINISHED` selects them."""

    number: int
    finished_rank: int
    genome: str
    fitness: float | None
    status: str
    step_time_ms: float | None
    parameters: int


class TriedRow(NamedTuple):
    """A trial's columns, as `TRIED` selects them."""

    digest: str
    kind: str


class OpenRow(NamedTuple):
    """An open candidate's columns, as `IN_FLIGHT` selects them."""

    number: int
    genome: str


class SearchCache:
    """What this process keeps of one search between proposals: proposer and window."""

    def __init__(self, spec: SearchSpec) -> None:
        self.spec = spec
        self.proposer = Proposer(spec)
        self.size = max(MOST_OBSERVATIONS, spec.population_size)
        self.window: list[Observation] = []
        self.imported: int | None = None  # read once: none is imported later
        self._added: dict[int, Observation] = {}

    @property
    def seen(self) -> int:
        """The rank after the last one in the window."""
        return self.window[-1].finished + 1 if self.window else 0

    def update(self, tx: Transaction, state: SearchState) -> None:
        """Reads what has finished since the last time."""
        finished = state.candidates_finished
        if self.seen >= finished:
            return
        first = max(self.seen, finished - self.size)
        added = [self._added.get(rank) for rank in range(first, finished)]
        known = [seen for seen in added if seen is not None]
        self._added.clear()
        self.window += known if len(known) == len(added) else _read(tx, state.id, first)
        del self.window[: -self.size]

    def add_finished(self, observation: Observation) -> None:
        """Takes what this process has just committed, so that it need not be read.

        Said again, too late or out of turn, it is read or known already.
        """
        if observation.finished >= self.seen:
            self._added[observation.finished] = observation


def _read(tx: Transaction, search_id: str, first: int) -> list[Observation]:
    """Returns the candidates that finished from a rank on."""
    return [
        Observation(
            number=row.number,
            finished=row.finished_rank,
            genome=read_genome(row.genome),
            fitness=row.fitness,
            pruned=row.status == TrialStatus.PRUNED.value,
            step_time_ms=row.step_time_ms,
            parameters=row.parameters,
        )
        for row in tx.all(FinishedRow, FINISHED, {"search": search_id, "first": first})
        if row.fitness is not None
    ]


class SqlHistory(History):
    """The history of one search within a transaction."""

    def __init__(self, tx: Transaction, state: SearchState, cache: SearchCache) -> None:
        self._tx = tx
        self._state = state
        self._cache = cache
        cache.update(tx, state)

    @override
    def proposed(self) -> int:
        return self._state.candidates_proposed

    @override
    def finished(self) -> int:
        return self._state.candidates_finished

    @override
    def imported(self) -> int:
        if self._cache.imported is None:
            found = self._tx.run(IMPORTED, {"search": self._state.id}).scalar_one()
            self._cache.imported = found
        return self._cache.imported

    @override
    def population(self, size: int) -> Sequence[Observation]:
        return self._cache.window[-size:]

    @override
    def recent(self, limit: int) -> Sequence[Observation]:
        return self._cache.window[-limit:]

    @override
    def in_flight(self, limit: int) -> Sequence[Genome]:
        if not self._state.candidates_open:
            return []
        rows: list[OpenRow] = []
        for status, count in zip(OPEN, (self._state.queued, self._state.running), strict=True):
            if count:
                named = {"search": self._state.id, "status": status.value, "limit": limit}
                rows += self._tx.all(OpenRow, IN_FLIGHT, named)
        rows.sort(key=lambda row: row.number)
        return [read_genome(row.genome) for row in rows[-limit:]]

    @override
    def tried(self, digests: Sequence[str]) -> frozenset[str]:
        search: dict[str, object] = {"search": self._state.id}
        if len(digests) == 1:
            found = self._tx.all(TriedRow, TRIED_ONE, search | {"digest": digests[0]})
        else:
            found = self._tx.all(TriedRow, TRIED, search | {"digests": list(digests)})
        return frozenset(row.digest for row in found if row.kind == TrialKind.CANDIDATE.value)

    @override
    def noise(self) -> float | None:
        rows = baseline_rows(self._tx, self._state.id)
        known = [(row.noise, row.repeats - 1) for row in rows if row.noise is not None]
        freedom = sum(weight for _, weight in known)
        if not freedom:
            return None
        pooled = sum(weight * noise**2 for noise, weight in known) / freedom
        return float(pooled**0.5)
