"""What must hold of a store at any time, recomputed from its trials alone."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

from brainformer.search.sql.store import SqlStore
from brainformer.search.store.contract import TrialFilter
from brainformer.search.store.records import TrialRecord
from brainformer.search.trials.trial import TrialKind, TrialStatus

IN_POPULATION = {TrialStatus.COMPLETED, TrialStatus.PRUNED}


def all_trials(store: SqlStore, search_id: str) -> list[TrialRecord]:
    """Returns every trial, by number."""
    found: list[TrialRecord] = []
    cursor = None
    while True:
        page = store.list_trials(search_id, where=TrialFilter(), cursor=cursor, limit=1000)
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            return found


def ranks(store: SqlStore, search_id: str) -> dict[int, int]:
    """Returns the rank of completion by a trial's number, as the table has it."""
    query = f"SELECT number, finished_rank FROM trials WHERE search_id = '{search_id}'"
    with store._database.read() as tx:
        rows: Any = tx.connection.exec_driver_sql(query).all()
    return {number: rank for number, rank in rows if rank is not None}


def check_everything(store: SqlStore, search_id: str) -> None:
    """Raises AssertionError if counters, ranks, population, attempts or numbers disagree."""
    search = store.get_search(search_id)
    trials = all_trials(store, search_id)
    assert [one.number for one in trials] == list(range(len(trials))), "numbers are dense"
    assert len({one.seq for one in trials}) == len(trials), "sequence numbers are unique"
    counted = Counter(one.status for one in trials)
    assert search.counts == {status: counted[status] for status in TrialStatus}
    _check_candidates(store, search_id, trials)
    if search.status.ended:
        assert all(one.status.ended for one in trials), "nothing open in an ended search"
    attempts = _attempts(store, search_id)
    for trial in trials:
        _check_trial(trial, attempts[trial.number])


def _attempts(store: SqlStore, search_id: str) -> dict[int, list[Any]]:
    query = (
        "SELECT t.number, a.attempt, a.accepted, a.finished_at FROM attempts a "
        f"JOIN trials t ON t.id = a.trial_id WHERE t.search_id = '{search_id}'"
    )
    found: dict[int, list[Any]] = defaultdict(list)
    with store._database.read() as tx:
        for row in tx.connection.exec_driver_sql(query):
            found[row.number].append(row)
    return found


def _check_candidates(store: SqlStore, search_id: str, trials: list[TrialRecord]) -> None:
    search = store.get_search(search_id)
    candidates = [one for one in trials if one.kind is TrialKind.CANDIDATE]
    finished = [one for one in candidates if one.status in IN_POPULATION]
    assert search.candidates_proposed == len(candidates)
    assert search.candidates_finished == len(finished)
    assert len({one.digest for one in candidates}) == len(candidates), "no genome twice"
    rank = ranks(store, search_id)
    assert set(rank) == {one.number for one in finished}
    assert sorted(rank.values()) == list(range(len(finished))), "ranks are dense and unique"
    size = search.spec.population_size
    youngest = sorted(finished, key=lambda one: rank[one.number])[-size:]
    shown = [one.number for one in store.population(search_id)]
    assert shown == [one.number for one in youngest], "the population is the last that finished"
    assert {one.number for one in trials if one.in_population} == set(shown)
    with store._database.read() as tx:
        query = f"SELECT candidates_open FROM searches WHERE id = '{search_id}'"
        open_ = tx.connection.exec_driver_sql(query).scalar_one()
    assert open_ == sum(not one.status.ended for one in candidates)
    for one in candidates:
        assert (one.status is TrialStatus.COMPLETED) <= (one.fitness is not None)
        assert (one.status is TrialStatus.PRUNED) <= (one.fitness == -1)


def _check_trial(trial: TrialRecord, attempts: list[Any]) -> None:
    running = trial.status is TrialStatus.RUNNING
    assert running == (trial.lease_expires_at is not None), "a lease while it runs, else none"
    assert trial.status.ended == (trial.finished_at is not None)
    numbers = {one.attempt for one in attempts}
    assert numbers == set(range(1, trial.attempt + 1)), "every attempt has its record"
    accepted = [one.attempt for one in attempts if one.accepted]
    assert len(set(accepted)) == len(accepted), "one result an attempt"
    unfinished = [one.attempt for one in attempts if one.finished_at is None]
    assert unfinished == ([trial.attempt] if running else []), "only the present attempt is open"
