"""The store in SQL: `open_store(url)` for SQLite and PostgreSQL; `search/sql/` does the work."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Engine
from typing_extensions import override

from brainformer.search.campaign.fitting import Campaign
from brainformer.search.errors import LeaseLost, NotFound, Refusal
from brainformer.search.spec import Limits, SearchSpec, resolve_spec
from brainformer.search.sql import searches
from brainformer.search.sql.chart_store import SqlCharts
from brainformer.search.sql.connection.clock import Clock
from brainformer.search.sql.connection.database import Database
from brainformer.search.sql.connection.migration import check_connection, prepare
from brainformer.search.sql.note_store import SqlNotes
from brainformer.search.sql.pool_store import SqlPools
from brainformer.search.sql.pools import check_workable
from brainformer.search.sql.reading import activity, listings
from brainformer.search.sql.reading.best import best_record
from brainformer.search.sql.retention import SqlCare
from brainformer.search.sql.rows.records import trial_record, youngest_outside
from brainformer.search.sql.rows.values import read_spec
from brainformer.search.sql.sessions import SqlSessions
from brainformer.search.sql.studies.repeats import create_repeat
from brainformer.search.sql.study_store import SqlStudies
from brainformer.search.sql.token_store import SqlTokens, page_size
from brainformer.search.sql.tokens import TokenUses
from brainformer.search.sql.trials import claims, completion, endings, expiry, heartbeats
from brainformer.search.sql.trials.eligibility import SearchCaches
from brainformer.search.status import SearchStatus
from brainformer.search.storage_errors import StorageError
from brainformer.search.store.actor import Actor
from brainformer.search.store.contract import SearchStore, TrialFilter
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
from brainformer.search.studies.plan import StudyKind
from brainformer.search.trials.lease_id import LeaseId
from brainformer.search.trials.lease_messages import (
    ClaimRequest,
    Directive,
    Lease,
    Progress,
    Receipt,
    Result,
)


def open_store(
    url: str, *, clock: Clock | None = None, exclusive: bool = True, create: bool = False
) -> SqlStore:
    """Returns the store at `url`, its schema created if the database is empty.

    Args:
        url: `sqlite:///FILE`, `sqlite://` (in memory) or `postgresql+psycopg://...`.
        clock: Seconds since 1970; for tests. Default: the database's clock.
        exclusive: Whether to hold a SQLite file against a second controller. False is for short
            visits of the command line beside a controller.
        create: Whether to begin an empty SQLite file although there was one before.

    Raises:
        StoreLocked: another controller holds the file.
        EnvironmentProblem: the file is gone though there was one before.
        SchemaMismatch: the schema is older or newer than this version's.
        StorageUnavailable: the database does not answer.
    """
    return SqlStore(Database(url, clock=clock, exclusive=exclusive, create=create))


class SqlStore(SqlTokens, SearchStore):
    """Searches, trials, leases, events and tokens in a SQL database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._caches = SearchCaches()
        self.pools: SqlPools = SqlPools(database)
        self.studies: SqlStudies = SqlStudies(database, self.pools)
        self.sessions: SqlSessions = SqlSessions(database)
        self.care: SqlCare = SqlCare(database)
        self.charts: SqlCharts = SqlCharts(database)
        self.notes: SqlNotes = SqlNotes(database)
        self._token_uses = TokenUses()
        try:
            prepare(database.engine)
            database.begin_serving(check_connection)
        except BaseException:
            database.close()
            raise

    @property
    def engines(self) -> list[Engine]:
        """All engines, for those who watch statements."""
        return self._database.engines

    # Searches

    @override
    def create_search(
        self,
        spec: SearchSpec,
        *,
        actor: Actor,
        idempotency_key: str | None = None,
        most_open: int | None = None,
        campaign: Campaign | None = None,
    ) -> SearchRecord:
        resolve_spec(spec)  # refuses what cannot run before anything is written
        with self._database.write() as tx:
            check_workable(spec, self.pools.now(tx))
            return searches.create(
                tx,
                spec,
                actor=actor,
                idempotency_key=idempotency_key,
                most_open=most_open,
                campaign=campaign,
            )

    @override
    def get_search(self, search_id: str) -> SearchRecord:
        with self._database.read() as tx:
            return searches.to_record(tx, searches.find(tx, search_id))

    @override
    def list_searches(
        self,
        *,
        cursor: str | None = None,
        limit: int = 50,
        statuses: Sequence[SearchStatus] = (),
        kinds: Sequence[StudyKind] = (StudyKind.SEARCH,),
    ) -> Page[SearchRecord]:
        with self._database.read() as tx:
            return searches.listing(
                tx, cursor=cursor, limit=page_size(limit), statuses=statuses, kinds=kinds
            )

    @override
    def change_status(
        self, search_id: str, wanted: SearchStatus, *, actor: Actor, version: int | None = None
    ) -> SearchRecord:
        with self._database.write() as tx:
            return searches.change_status(tx, search_id, wanted, actor=actor, version=version)

    @override
    def change_limits(
        self, search_id: str, limits: Limits, *, actor: Actor, version: int | None = None
    ) -> SearchRecord:
        with self._database.write() as tx:
            return searches.change_limits(tx, search_id, limits, actor=actor, version=version)

    @override
    def delete_search(self, search_id: str, *, actor: Actor, version: int | None = None) -> None:
        with self._database.write() as tx:
            gone = searches.remove(tx, search_id, actor=actor, version=version)
        self._caches.forget(gone)

    # Trials

    @override
    def list_trials(
        self,
        search_id: str,
        *,
        where: TrialFilter = TrialFilter(),  # noqa: B008 - frozen
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page[TrialRecord]:
        with self._database.read() as tx:
            search = searches.find(tx, search_id)
            return listings.trials_page(tx, search, where, cursor, page_size(limit))

    @override
    def list_trials_json(
        self,
        search_id: str,
        *,
        where: TrialFilter = TrialFilter(),  # noqa: B008 - frozen
        cursor: str | None = None,
        limit: int = 100,
    ) -> tuple[bytes, str | None]:
        with self._database.read() as tx:
            search = searches.find(tx, search_id)
            return listings.trials_json(tx, search, where, cursor, page_size(limit))

    @override
    def get_trial(self, search_id: str, number: int) -> TrialRecord:
        with self._database.read() as tx:
            search = searches.find(tx, search_id)
            row = listings.one_trial(tx, search.id, number)
            return trial_record(row, youngest_outside(search))

    @override
    def repeat_trial(self, search_id: str, number: int, *, actor: Actor) -> TrialRecord:
        with self._database.write() as tx:
            out = self.pools.now(tx)
            row = create_repeat(tx, search_id, number, out=out, actor=actor)
            return trial_record(row, youngest_outside(searches.find(tx, row.search_id)))

    @override
    def attempts(self, search_id: str, number: int) -> list[AttemptRecord]:
        with self._database.read() as tx:
            return listings.attempts_of(tx, searches.find(tx, search_id).id, number)

    @override
    def ancestry(self, search_id: str, number: int, *, limit: int = 1000) -> list[TrialRecord]:
        with self._database.read() as tx:
            search = searches.find(tx, search_id)
            return listings.ancestors(tx, search, number, page_size(limit))

    @override
    def population(self, search_id: str) -> list[TrialRecord]:
        with self._database.read() as tx:
            return listings.population(tx, searches.find(tx, search_id))

    @override
    def pareto(self, search_id: str) -> list[TrialRecord]:
        with self._database.read() as tx:
            return listings.pareto(tx, searches.find(tx, search_id))

    @override
    def best(self, search_id: str) -> BestRecord:
        with self._database.read() as tx:
            search = searches.find(tx, search_id)
            best = completion.best_of(tx, search.id, read_spec(search.spec))
            if best is None:
                raise NotFound("completed candidate in search", search.id)
            return best_record(best, trial_record(best.row, youngest_outside(search)))

    @override
    def baselines(self, search_id: str) -> list[BaselineSummary]:
        with self._database.read() as tx:
            return searches.summaries_of(tx, searches.find(tx, search_id).id)

    # Leases

    @override
    def claim(self, request: ClaimRequest) -> list[Lease]:
        busy: list[str] = []
        more = True
        while more:  # in short transactions: others write meanwhile
            with self._database.write() as tx:
                if self.pools.refuses(tx, request.pool):
                    tx.saw(request.worker_id, pool=request.pool)
                    return []
                leases, held, more = claims.claim_leases(tx, request, self._caches)
            if leases:
                return leases
            busy += held
        if not busy:
            return []
        with self._database.write() as tx:  # what another controller held may be what we serve
            return claims.claim_leases(tx, request, self._caches, only=busy).leases

    @override
    def progress(self, lease_id: str, report: Progress) -> Directive:
        with self._database.write() as tx:
            return heartbeats.record_progress(tx, LeaseId.parse(lease_id), report)

    @override
    def points(
        self, reports: Sequence[tuple[str, Progress]]
    ) -> list[Directive | Refusal | StorageError]:
        parsed = [(LeaseId.parse(lease_id), report) for lease_id, report in reports]
        with self._database.write() as tx:
            first = heartbeats.record_points(tx, parsed)
        answers: dict[int, Directive | Refusal | StorageError] = {
            place: one for place, one in enumerate(first.answers) if one is not None
        }
        for places in first.busy.values():
            again = self._points_of_one([parsed[place] for place in places])
            answers.update(zip(places, again, strict=True))
        return [answers[place] for place in range(len(parsed))]

    def _points_of_one(
        self, reports: Sequence[tuple[LeaseId, Progress]]
    ) -> Sequence[Directive | Refusal | StorageError]:
        """Returns the answers to reports of one search that somebody held; waits a while."""
        try:
            with self._database.write() as tx:
                tx.wait_for_locks(heartbeats.HELD_SECONDS)
                answers = heartbeats.record_points(tx, reports).answers
        except StorageError as error:
            return [error] * len(reports)
        return [one for one in answers if one is not None]

    @override
    def result(self, lease_id: str, result: Result) -> Receipt:
        with self._database.write() as tx:
            receipt = endings.record_result(tx, LeaseId.parse(lease_id), result)
        if isinstance(receipt, LeaseLost):
            raise receipt
        return receipt

    @override
    def release(self, lease_id: str) -> None:
        with self._database.write() as tx:
            endings.release_lease(tx, LeaseId.parse(lease_id))

    @override
    def reap(self) -> int:
        with self._database.write() as tx:
            self.pools.sweep(tx)
            return expiry.reap(tx)

    @override
    def events(
        self, *, search_id: str | None = None, after: int = 0, limit: int = 500
    ) -> list[EventRecord]:
        with self._database.read() as tx:
            return activity.events_after(tx, search_id, after, page_size(limit))

    @override
    def last_event(self, search_id: str | None = None) -> int:
        with self._database.read() as tx:
            return activity.last_event(tx, search_id)

    @override
    def workers(self) -> list[WorkerRecord]:
        with self._database.read() as tx:
            return activity.list_workers(tx)

    # Care

    @override
    def check(self) -> None:
        self._database.probe()

    @override
    def pulse(self) -> None:
        self._database.outage.pulse()

    @override
    def statistics(self) -> dict[str, float]:
        with self._database.read(aside=True) as tx:
            return activity.statistics(tx)

    @override
    def close(self) -> None:
        self._database.close()
