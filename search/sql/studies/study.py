"""What all studies share: their search, their pool, how they are created and listed."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from pydantic import BaseModel
from sqlalchemy import bindparam, func, or_, select, update

from brainformer.search.errors import Conflict, how_to_return
from brainformer.search.proxy.proxy import Proxy
from brainformer.search.spec import Limits
from brainformer.search.sql.connection.database import Transaction
from brainformer.search.sql.connection.storable_text import storable
from brainformer.search.sql.connection.tables import searches, workers
from brainformer.search.sql.pools import OutOfWork
from brainformer.search.sql.rows.table_rows import BaselineRow, SearchRow
from brainformer.search.sql.rows.values import at, read_spec
from brainformer.search.sql.searches import create, find, to_record
from brainformer.search.sql.trials.baselines import baseline_rows, is_complete
from brainformer.search.sql.trials.state import lock_search
from brainformer.search.sql.trials.study_runs import queue_runs
from brainformer.search.store.actor import Actor
from brainformer.search.store.records import SearchRecord
from brainformer.search.studies.plan import PlannedRun, StudyKind

LONGEST_NAME = 40  # of the search that a study is named after
MOST_CANDIDATES = 1000  # of which a study's blocks are chosen
LONGEST_SILENCE_SECONDS = 3600.0  # of a pool's workers, before it counts as gone
LAST_SEEN = select(func.max(workers.c.last_seen)).where(workers.c.pool == bindparam("pool"))


def find_parent(tx: Transaction, named: str) -> SearchRow:
    """Returns the search that a study is made of.

    Raises:
        NotFound: there is no such search.
        Conflict: it is a study itself.
    """
    parent = find(tx, named)
    if parent.kind != StudyKind.SEARCH.value:
        raise Conflict(
            f"{parent.name} is a {parent.kind}, not a search; name the search {parent.parent_id}"
        )
    return parent


def known_proxy(parent: SearchRow) -> Proxy:
    """Returns a search's proxy with the hash of its data."""
    proxy = read_spec(parent.spec).proxy
    return proxy.model_copy(update={"dataset_hash": parent.dataset_hash})


def ready_pool(
    tx: Transaction, parent: SearchRow, wanted: str | None, retired: Collection[str]
) -> BaselineRow:
    """Returns the complete baseline of the pool that a study runs on; by default the first one.

    Raises:
        Conflict: no pool has a complete baseline, or not the one wanted, or it was retired.
    """
    complete = {row.pool: row for row in baseline_rows(tx, parent.id) if is_complete(row)}
    ready = {pool: row for pool, row in complete.items() if pool not in retired}
    if complete and not ready:
        gone = ", ".join(sorted(complete))
        raise Conflict(
            f"every pool with a baseline of search {parent.id} was retired: {gone}; bring one "
            "back, or create a search on another pool"
        )
    if not ready:
        raise Conflict(f"no pool of search {parent.id} has a complete baseline yet; wait for it")
    if wanted is None:
        return ready[min(ready)]
    if wanted not in ready:
        known = ", ".join(sorted(ready))
        if wanted in complete:
            raise Conflict(
                f"pool {wanted} was retired; search {parent.id} has a baseline on {known} too"
            )
        raise Conflict(
            f"search {parent.id} has no baseline on pool {wanted}; it has one on {known}"
        )
    return ready[wanted]


def check_manned(tx: Transaction, pool: str, out: OutOfWork) -> None:
    """Refuses a pool that nobody works on: what is queued for it would wait without end.

    Raises:
        Conflict: it is drained, or no worker of it has been heard of lately.
    """
    if pool in out.retired:
        raise Conflict(f"pool {pool} was retired; if it is back, run '{how_to_return(pool)}'")
    if pool in out.drained:
        raise Conflict(f"pool {pool} is drained; resume it with 'brainformer pool resume {pool}'")
    words = unmanned(tx, pool)
    if words:
        raise Conflict(f"{words}; start one, or name another pool")


def unmanned(tx: Transaction, pool: str) -> str:
    """Returns since when a pool has had no worker, in words; empty where it has one."""
    last: float | None = tx.run(LAST_SEEN, {"pool": pool}).scalar()
    if last is not None and last >= tx.now - LONGEST_SILENCE_SECONDS:
        return ""
    since = "" if last is None else f" since {at(last):%Y-%m-%d %H:%M} UTC"
    return f"no worker of pool {pool} has been heard of{since}"


def create_study(
    tx: Transaction,
    parent: SearchRow,
    kind: StudyKind,
    plan: BaseModel,
    planned: Sequence[PlannedRun],
    *,
    actor: Actor,
    expected: int | None = None,
) -> SearchRecord:
    """Creates a study below its search and queues its runs, in order.

    Args:
        tx: Of the caller.
        parent: The search.
        kind: Of the study.
        plan: What it keeps to say where each run stands.
        planned: The runs.
        actor: Who asks.
        expected: How many runs there will be, if more follow.
    """
    spec = read_spec(parent.spec)
    siblings = select(func.count()).where(
        searches.c.parent_id == parent.id, searches.c.kind == kind.value
    )
    place = int(tx.run(siblings).scalar_one()) + 1
    own = spec.model_copy(
        update={
            "name": f"{parent.name[:LONGEST_NAME]}-{kind.value}-{place}",
            "pools": tuple(sorted({run.pool for run in planned})),
            "limits": Limits(trials=max(1, expected or len(planned))),
            "proxy": known_proxy(parent).trained_on(planned[0].proxy.dataset),
        }
    )
    made = create(tx, own, actor=actor, idempotency_key=None)
    values = {"kind": kind.value, "parent_id": parent.id, "plan": plan.model_dump_json()}
    tx.run(update(searches).where(searches.c.id == made.id).values(values))
    state = lock_search(tx, made.id)
    queue_runs(tx, state, planned)
    state.save()
    return to_record(tx, find(tx, made.id))


def studies_of(
    tx: Transaction, named: str, kind: StudyKind, *, study: str | None = None
) -> list[SearchRow]:
    """Returns the studies of a search, newest first; of one id or name, if that is given."""
    parent = find(tx, named)
    own = select(searches).where(searches.c.parent_id == parent.id, searches.c.kind == kind.value)
    if study is not None:
        study = storable(study)
        own = own.where(or_(searches.c.id == study, searches.c.name == study))
    return tx.all(SearchRow, own.order_by(searches.c.ordinal.desc()))
