"""What one ask and one tell read: rows that an index finds, however long the search."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from brainformer.search.ask_tell.contract import ask_tell_spec
from brainformer.search.ask_tell.in_sql import SqlSearch, open_sql_search
from brainformer.search.surrogate.screening import MOST_OBSERVATIONS
from tests.search.sql.instructions import counted
from tests.search.store.crowd import crowd
from tests.search.store.site import Site

LONG = 30


@pytest.fixture
def search(tmp_path: Path) -> Any:
    spec = ask_tell_spec("nano", seed=1, population_size=6, tournament_size=3)
    found = open_sql_search(spec, f"sqlite:///{tmp_path / 'mine.db'}")
    for number in range(LONG):
        found.tell(found.ask(), float(number), step_time_ms=10.0)
    yield found
    found.close()


def _statements(search: SqlSearch) -> list[tuple[str, Any]]:
    """Returns what one ask and one tell execute."""
    told: list[tuple[str, Any]] = []

    def listen(_connection: Any, _cursor: Any, text: str, values: Any, *_rest: Any) -> None:
        told.append((text, values))

    engine = search._database.engine
    event.listen(engine, "before_cursor_execute", listen)
    search.tell(search.ask(), 99.0, step_time_ms=10.0)
    event.remove(engine, "before_cursor_execute", listen)
    return told


def test_no_table_that_grows_is_scanned(search: SqlSearch) -> None:
    plans = []
    with search._database.engine.connect() as connection:
        for text, values in _statements(search):
            if text.startswith(("SELECT", "UPDATE")):
                rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", values)
                plans += [row[3] for row in rows]
    assert any("SEARCH trials" in plan for plan in plans)
    assert [plan for plan in plans if plan.startswith("SCAN")] == []


def _first_ranks_read(search: SqlSearch) -> list[int]:
    """Returns from which rank on one ask and one tell read what has finished."""
    reads = [values for text, values in _statements(search) if "trials.finished_rank >= ?" in text]
    return [values[1] for values in reads]


def test_a_proposal_reads_only_what_has_finished_since_the_last(search: SqlSearch) -> None:
    assert _first_ranks_read(search) == []  # told through this search, so it knows
    search._cache._added.clear()  # as if another process had told it
    assert _first_ranks_read(search) == [LONG]


def test_what_was_told_here_is_known_as_if_it_had_been_read(search: SqlSearch) -> None:
    search.tell(search.ask(), pruned=True, step_time_ms=3.0)
    search.tell(search.ask(), 7.0, parameters=12)
    search.fail(search.ask())
    search.ask()
    heard = list(search._cache.window)
    search._cache.window.clear()
    search.ask()
    assert search._cache.window == heard
    assert [(seen.fitness, seen.pruned) for seen in heard[-2:]] == [(-1.0, True), (7.0, False)]
    assert (heard[-2].step_time_ms, heard[-1].parameters) == (3.0, 12)


def test_a_restart_reads_the_surrogates_window_and_no_more(
    search: SqlSearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert search._cache.size == MOST_OBSERVATIONS
    monkeypatch.setattr(search._cache, "size", 10)
    search._cache.window.clear()
    search.ask()
    assert [seen.finished for seen in search._cache.window] == list(range(LONG - 10, LONG))


def test_as_many_statements_as_ever(search: SqlSearch) -> None:
    early = len(_statements(search))
    for number in range(LONG):
        search.tell(search.ask(), float(number), step_time_ms=10.0)
    assert len(_statements(search)) <= early + 1  # a child that was tried asks for the next


def _instructions(file: Path, count: int, algorithm: str) -> int:
    """Returns what one ask and one tell cost SQLite in a search of `count` trials."""
    spec = ask_tell_spec("nano", seed=1, algorithm=algorithm)
    url = f"sqlite:///{file}"
    search = open_sql_search(spec, url)
    search.tell(search.ask(), 0.5, step_time_ms=10.0)
    search.close()
    site = Site(url)
    crowd(site, site.store.get_search(spec.name).id, count)
    site.store.close()
    search = open_sql_search(spec, url)
    search.tell(search.ask(), 0.5, step_time_ms=12.0)
    for _ in range(3):
        search.ask()  # stay in flight
    with counted(search._database) as total:
        for _ in range(5):
            search.tell(search.ask(), 0.5, step_time_ms=11.0)
    search.close()
    return total[0]


@pytest.mark.parametrize("algorithm", ["regularized_evolution", "nsga2"])
def test_no_more_work_for_the_database_in_a_search_ten_times_as_long(
    tmp_path: Path, algorithm: str
) -> None:
    few, many = (
        _instructions(tmp_path / f"{count}.db", count, algorithm) for count in (400, 4_000)
    )
    assert many <= 1.3 * few
