"""The store in SQL: `open_store(url)` for SQLite and PostgreSQL; `search/sql/` does the work."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress

from brainformer.search.errors import LeaseLost, NotFound, StorageUnavailable
from brainformer.search.spec import Limits, SearchSpec
from brainformer.search.sql import searches, tokens
from brainformer.search.sql.connection.database import Clock, Database
from brainformer.search.sql.connection.migration import check_connection, prepare
from brainformer.search.sql.reading import activity, listings
from brainformer.search.sql.rows.records import baseline_summary, trial_record, youngest_outside
from brainformer.search.sql.trials import (
    claims,
    endings,
    expiry,
    heartbeats,
)
from brainformer.search.sql.trials import (
    completion as conclusion,
)
from brainformer.search.status import SearchStatus
from brainformer.search.store.contract import Actor, SearchStore, TrialFilter
from brainformer.search.store.records import (
    AttemptRecord,
    BaselineSummary,
    BestRecord,
    EventRecord,
    Page,
    PoolRecord,
    SearchRecord,
    TokenRecord,
    TrialRecord,
    WorkerRecord,
)
from brainformer.search.trials.lease_messages import (
    ClaimRequest,
    Directive,
    Lease,
    Progress,
    Receipt,
    Result,
)

TOUCH_SECONDS = 60.0  # how often the use of a token is written down
MAX_PAGE = 1000


def open_store(url: str, *, clock: Clock | None = None, exclusive: bool = True) -> SqlStore:
    """Returns the store at `url`, its schema created if the database is empty.

    Args:
        url: `sqlite:///FILE`, `sqlite://` (in memory) or `postgresql+psycopg://...`.
        clock: Seconds since 1970; for tests. Default: the database's clock.
        exclusive: Whether to hold a SQLite file against a second controller. False is for short
            visits of the command line beside a controller.

    Raises:
        StoreLocked: another controller holds the file.
        SchemaMismatch: the schema is older or newer than this version's.
        StorageUnavailable: the database does not answer.
    """
    return SqlStore(Database(url, clock=clock, exclusive=exclusive))


class SqlStore(SearchStore):
    """Searches, trials, leases, events and tokens in a SQL database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._memories: claims.Memories = {}
        self._touched: dict[int, float] = {}
        self._touch_lock = threading.Lock()
        try:
            prepare(database.engine)
            database.set_clock()
        except BaseException:
            database.close()
            raise

    # Searches

    def create_search(
        self, spec: SearchSpec, *, actor: Actor, idempotency_key: str | None = None
    ) -> SearchRecord:
        """Creates a running search; the same key and spec returns the one made before."""
        searches.check_spec(spec)
        with self._database.write() as tx:
            return searches.create(tx, spec, actor=actor, idempotency_key=idempotency_key)

    def get_search(self, search_id: str) -> SearchRecord:
        """Returns the search by id or by name: the unfinished one, else the last ended."""
        with self._database.read() as tx:
            return searches.to_record(tx, searches.find(tx, search_id))

    def list_searches(
        self, *, cursor: str | None = None, limit: int = 50, statuses: Sequence[SearchStatus] = ()
    ) -> Page:
        """Returns SearchRecords, newest first."""
        with self._database.read() as tx:
            return searches.listing(tx, cursor=cursor, limit=_page(limit), statuses=statuses)

    def change_status(
        self, search_id: str, wanted: SearchStatus, *, actor: Actor, version: int | None = None
    ) -> SearchRecord:
        """Pauses, resumes, stops or cancels a search; asking twice is harmless."""
        with self._database.write() as tx:
            return searches.change_status(tx, search_id, wanted, actor=actor, version=version)

    def change_limits(
        self, search_id: str, limits: Limits, *, actor: Actor, version: int | None = None
    ) -> SearchRecord:
        """Replaces the limits of an unfinished search."""
        with self._database.write() as tx:
            return searches.change_limits(tx, search_id, limits, actor=actor, version=version)

    def delete_search(self, search_id: str, *, actor: Actor, version: int | None = None) -> None:
        """Deletes an ended search with its trials and events."""
        with self._database.write() as tx:
            gone = searches.remove(tx, search_id, actor=actor, version=version)
        self._memories.pop(gone, None)

    # Trials

    def list_trials(
        self,
        search_id: str,
        *,
        where: TrialFilter = TrialFilter(),  # noqa: B008 - frozen
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page:
        """Returns TrialRecords by keyset; a cursor belongs to one sort order."""
        with self._database.read() as tx:
            search = searches.find(tx, search_id)
            return listings.trials_page(tx, search, where, cursor, _page(limit))

    def list_trials_json(
        self,
        search_id: str,
        *,
        where: TrialFilter = TrialFilter(),  # noqa: B008 - frozen
        cursor: str | None = None,
        limit: int = 100,
    ) -> tuple[bytes, str | None]:
        """Returns the page of `list_trials` as JSON, and its `next_cursor`; never with curves."""
        with self._database.read() as tx:
            search = searches.find(tx, search_id)
            return listings.trials_json(tx, search, where, cursor, _page(limit))

    def get_trial(self, search_id: str, number: int) -> TrialRecord:
        """Returns one trial by its number in the search."""
        with self._database.read() as tx:
            search = searches.find(tx, search_id)
            row = listings.one_trial(tx, search.id, number)
            return trial_record(row, youngest_outside(search))

    def attempts(self, search_id: str, number: int) -> list[AttemptRecord]:
        """Returns every attempt of a trial, refused reports included."""
        with self._database.read() as tx:
            return listings.attempts_of(tx, searches.find(tx, search_id).id, number)

    def ancestry(self, search_id: str, number: int, *, limit: int = 1000) -> list[TrialRecord]:
        """Returns the trial, its parent, its parent's parent ... to the first ancestor."""
        with self._database.read() as tx:
            search = searches.find(tx, search_id)
            return listings.ancestors(tx, search, number, _page(limit))

    def population(self, search_id: str) -> list[TrialRecord]:
        """Returns the last P completed or pruned candidates, oldest first."""
        with self._database.read() as tx:
            return listings.population(tx, searches.find(tx, search_id))

    def pareto(self, search_id: str) -> list[TrialRecord]:
        """Returns the completed candidates that no other of their pool beats."""
        with self._database.read() as tx:
            return listings.pareto(tx, searches.find(tx, search_id))

    def best(self, search_id: str) -> BestRecord:
        """Returns the best trial, confirmed ones first."""
        with self._database.read() as tx:
            search = searches.find(tx, search_id)
            found = conclusion.best_of(tx, search.id)
            if found is None:
                raise NotFound("completed candidate in search", search.id)
            row, values, sure, pool = found
            return BestRecord(
                trial=trial_record(row, youngest_outside(search)),
                baseline=None if pool is None else baseline_summary(pool),
                confirmed=len(values) > 1,
                repeats=len(values),
                mean_fitness=sum(values) / len(values),
                confidence=sure,
            )

    def baselines(self, search_id: str) -> list[BaselineSummary]:
        """Returns the baseline's figures, pool by pool."""
        with self._database.read() as tx:
            return searches.summaries_of(tx, searches.find(tx, search_id).id)

    # Leases

    def claim(self, request: ClaimRequest) -> list[Lease]:
        """Grants up to `count` leases now; proposes new trials if nothing is queued."""
        with self._database.write() as tx:
            leases, all_held = claims.claim_leases(tx, request, self._memories, wait=False)
        if leases or all_held:
            return leases
        with self._database.write() as tx:  # what another controller held may be what we serve
            return claims.claim_leases(tx, request, self._memories, wait=True)[0]

    def progress(self, lease_id: str, report: Progress) -> Directive:
        """Extends the lease, keeps the point, and says whether to go on."""
        with self._database.write() as tx:
            return heartbeats.record_progress(tx, lease_id, report)

    def result(self, lease_id: str, result: Result) -> Receipt:
        """Records the end of an attempt, with population and event, in one transaction."""
        with self._database.write() as tx:
            receipt = endings.record_result(tx, lease_id, result)
        if isinstance(receipt, LeaseLost):
            raise receipt
        return receipt

    def release(self, lease_id: str) -> None:
        """Hands an unstarted lease back: queued again, the attempt not counted."""
        with self._database.write() as tx:
            endings.release_lease(tx, lease_id)

    def reap(self) -> int:
        """Requeues or fails trials whose lease has expired; returns how many. Idempotent."""
        with self._database.write() as tx:
            return expiry.reap(tx)

    # Events, workers

    def events(
        self, *, search_id: str | None = None, after: int = 0, limit: int = 500
    ) -> list[EventRecord]:
        """Returns events with seq > `after`, oldest first."""
        with self._database.read() as tx:
            return activity.events_after(tx, search_id, after, _page(limit))

    def last_event(self, search_id: str | None = None) -> int:
        """Returns the newest event's seq (0 if there is none)."""
        with self._database.read() as tx:
            return activity.last_event(tx, search_id)

    def workers(self) -> list[WorkerRecord]:
        """Returns the workers seen, latest first."""
        with self._database.read() as tx:
            return activity.list_workers(tx)

    def pools(self) -> list[PoolRecord]:
        """Returns the pools seen."""
        with self._database.read() as tx:
            return activity.list_pools(tx)

    # Tokens and audit

    def create_token(
        self,
        name: str,
        scopes: Sequence[str],
        *,
        expires_in_seconds: float | None,
        actor: Actor,
    ) -> tuple[TokenRecord, str]:
        """Creates a token; the secret is returned here only and kept as a SHA-256."""
        with self._database.write() as tx:
            return tokens.create_token(tx, name, scopes, expires_in_seconds, actor)

    def adopt_token(
        self, name: str, scopes: Sequence[str], secret: str, *, actor: Actor
    ) -> TokenRecord:
        """Returns the token of a secret that was made elsewhere, created unless it is there."""
        with self._database.write() as tx:
            return tokens.adopt_token(tx, name, scopes, secret, actor)

    def find_token(self, secret: str) -> TokenRecord | None:
        """Returns the live token of this secret; None if there is none."""
        with self._database.read() as tx:
            found = tokens.find_token(tx, secret)
            now = tx.now
        if found is not None and self._due(found.id, now):
            # Who reads must be let in though nothing can be written.
            with suppress(StorageUnavailable), self._database.write() as tx:
                tokens.touch_token(tx, found.id)
        return found

    def _due(self, token_id: int, now: float) -> bool:
        """Returns whether the use of a token is to be written: once a minute at most."""
        with self._touch_lock:
            last = self._touched.get(token_id)
            if last is not None and 0 <= now - last < TOUCH_SECONDS:
                return False
            self._touched[token_id] = now
            return True

    def list_tokens(self) -> list[TokenRecord]:
        """Returns all tokens, without secrets."""
        with self._database.read() as tx:
            return tokens.list_tokens(tx)

    def revoke_token(self, token_id: int, *, actor: Actor) -> TokenRecord:
        """Revokes a token at once; asking twice is harmless."""
        with self._database.write() as tx:
            return tokens.revoke_token(tx, token_id, actor)

    def audit(self, *, cursor: str | None = None, limit: int = 100) -> Page:
        """Returns AuditRecords, newest first."""
        before = None if cursor is None else searches.whole_cursor(cursor)
        with self._database.read() as tx:
            return tokens.audit_page(tx, before=before, limit=_page(limit))

    # Care

    def check(self) -> None:
        """Returns if the database answers and its schema is current; raises StorageError."""
        with self._database.read() as tx:
            check_connection(tx.connection)

    def statistics(self) -> dict[str, float]:
        """Returns figures for /metrics."""
        with self._database.read() as tx:
            return activity.statistics(tx)

    def close(self) -> None:
        """Releases connections and the SQLite lock."""
        self._database.close()


def _page(limit: int) -> int:
    return max(1, min(limit, MAX_PAGE))
