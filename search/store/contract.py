"""The contract of the store; `search/sql/store.py` keeps it.

Every method is one transaction, is safe to call from several threads, and either does all that
it says or nothing. Times are the database's own. Execution is at least once, recording exactly
once: a result commits only by compare-and-set on (running, attempt).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from brainformer.search.campaign.fitting import Campaign
from brainformer.search.errors import Refusal
from brainformer.search.spec import Limits, SearchSpec
from brainformer.search.status import SearchStatus
from brainformer.search.storage_errors import StorageError
from brainformer.search.store.actor import Actor
from brainformer.search.store.chart_store import ChartStore
from brainformer.search.store.note_store import NoteStore
from brainformer.search.store.pool_store import PoolStore
from brainformer.search.store.records import (
    AttemptRecord,
    BaselineSummary,
    BestRecord,
    EventRecord,
    Page,
    SearchRecord,
    TrialRecord,
    WorkerRecord,
)
from brainformer.search.store.session_store import SessionStore
from brainformer.search.store.store_care import StoreCare
from brainformer.search.store.study_store import StudyStore
from brainformer.search.store.token_store import TokenStore
from brainformer.search.studies.plan import StudyKind
from brainformer.search.trials.lease_messages import (
    ClaimRequest,
    Directive,
    Lease,
    Progress,
    Receipt,
    Result,
)
from brainformer.search.trials.trial import TrialKind, TrialStatus


@dataclass(frozen=True)
class TrialFilter:
    """Which trials, in which order.

    Attributes:
        sort: "number", "-number", "fitness", "-fitness", "step_time_ms", "-step_time_ms",
            "parameters", "-parameters", "seq", "-seq"; a leading minus is descending. Missing
            values come last.
        after_seq: Only trials changed after this sequence number (sorted by seq).
        curves: Whether learning curves and expert loads are read too.
    """

    statuses: Sequence[TrialStatus] = ()
    kinds: Sequence[TrialKind] = ()
    pool: str | None = None
    sort: str = "number"
    after_seq: int | None = None
    curves: bool = False

    @classmethod
    def rival_runs(cls, pool: str | None, *, sort: str = "number", curves: bool = False) -> Self:
        """Returns the filter of the completed runs of a pool's baseline."""
        ended, kinds = (TrialStatus.COMPLETED,), (TrialKind.BASELINE,)
        return cls(statuses=ended, kinds=kinds, pool=pool, sort=sort, curves=curves)

    @classmethod
    def fittest(cls, pool: str | None = None, *, curves: bool = False) -> Self:
        """Returns the filter of the completed candidates, the best single run first."""
        ended, kinds = (TrialStatus.COMPLETED,), (TrialKind.CANDIDATE,)
        return cls(statuses=ended, kinds=kinds, pool=pool, sort="-fitness", curves=curves)


class SearchStore(TokenStore):
    """Searches, trials, leases, events, tokens. Errors are those of `search/errors.py`.

    Attributes:
        pools: The kinds of hardware that work: looked at, drained, resumed, retired.
        sessions: What browsers hold instead of a token.
        care: What keeps the database in shape.
        studies: Certificates and what else is measured beside a search.
        charts: Searches as columns and in summary, for pictures.
        notes: What people keep on searches.
    """

    pools: PoolStore
    sessions: SessionStore
    care: StoreCare
    studies: StudyStore
    charts: ChartStore
    notes: NoteStore

    # Searches

    @abstractmethod
    def create_search(
        self,
        spec: SearchSpec,
        *,
        actor: Actor,
        idempotency_key: str | None = None,
        most_open: int | None = None,
        campaign: Campaign | None = None,
    ) -> SearchRecord:
        """Creates a running search; the same key and spec returns the one made before.

        It begins with what other searches have evaluated (`carried_into`), all of it or none.

        Raises:
            TooManySearches: `most_open` have not ended yet.
            IdempotencyMismatch: the key was used with another spec.
            InvalidSpec: baseline or seeds do not fit the space, the space is unknown, or every pool
                that is named was retired.
        """

    @abstractmethod
    def get_search(self, search_id: str) -> SearchRecord:
        """Returns the search by id or by name: the unfinished one, else the last ended.

        Raises:
            NotFound: there is none.
        """

    @abstractmethod
    def list_searches(
        self,
        *,
        cursor: str | None = None,
        limit: int = 50,
        statuses: Sequence[SearchStatus] = (),
        kinds: Sequence[StudyKind] = (StudyKind.SEARCH,),
    ) -> Page[SearchRecord]:
        """Returns searches, newest first; studies where their kind is asked for."""

    @abstractmethod
    def change_status(
        self, search_id: str, wanted: SearchStatus, *, actor: Actor, version: int | None = None
    ) -> SearchRecord:
        """Pauses, resumes, stops (`stopping`) or cancels a search; asking twice is harmless.

        `stopping` becomes `stopped` when nothing runs; `cancelled` cancels queued and running
        trials at once: their workers learn it with the next report.

        Raises:
            IllegalTransition: the search has ended.
            StaleVersion: `version` is not the present one.
        """

    @abstractmethod
    def change_limits(
        self, search_id: str, limits: Limits, *, actor: Actor, version: int | None = None
    ) -> SearchRecord:
        """Replaces the limits of an unfinished search."""

    @abstractmethod
    def delete_search(self, search_id: str, *, actor: Actor, version: int | None = None) -> None:
        """Deletes an ended search with its trials and events.

        Raises:
            Conflict: it has not ended; stop or cancel it first.
        """

    # Trials

    @abstractmethod
    def list_trials(
        self,
        search_id: str,
        *,
        where: TrialFilter = TrialFilter(),
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page[TrialRecord]:
        """Returns trials by keyset; a cursor belongs to one sort order."""

    @abstractmethod
    def list_trials_json(
        self,
        search_id: str,
        *,
        where: TrialFilter = TrialFilter(),
        cursor: str | None = None,
        limit: int = 100,
    ) -> tuple[bytes, str | None]:
        """Returns the page of `list_trials` as JSON, and its `next_cursor`; never with curves.

        For those who would only write the records down again: a third of the time.
        """

    @abstractmethod
    def get_trial(self, search_id: str, number: int) -> TrialRecord:
        """Returns one trial by its number in the search."""

    @abstractmethod
    def repeat_trial(self, search_id: str, number: int, *, actor: Actor) -> TrialRecord:
        """Queues a candidate's block once more, with a fresh seed, on the pool that it ran on.

        What it shows is beside the search: it counts neither for the race nor for the best.

        Raises:
            NotFound: there is no such search or trial.
            Conflict: the search takes no more trials, the trial is not a candidate that has ended,
                or nobody works on its pool.
        """

    @abstractmethod
    def attempts(self, search_id: str, number: int) -> list[AttemptRecord]:
        """Returns every attempt of a trial, refused reports included."""

    @abstractmethod
    def ancestry(self, search_id: str, number: int, *, limit: int = 1000) -> list[TrialRecord]:
        """Returns the trial, its parent, its parent's parent ... to the first ancestor.

        Like `population` and `pareto` without learning curves and expert loads.
        """

    @abstractmethod
    def population(self, search_id: str) -> list[TrialRecord]:
        """Returns the last P completed or pruned candidates, oldest first."""

    @abstractmethod
    def pareto(self, search_id: str) -> list[TrialRecord]:
        """Returns the completed candidates that none of their pool beats in loss and step time."""

    @abstractmethod
    def best(self, search_id: str) -> BestRecord:
        """Returns the best trial, confirmed ones first.

        Raises:
            NotFound: no candidate has completed yet.
        """

    @abstractmethod
    def baselines(self, search_id: str) -> list[BaselineSummary]:
        """Returns the baseline's figures, pool by pool."""

    # Leases

    @abstractmethod
    def claim(self, request: ClaimRequest) -> list[Lease]:
        """Grants up to `count` leases now; proposes new trials if nothing is queued.

        Fair between searches: the one with the fewest running trials is served first. Baselines
        of the pool come before its candidates, which wait until they are done.
        """

    @abstractmethod
    def progress(self, lease_id: str, report: Progress) -> Directive:
        """Extends the lease, keeps the point, and says whether to go on.

        A point that is reported again is kept once and gets the answer of the first time.

        Raises:
            LeaseLost: another attempt holds the trial, or it has ended.
            NotFound: there never was such a lease.
        """

    @abstractmethod
    def points(
        self, reports: Sequence[tuple[str, Progress]]
    ) -> list[Directive | Refusal | StorageError]:
        """Does what `progress` does for several reports with a point, together.

        Returns:
            An answer to each. An error stands in place of it where the report is refused or its
            search is held for long; neither keeps the others from their answers.
        """

    @abstractmethod
    def result(self, lease_id: str, result: Result) -> Receipt:
        """Records the end of an attempt, with population and event, in one transaction.

        An identical repeat returns the same receipt with `duplicate` set.

        Raises:
            LeaseLost: the attempt no longer holds the trial; the report is kept for audit.
            InvalidMeasurement: completed without a finite validation loss.
            NotFound: there never was such a lease.
        """

    @abstractmethod
    def release(self, lease_id: str) -> None:
        """Hands an unstarted lease back: queued again, the attempt not counted.

        Asking twice is harmless.

        Raises:
            LeaseLost: the attempt no longer holds the trial.
            NotFound: there never was such a lease.
        """

    @abstractmethod
    def reap(self) -> int:
        """Requeues or fails trials whose lease has expired; returns how many. Idempotent.

        No lease expires within its own length of the controller's start or of an outage's end.
        Ends searches, too, whose hours ran out while no worker asked.
        """

    # Events, workers

    @abstractmethod
    def events(
        self, *, search_id: str | None = None, after: int = 0, limit: int = 500
    ) -> list[EventRecord]:
        """Returns events with seq > `after`, oldest first."""

    @abstractmethod
    def last_event(self, search_id: str | None = None) -> int:
        """Returns the newest event's seq (0 if there is none)."""

    @abstractmethod
    def workers(self) -> list[WorkerRecord]:
        """Returns the workers seen, latest first."""

    # Care

    @abstractmethod
    def check(self) -> None:
        """Returns if the database answers, can be written and has the present schema.

        Raises:
            StorageError: it cannot serve; says why.
        """

    @abstractmethod
    def pulse(self) -> None:
        """Says that this process is serving requests.

        Whoever says so once must go on every second: a pause is a time in which no worker could be
        heard, so no lease expires because of it.
        """

    @abstractmethod
    def statistics(self) -> dict[str, float]:
        """Returns figures for /metrics: trials by status and outcome, oldest lease age ..."""

    @abstractmethod
    def close(self) -> None:
        """Releases connections and the SQLite lock."""
