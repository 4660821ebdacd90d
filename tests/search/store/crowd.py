"""A search with many finished trials, written straight into the tables."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, insert, select, update

from brainformer.search.sql.connection.tables import (
    attempts,
    events,
    searches,
    trials,
)
from tests.search.store.site import Site

BATCH = 5_000
FAILED_EVERY = 8


def crowd(site: Site, search_id: str, count: int) -> None:
    """Adds `count` finished candidates with attempts and events, one in eight failed."""
    with site.store._database.write() as tx:
        template = dict(
            tx.run(
                select(trials)
                .where(trials.c.search_id == search_id, trials.c.finished_rank == 0)
                .limit(1)
            )
            .one()
            ._mapping
        )
        search = tx.run(select(searches).where(searches.c.id == search_id)).one()
        newest = tx.run(select(func.max(trials.c.id))).scalar_one()
        rows = [_row(template, search, newest, index) for index in range(count)]
        for first in range(0, count, BATCH):
            batch = rows[first : first + BATCH]
            tx.run(insert(trials), batch)
            tx.run(insert(attempts), [_attempt(row) for row in batch])
            tx.run(insert(events), [_event(row) for row in batch for _ in range(3)])
        failed = sum(row["status"] == "failed" for row in rows)
        tx.run(
            update(searches)
            .where(searches.c.id == search_id)
            .values(
                next_number=search.next_number + count,
                trial_seq=search.trial_seq + count,
                completed=search.completed + count - failed,
                failed=search.failed + failed,
                candidates_proposed=search.candidates_proposed + count,
                candidates_finished=search.candidates_finished + count - failed,
            )
        )
    with site.store._database.engine.connect() as connection:
        if site.postgres:
            connection.exec_driver_sql(
                "SELECT setval(pg_get_serial_sequence('trials', 'id'), max(id)) FROM trials"
            )
        connection.exec_driver_sql("ANALYZE")
        connection.commit()


def _row(template: dict[str, Any], search: Any, newest: int, index: int) -> dict[str, Any]:
    failed = index % FAILED_EVERY == 0
    return template | {
        "id": newest + 1 + index,
        "number": search.next_number + index,
        "seq": search.trial_seq + 1 + index,
        "status": "failed" if failed else "completed",
        "outcome": "diverged" if failed else "completed",
        "digest": f"{index:064x}",
        "parent_number": search.next_number + index - 1 if index % 40 else None,
        "fitness": None if failed else (index * 7919 % 10_007) / 10_007,
        "step_time_ms": None if failed else 10 + index * 104_729 % 1_009 / 100,
        "parameters": 100_000 + index * 31 % 5_003,
        "on_front": False,
        "finished_rank": None
        if failed
        else search.candidates_finished + index - index // FAILED_EVERY - 1,
    }


def _attempt(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "trial_id": row["id"],
        "attempt": 1,
        "worker_id": "w-1",
        "pool": "cpu",
        "outcome": row["outcome"],
        "accepted": True,
        "started_at": row["created_at"],
        "finished_at": row["created_at"],
    }


def _event(row: dict[str, Any]) -> dict[str, Any]:
    data = f'{{"number": {row["number"]}}}'
    search_id = row["search_id"]
    return {"search_id": search_id, "kind": "trial.progress", "at": row["created_at"], "data": data}
