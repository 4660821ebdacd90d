"""Searches: created, listed, paused, stopped, cancelled, deleted."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence

from sqlalchemy import delete, func, insert, select, text

from brainformer.search.campaign.fitting import Campaign
from brainformer.search.errors import (
    Conflict,
    IdempotencyMismatch,
    IllegalTransition,
    InvalidInput,
    NotFound,
    StaleVersion,
    TooManySearches,
)
from brainformer.search.spec import Limits, SearchSpec
from brainformer.search.sql.connection.advisory_locks import AdvisoryLock
from brainformer.search.sql.connection.database import Transaction
from brainformer.search.sql.connection.storable_text import storable
from brainformer.search.sql.connection.tables import UNENDED, searches
from brainformer.search.sql.importing import import_campaign
from brainformer.search.sql.rows.records import baseline_summary, search_record
from brainformer.search.sql.rows.table_rows import SearchRow
from brainformer.search.sql.tokens import audit_action
from brainformer.search.sql.trials.baselines import baseline_rows
from brainformer.search.sql.trials.cancellation import cancel_open
from brainformer.search.sql.trials.completion import advance, limit_reached
from brainformer.search.sql.trials.state import BY_ID, SearchState, lock_search
from brainformer.search.status import SEARCH_TRANSITIONS, SearchStatus
from brainformer.search.store.actor import Actor
from brainformer.search.store.records import BaselineSummary, Page, SearchRecord
from brainformer.search.studies.plan import StudyKind
from brainformer.search.trials.events import EventKind
from brainformer.search.trials.trial import TrialStatus

WANTED = {
    SearchStatus.RUNNING,
    SearchStatus.PAUSED,
    SearchStatus.STOPPING,
    SearchStatus.CANCELLED,
}
KEY_LENGTH = 255
COUNT_OPEN = select(func.count()).select_from(searches).where(UNENDED)


def create(
    tx: Transaction,
    spec: SearchSpec,
    *,
    actor: Actor,
    idempotency_key: str | None,
    most_open: int | None = None,
    campaign: Campaign | None = None,
) -> SearchRecord:
    """Creates a running search, or returns the one that the key has made before."""
    written = spec.model_dump_json()
    digest = _digest(written, campaign)
    made = made_before(tx, idempotency_key, digest)
    if made is not None:
        return made
    if most_open is not None and tx.run(COUNT_OPEN).scalar_one() >= most_open:
        raise TooManySearches(most_open)
    last: int | None = tx.run(select(func.max(searches.c.ordinal))).scalar()
    search_id = uuid.uuid4().hex
    values = {
        "id": search_id,
        "ordinal": (last or 0) + 1,
        "name": spec.name,
        "status": SearchStatus.RUNNING.value,
        "spec": written,
        "spec_hash": digest,
        "idempotency_key": idempotency_key,
        "dataset_hash": campaign.dataset_hash if campaign else spec.proxy.dataset_hash,
        "created_at": tx.now,
        "updated_at": tx.now,
    }
    tx.run(insert(searches), values)
    tx.emit(EventKind.SEARCH_CREATED, search_id, name=spec.name)
    if campaign is not None:
        state = lock_search(tx, search_id)
        import_campaign(tx, state, campaign)
        state.save()
    audit_action(tx, actor, "search.create", search_id)
    return to_record(tx, tx.one(SearchRow, BY_ID, {"key": search_id}))


def made_before(tx: Transaction, key: str | None, digest: str) -> SearchRecord | None:
    """Returns what an idempotency key has made before; None without a key, or for a new one.

    Until the transaction ends nobody else creates a search, so that a key makes one thing.

    Raises:
        InvalidInput: the key is too long.
        IdempotencyMismatch: it was used with another body, which the digest tells.
    """
    if tx.postgres:  # one creation at a time: the ordinal and the key are looked up first
        tx.run(text(f"SELECT pg_advisory_xact_lock({AdvisoryLock.CREATION:d})"))
    if key is None:
        return None
    if not 0 < len(key) <= KEY_LENGTH or "\0" in key:
        raise InvalidInput(f"an idempotency key has 1 to {KEY_LENGTH} characters")
    made = tx.first(SearchRow, select(searches).where(searches.c.idempotency_key == key))
    if made is None:
        return None
    if made.spec_hash != digest:
        raise IdempotencyMismatch(key)
    return to_record(tx, made)


def _digest(written: str, campaign: Campaign | None) -> str:
    """Returns what tells one creation from another under the same idempotency key."""
    digest = hashlib.sha256(written.encode())
    for one in campaign.candidates if campaign else ():
        digest.update(one.trial.model_dump_json().encode())
    return digest.hexdigest()


def to_record(tx: Transaction, row: SearchRow) -> SearchRecord:
    """Returns the search's record with the baseline of its first pool."""
    summaries = summaries_of(tx, row.id)
    return search_record(row, summaries[0] if summaries else None)


def summaries_of(tx: Transaction, search_id: str) -> list[BaselineSummary]:
    """Returns the baseline's figures, complete pools first."""
    rows = baseline_rows(tx, search_id)
    ordered = sorted(rows, key=lambda row: (row.repeats < row.needed, row.pool))
    return [baseline_summary(row) for row in ordered]


def find(tx: Transaction, named: str) -> SearchRow:
    """Returns the row by id or by name; an unfinished search comes before ended ones."""
    named = storable(named)
    row = tx.first(SearchRow, BY_ID, {"key": named})
    if row is not None:
        return row
    bearers = select(searches).where(searches.c.name == named).limit(2)
    rows = tx.all(SearchRow, bearers.where(UNENDED))
    if len(rows) > 1:
        raise Conflict(f"several unfinished searches are named {named}; use the id of one")
    rows = rows or tx.all(SearchRow, bearers.order_by(searches.c.ordinal.desc()))
    if not rows:
        raise NotFound("search", named)
    return rows[0]


def listing(
    tx: Transaction,
    *,
    cursor: str | None,
    limit: int,
    statuses: Sequence[SearchStatus],
    kinds: Sequence[StudyKind],
) -> Page[SearchRecord]:
    """Returns a page of searches, newest first."""
    query = select(searches).order_by(searches.c.ordinal.desc()).limit(limit + 1)
    if cursor is not None:
        query = query.where(searches.c.ordinal < whole_cursor(cursor))
    if statuses:
        query = query.where(searches.c.status.in_([status.value for status in statuses]))
    if kinds:
        query = query.where(searches.c.kind.in_([kind.value for kind in kinds]))
    rows = tx.all(SearchRow, query)
    more = str(rows[limit - 1].ordinal) if len(rows) > limit else None
    return Page(items=tuple(to_record(tx, row) for row in rows[:limit]), next_cursor=more)


def whole_cursor(cursor: str) -> int:
    """Returns the number in a cursor.

    Raises:
        InvalidInput: it is not one of ours.
    """
    if not cursor.isdecimal() or len(cursor) > 18:
        raise InvalidInput("a cursor comes from the page before", cursor[:64], "/cursor")
    return int(cursor)


def _held(tx: Transaction, named: str, version: int | None) -> SearchState:
    state = lock_search(tx, find(tx, named).id)
    if version is not None and version != state.version:
        raise StaleVersion("search", state.id, version, state.version)
    return state


def change_status(
    tx: Transaction, named: str, wanted: SearchStatus, *, actor: Actor, version: int | None
) -> SearchRecord:
    """Pauses, resumes, stops or cancels."""
    state = _held(tx, named, version)
    present = state.status
    same = present is wanted or (
        wanted is SearchStatus.STOPPING and present is SearchStatus.STOPPED
    )
    if not same:
        if wanted not in WANTED or wanted not in SEARCH_TRANSITIONS[present]:
            raise IllegalTransition("search", state.id, present.value, wanted.value)
        state.enter(wanted)
        if wanted is SearchStatus.CANCELLED:
            cancel_open(tx, state, "the search was cancelled")
        elif wanted is SearchStatus.STOPPING:
            queued = (TrialStatus.QUEUED,)
            cancel_open(tx, state, "the search was stopped", statuses=queued)
        advance(tx, state)
        audit_action(tx, actor, f"search.{wanted.value}", state.id)
        state.save()
    return to_record(tx, tx.one(SearchRow, BY_ID, {"key": state.id}))


def change_limits(
    tx: Transaction, named: str, limits: Limits, *, actor: Actor, version: int | None
) -> SearchRecord:
    """Replaces the limits of an unfinished search."""
    state = _held(tx, named, version)
    if state.is_study:
        raise Conflict(
            f"{state.kind} {state.id} runs what it planned and has no limits to change; stop it, "
            "or start another"
        )
    if state.status.ended:
        raise Conflict(
            f"search {state.id} has ended ({state.status.value}), so its limits cannot be "
            "changed; create another search, seeded with this one's best"
        )
    spec = state.spec.model_copy(update={"limits": limits})
    if spec != state.spec:
        state.change_spec(spec)
        if state.confirming and not limit_reached(limits, state, tx.now):
            state.set(confirming=False)  # there is more to try, and to confirm after it
        tx.emit(EventKind.SEARCH_LIMITS, state.id, trials=limits.trials, hours=limits.hours)
        audit_action(tx, actor, "search.limits", state.id)
        advance(tx, state)
        state.save()
    return to_record(tx, tx.one(SearchRow, BY_ID, {"key": state.id}))


def remove(tx: Transaction, named: str, *, actor: Actor, version: int | None) -> str:
    """Deletes an ended search with all that belongs to it, studies too; returns its id."""
    state = _held(tx, named, version)
    if not state.status.ended:
        raise Conflict(
            f"search {state.id} is {state.status.value}; stop or cancel it before deleting it"
        )
    below = searches.c.parent_id == state.id
    open_study = tx.first(SearchRow, select(searches).where(below, UNENDED).limit(1))
    if open_study is not None:
        raise Conflict(
            f"search {state.id} has a {open_study.kind} that is {open_study.status}; stop or "
            f"cancel {open_study.id} before deleting the search"
        )
    tx.run(delete(searches).where(below))
    tx.run(delete(searches).where(searches.c.id == state.id))
    tx.emit(EventKind.SEARCH_DELETED, None, id=state.id)
    audit_action(tx, actor, "search.delete", state.id)
    return state.id
