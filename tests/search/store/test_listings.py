"""What readers see: pages, filters, population, front, ancestry, events, figures."""

from __future__ import annotations

import base64
import json
from itertools import pairwise
from typing import Any

import pytest

from brainformer.search.errors import InvalidInput, NotFound
from brainformer.search.status import SearchStatus
from brainformer.search.store.contract import TrialFilter
from brainformer.search.trials.lease_messages import Progress
from brainformer.search.trials.trial import Outcome, TrialKind, TrialStatus
from tests.search.store.site import (
    ME,
    Site,
    failed,
    point,
)

SORTS = [
    f"{minus}{name}"
    for name in ("number", "fitness", "step_time_ms", "parameters", "seq")
    for minus in ("", "-")
]


def mixed(site: Site) -> str:
    """A search with trials of every status, equal fitness among them."""
    search_id = site.started(limits={"trials": 30}, max_attempts=1)
    for number, lease in enumerate(site.claim(count=18)):
        if number % 6 == 0:
            site.store.result(lease.lease_id, failed(Outcome.DIVERGED))
        elif number % 6 == 1:
            site.store.result(lease.lease_id, failed(Outcome.PRUNED))
        elif number % 6 < 5:
            site.finish(lease, 2.0 + number % 3 / 10, step_time_ms=10.0 + number % 4)
    return search_id


def key(name: str) -> Any:
    """Returns what a record is sorted by."""
    return {
        "number": lambda one: one.number,
        "fitness": lambda one: one.fitness,
        "step_time_ms": lambda one: one.measurements.step_time_ms,
        "parameters": lambda one: one.parameters,
        "seq": lambda one: one.seq,
    }[name]


def test_every_sort_shows_every_trial_once_and_in_order(site: Site) -> None:
    search_id = mixed(site)
    for sort in SORTS:
        for limit in (1, 4, 1000):
            _check_sort(site, search_id, sort, limit)


def _check_sort(site: Site, search_id: str, sort: str, limit: int) -> None:
    found, cursor = [], None
    while True:
        page = site.store.list_trials(
            search_id, where=TrialFilter(sort=sort), cursor=cursor, limit=limit
        )
        assert len(page.items) <= limit
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            break
    assert sorted(one.number for one in found) == list(range(19))
    values = [key(sort.removeprefix("-"))(one) for one in found]
    known = [value for value in values if value is not None]
    assert values[: len(known)] == known, "missing values come last"
    assert known == sorted(known, reverse=sort.startswith("-"))


def test_filters_hold_in_every_sort(site: Site) -> None:
    search_id = mixed(site)
    for sort in SORTS:
        found = site.trials(
            search_id,
            sort=sort,
            statuses=[TrialStatus.FAILED, TrialStatus.RUNNING],
            kinds=[TrialKind.CANDIDATE],
            pool="cpu",
        )
        assert sorted(one.number for one in found) == [1, 6, 7, 12, 13, 18], sort
        assert site.trials(search_id, sort=sort, pool="h2\0") == []


def test_a_page_as_json_says_what_its_records_say(site: Site) -> None:
    search_id = mixed(site)
    busy, last = site.claim(count=2)
    site.store.progress(busy.lease_id, Progress(point=point(0.25, 2.9)))
    site.finish(
        last, 2.5, curve=[point(0.5, 2.7), point(1.0, 2.5)], expert_load=[0.5, 0.5], device='a "b"'
    )
    where, cursor = TrialFilter(sort="-fitness"), None
    while True:
        page = site.store.list_trials(search_id, where=where, cursor=cursor, limit=8)
        body, more = site.store.list_trials_json(search_id, where=where, cursor=cursor, limit=8)
        told = [json.loads(one.model_dump_json()) for one in page.items]
        assert json.loads(body) == {"items": told, "next_cursor": page.next_cursor}
        assert more == page.next_cursor
        cursor = more
        if cursor is None:
            break


@pytest.mark.parametrize("cursor", ["", "x", "bm9uc2Vuc2U", "W10", "\N{GRINNING FACE}", "A" * 500])
def test_a_cursor_of_another_making_is_refused(site: Site, cursor: str) -> None:
    search_id = site.create()
    with pytest.raises(InvalidInput, match="cursor"):
        site.store.list_trials(search_id, cursor=cursor)


def test_a_cursor_belongs_to_one_sort(site: Site) -> None:
    search_id = mixed(site)
    cursor = site.store.list_trials(search_id, limit=2).next_cursor
    with pytest.raises(InvalidInput, match="cursor"):
        site.store.list_trials(search_id, where=TrialFilter(sort="-fitness"), cursor=cursor)


def test_an_unknown_sort_is_refused(site: Site) -> None:
    with pytest.raises(InvalidInput, match="sort is one of"):
        site.store.list_trials(site.create(), where=TrialFilter(sort="beauty"))


def test_changes_since_a_sequence_number_miss_nothing(site: Site) -> None:
    search_id = site.started()
    seen: dict[int, tuple[int, str]] = {}
    newest = 0

    def follow() -> None:
        nonlocal newest
        for one in site.trials(search_id, after_seq=newest):
            seen[one.number] = (one.seq, one.status.value)
            newest = max(newest, one.seq)

    for _ in range(3):
        lease, lost = site.claim(count=2)
        follow()
        site.store.progress(lease.lease_id, Progress(point=point(0.1, 3.0)))
        follow()
        site.finish(lease)
        site.store.release(lost.lease_id)
        follow()
        assert seen == {one.number: (one.seq, one.status.value) for one in site.trials(search_id)}


def test_the_oldest_trial_leaves_the_population_even_when_fittest(site: Site) -> None:
    search_id = site.started(population_size=3)
    site.run(5, loss=lambda number: 1.0 + number)
    assert [one.number for one in site.store.population(search_id)] == [3, 4, 5]
    members = [one.number for one in site.trials(search_id) if one.in_population]
    assert members == [3, 4, 5]


def test_age_is_counted_from_completion_and_not_from_birth(site: Site) -> None:
    search_id = site.started(population_size=2)
    first, second, third = site.claim(count=3)
    for lease in (third, first, second):
        site.finish(lease)
    numbers = [one.number for one in site.store.population(search_id)]
    assert numbers == [first.trial_number, second.trial_number]


def test_the_front_holds_what_nobody_beats_on_the_same_pool(site: Site) -> None:
    search_id = site.started(step_time_slack=None)
    figures = [
        (2.0, 30.0, 5),
        (2.5, 10.0, 5),
        (2.6, 20.0, 5),  # beaten by 2
        (1.9, 30.0, 5),  # beats 1
        (2.5, 10.0, 5),  # equals 2
        (1.5, 40.0, 5),
        (9.0, 90.0, 4),  # the smallest
        (1.6, 40.0, 6),  # beaten by 6
    ]
    for loss, step_time_ms, size in figures:
        site.finish(site.claim_one(), loss, step_time_ms=step_time_ms, parameters=size)
    assert [one.number for one in site.store.pareto(search_id)] == [2, 4, 6, 7]
    site.finish(site.claim_one(pool="slow"), 9.0)
    elsewhere = site.claim_one(pool="slow")
    site.finish(elsewhere, 8.0, step_time_ms=99.0)
    assert [one.number for one in site.store.pareto(search_id)][-1] == elsewhere.trial_number


def test_ancestry_leads_from_a_trial_to_its_first_ancestor(site: Site) -> None:
    search_id = site.started(population_size=2, tournament_size=1)
    site.run(12)
    young = [one for one in site.trials(search_id) if one.parent_number is not None][-1]
    line = site.store.ancestry(search_id, young.number)
    assert line[0] == young
    assert line[-1].parent_number is None
    for child, parent in pairwise(line):
        assert child.parent_number == parent.number
    assert len(site.store.ancestry(search_id, young.number, limit=1)) == 1


@pytest.mark.parametrize("number", [99, -1, 2**31, 2**70])
def test_a_trial_that_is_not_there_is_not_found(site: Site, number: int) -> None:
    search_id = site.started()
    for ask in (site.store.get_trial, site.store.attempts, site.store.ancestry):
        with pytest.raises(NotFound):
            ask(search_id, number)


def test_events_tell_the_story_in_order_and_resume_after_any(site: Site) -> None:
    search_id = site.started()
    site.run(1)
    told = site.store.events(search_id=search_id)
    assert [one.kind for one in told] == [
        "search.created",
        "trial.created",
        "trial.started",
        "trial.finished",
        "baseline.ready",
        "trial.started",
        "trial.finished",
    ]
    for index, one in enumerate(told):
        assert site.store.events(search_id=search_id, after=one.seq) == told[index + 1 :]
    assert site.store.last_event() == site.store.last_event(search_id) == told[-1].seq
    assert site.store.events(after=2**80) == []


def test_events_of_one_search_are_told_apart(site: Site) -> None:
    first, second = site.create(name="a"), site.create(name="b")
    assert {one.search_id for one in site.store.events(search_id=first)} == {first}
    assert site.store.last_event(second) > site.store.last_event(first)
    assert len(site.store.events(limit=1)) == 1


def test_workers_and_pools_show_what_runs_on_them_whatever_happened(site: Site) -> None:
    search_id = site.started()
    site.claim(count=3, worker="a")
    done = site.claim_one(worker="b")
    site.finish(done)
    site.finish(site.claim_one(worker="c", pool="h200"), 3.0)

    def running() -> dict[str, int]:
        return {one.worker_id: one.running for one in site.store.workers()}

    assert running() == {"w-1": 0, "a": 3, "b": 0, "c": 0}
    assert {one.pool: one.running for one in site.store.pools.list_all()} == {"cpu": 3, "h200": 0}
    finished = {one.worker_id: one.finished for one in site.store.workers()}
    assert finished == {"w-1": 1, "a": 0, "b": 1, "c": 1}
    site.clock.advance(61)
    site.store.reap()
    assert running()["a"] == 0
    site.claim(count=2, worker="a")
    assert running()["a"] == 2
    site.store.change_status(search_id, SearchStatus.CANCELLED, actor=ME)
    site.store.delete_search(search_id, actor=ME)
    assert set(running().values()) == {0}


def test_a_worker_unheard_of_is_no_longer_counted_in_its_pool(site: Site) -> None:
    site.create()
    site.claim(worker="a")
    assert [one.workers for one in site.store.pools.list_all()] == [1]
    site.clock.advance(601)
    assert [one.workers for one in site.store.pools.list_all()] == [0]


def test_figures_agree_with_the_trials(site: Site) -> None:
    search_id = mixed(site)
    site.clock.advance(70)
    figures = site.store.statistics()
    trials = site.trials(search_id)
    for status in TrialStatus:
        counted = sum(one.status is status for one in trials)
        assert figures[f"trials_{status.value}"] == counted
        assert site.search(search_id).counts[status] == counted
    assert figures["searches_running"] == 1
    assert figures["oldest_lease_age_seconds"] == 70
    assert figures["most_overdue_lease_seconds"] == 10
    assert figures["workers_alive"] == 1


@pytest.mark.parametrize("sort", SORTS)
def test_numbers_beyond_every_column_find_nothing_and_break_nothing(site: Site, sort: str) -> None:
    search_id = mixed(site)
    far = 2**53 - 1
    after = TrialFilter(after_seq=far)
    assert site.store.list_trials(search_id, where=after).items == ()
    cursor = base64.urlsafe_b64encode(json.dumps([sort, far, 0]).encode()).decode().rstrip("=")
    page = site.store.list_trials(search_id, where=TrialFilter(sort=sort), cursor=cursor)
    missing = [one for one in page.items if getattr(one, sort.removeprefix("-"), None) is None]
    assert sort.startswith("-") or len(missing) == len(page.items)
