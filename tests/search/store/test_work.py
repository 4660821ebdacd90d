"""No call works harder in a long search: what it costs does not depend on the number of trials.

SQLite counts its own instructions, which no neighbour on the machine can blur; PostgreSQL shows
its plans.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from brainformer.search.store.contract import TrialFilter
from brainformer.search.trials.lease_messages import Progress
from brainformer.search.trials.trial import Outcome, TrialKind, TrialStatus
from tests.postgres import PostgresServer
from tests.search.sql.instructions import counted
from tests.search.store.audit import check_everything
from tests.search.store.crowd import crowd
from tests.search.store.site import Site, failed, point

FEW, FEW_LATEST, MANY = 1_000, 3_000, 10_000
MOST_ROWS = 1_500  # 1,000 of a pool are counted, a page is 50
SORTS = [
    f"{minus}{name}"
    for name in ("number", "fitness", "step_time_ms", "parameters", "seq")
    for minus in ("", "-")
]
FILTERS: dict[str, dict[str, Any]] = {
    "all": {},
    "completed": {"statuses": [TrialStatus.COMPLETED]},
    "failed": {"statuses": [TrialStatus.FAILED]},
    "running": {"statuses": [TrialStatus.RUNNING]},
    "ended": {"statuses": [TrialStatus.COMPLETED, TrialStatus.FAILED, TrialStatus.PRUNED]},
    "not completed": {"statuses": [TrialStatus.FAILED, TrialStatus.RUNNING]},
    "candidates": {"kinds": [TrialKind.CANDIDATE]},
    "baselines": {"kinds": [TrialKind.BASELINE]},
    "pool": {"pool": "cpu"},
    "candidates of a pool that completed": {
        "kinds": [TrialKind.CANDIDATE],
        "statuses": [TrialStatus.COMPLETED],
        "pool": "cpu",
    },
    "baselines of a pool that completed": {
        "kinds": [TrialKind.BASELINE],
        "statuses": [TrialStatus.COMPLETED],
        "pool": "cpu",
    },
}
Calls = dict[str, Callable[[], object]]


def calls(site: Site, search_id: str) -> Calls:
    """Returns every kind of call, by name."""
    store = site.store
    middle = store.get_search(search_id).candidates_proposed // 80 * 40 + 20  # as deep in both
    return {
        "get_search": lambda: store.get_search(search_id),
        "list_searches": store.list_searches,
        "get_trial": lambda: store.get_trial(search_id, middle),
        "attempts": lambda: store.attempts(search_id, middle),
        "ancestry": lambda: store.ancestry(search_id, middle),
        "ancestors": lambda: store.charts.ancestors(search_id, middle),
        "costs": lambda: store.charts.costs(search_id, middle),
        "population": lambda: store.population(search_id),
        "pareto": lambda: store.pareto(search_id),
        "best": lambda: store.best(search_id),
        "baselines": lambda: store.baselines(search_id),
        "events": lambda: store.events(search_id=search_id, after=middle),
        "all events": lambda: store.events(after=middle),
        "last_event": lambda: store.last_event(search_id),
        "workers": store.workers,
        "pools": store.pools.list_all,
        "statistics": store.statistics,
        "audit": store.audit,
        "reap": store.reap,
        "claim": lambda: site.claim(),
        **_lease_calls(site),
        **_listings(site, search_id, middle),
    }


def _lease_calls(site: Site) -> Calls:
    store = site.store
    steps = itertools.count(1)

    def heartbeat() -> None:
        store.progress(held[0].lease_id, Progress())

    def progress() -> None:
        report = Progress(point=point(0.2, 2.5, step=next(steps)))
        store.progress(held[0].lease_id, report)

    held = site.claim(count=6)
    return {
        "heartbeat": heartbeat,
        "progress": progress,
        "result": lambda: site.finish(held.pop()),
        "retry": lambda: store.result(held.pop().lease_id, failed(Outcome.ERROR)),
        "release": lambda: store.release(held.pop().lease_id),
    }


def _listings(site: Site, search_id: str, middle: int) -> Calls:
    def listing(where: TrialFilter, *, second: bool) -> Callable[[], object]:
        def ask() -> object:
            page = site.store.list_trials(search_id, where=where, limit=50)
            if second and page.next_cursor:
                return site.store.list_trials(
                    search_id, where=where, limit=50, cursor=page.next_cursor
                )
            return page

        return ask

    found = {
        f"trials {name} by {sort}": listing(TrialFilter(sort=sort, **given), second=True)
        for sort in SORTS
        for name, given in FILTERS.items()
    }
    changed = TrialFilter(after_seq=middle)
    return found | {"trials changed": listing(changed, second=True)}


def _of_the_latest(site: Site, search_id: str) -> Calls:
    """Returns what reads the latest attempts, of which there are enough in both searches."""
    return {
        "pool": lambda: site.store.pools.get("cpu"),
        "machines": lambda: site.store.charts.machines(search_id),
    }


def instructions(file: Path, count: int, calls: Callable[..., Calls] = calls) -> dict[str, int]:
    """Returns what each call costs in a search of `count` finished trials."""
    site = Site(f"sqlite:///{file}")
    search_id = site.started(limits={"trials": 10**6}, population_size=50)
    site.run(2)
    crowd(site, search_id, count)
    site.claim()
    found = {}
    for name, ask in calls(site, search_id).items():
        ask()
        with counted(site.store._database) as total:
            ask()
        found[name] = total[0]
    check_everything(site.store, search_id)
    site.store.close()
    return found


def test_no_call_costs_more_instructions_in_a_search_ten_times_as_long(tmp_path: Path) -> None:
    few, many = (instructions(tmp_path / f"{count}.db", count) for count in (FEW, MANY))
    grown = {name: (few[name], many[name]) for name in few if many[name] > 1.5 * few[name] + 1_000}
    assert not grown, "instructions at 1,000 and at 10,000 trials"


def test_what_reads_two_thousand_attempts_reads_no_more_of_more(tmp_path: Path) -> None:
    few, many = (
        instructions(tmp_path / f"{count}.db", count, _of_the_latest)
        for count in (FEW_LATEST, MANY)
    )
    grown = {name: (few[name], many[name]) for name in few if many[name] > 1.05 * few[name]}
    assert not grown, "instructions at 3,000 and at 10,000 trials"


def rows_touched(plan: dict[str, Any]) -> float:
    """Returns the most rows that any node of an executed plan has looked at."""
    looked = plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)
    mine: float = looked * plan["Actual Loops"]
    return max([mine, *(rows_touched(one) for one in plan.get("Plans", []))])


@pytest.mark.slow
def test_postgresql_touches_few_rows_of_a_long_search(postgres: PostgresServer) -> None:
    site = Site(postgres.create_with_schema())
    search_id = site.started(limits={"trials": 10**6}, population_size=50)
    site.run(2)
    crowd(site, search_id, MANY)
    asked: dict[str, Any] = {}

    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, *_: object) -> None:
        if statement.startswith(("SELECT", "WITH")):
            asked[statement] = parameters

    event.listen(site.store._database.engine, "before_cursor_execute", note)
    for ask in calls(site, search_id).values():
        ask()
    event.remove(site.store._database.engine, "before_cursor_execute", note)
    with site.store._database.write() as tx:
        touched = {
            statement: rows_touched(
                tx.connection.exec_driver_sql(
                    f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters
                ).scalar_one()[0]["Plan"]
            )
            for statement, parameters in asked.items()
        }
    assert len(touched) > 60
    assert {one: rows for one, rows in touched.items() if rows > MOST_ROWS} == {}
    site.store.close()
    postgres.drop(site.url)
