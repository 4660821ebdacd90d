"""Searches in the store: created once, found, paused, stopped, cancelled, deleted."""

from __future__ import annotations

import pytest

from brainformer.search.errors import (
    Conflict,
    IdempotencyMismatch,
    IllegalTransition,
    InvalidInput,
    InvalidSpec,
    NotFound,
    StaleVersion,
)
from brainformer.search.spec import Limits
from brainformer.search.status import SearchStatus
from brainformer.search.trials.trial import Outcome, TrialKind, TrialStatus
from tests.search.store.site import (
    ME,
    Site,
    failed,
    spec,
)


def test_a_new_search_runs_and_has_no_trials(site: Site) -> None:
    made = site.store.create_search(spec(), actor=ME)
    assert made.status is SearchStatus.RUNNING
    assert set(made.counts.values()) == {0}
    assert site.store.get_search(made.id) == made


def test_the_whole_spec_is_kept_and_not_only_what_differs_from_todays_defaults(site: Site) -> None:
    search_id = site.create()
    with site.store._database.read() as tx:
        text = tx.connection.exec_driver_sql("SELECT spec FROM searches").scalar_one()
    assert '"lease_seconds"' in text
    assert '"hurdle"' in text  # a default that a later version may change
    assert site.search(search_id).spec == spec()


def test_the_same_key_and_spec_create_one_search(site: Site) -> None:
    first = site.store.create_search(spec(), actor=ME, idempotency_key="k")
    again = site.store.create_search(spec(), actor=ME, idempotency_key="k")
    assert first.id == again.id
    assert len(site.store.list_searches().items) == 1


def test_a_key_with_another_spec_is_refused(site: Site) -> None:
    site.store.create_search(spec(), actor=ME, idempotency_key="k")
    with pytest.raises(IdempotencyMismatch):
        site.store.create_search(spec(seed=7), actor=ME, idempotency_key="k")


@pytest.mark.parametrize("key", ["", "k" * 256, "a\0b"])
def test_a_key_that_cannot_be_kept_is_refused(site: Site, key: str) -> None:
    with pytest.raises(InvalidInput):
        site.store.create_search(spec(), actor=ME, idempotency_key=key)


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"space": "nowhere"}, "/space"),
        ({"baseline": "nothing"}, "/baseline"),
        ({"seeds": ["glam", "nothing"]}, "/seeds/1"),
    ],
)
def test_a_spec_that_names_what_is_not_there_writes_nothing(
    site: Site, changes: dict[str, object], pointer: str
) -> None:
    with pytest.raises(InvalidSpec) as caught:
        site.store.create_search(spec(**changes), actor=ME)
    assert caught.value.pointer == pointer
    assert site.store.list_searches().items == ()
    assert site.store.audit().items == ()


def test_a_name_finds_the_only_unfinished_search_that_bears_it(site: Site) -> None:
    first = site.create()
    assert site.search("laptop").id == first
    second = site.create()
    with pytest.raises(Conflict, match=r"several .* laptop; use the id"):
        site.search("laptop")
    site.store.change_status(first, SearchStatus.CANCELLED, actor=ME)
    assert site.search("laptop").id == second


@pytest.mark.parametrize("name", ["absent", "a\0b", "", "\N{GRINNING FACE}", "x" * 10_000])
def test_an_unknown_search_is_not_found(site: Site, name: str) -> None:
    with pytest.raises(NotFound):
        site.search(name)


def test_searches_are_listed_newest_first_page_by_page(site: Site) -> None:
    made = [site.create(name=f"s{index}") for index in range(5)]
    first = site.store.list_searches(limit=3)
    rest = site.store.list_searches(limit=3, cursor=first.next_cursor)
    assert [one.id for one in (*first.items, *rest.items)] == made[::-1]
    assert rest.next_cursor is None


def test_a_cursor_that_is_not_ours_is_refused(site: Site) -> None:
    with pytest.raises(InvalidInput):
        site.store.list_searches(cursor="elsewhere")


def test_searches_are_filtered_by_status(site: Site) -> None:
    site.create(name="a")
    paused = site.create(name="b")
    site.store.change_status(paused, SearchStatus.PAUSED, actor=ME)
    found = site.store.list_searches(statuses=[SearchStatus.PAUSED, SearchStatus.FAILED])
    assert [one.id for one in found.items] == [paused]


def test_a_paused_search_grants_nothing_and_its_running_trials_go_on(site: Site) -> None:
    search_id = site.started()
    lease = site.claim_one()
    site.store.change_status(search_id, SearchStatus.PAUSED, actor=ME)
    assert site.claim() == []
    assert site.beat(lease) == "continue"
    assert site.finish(lease).status == "completed"
    assert site.status(search_id) is SearchStatus.PAUSED
    site.store.change_status(search_id, SearchStatus.RUNNING, actor=ME)
    assert site.claim()


def test_pausing_twice_is_harmless_and_noted_once(site: Site) -> None:
    search_id = site.create()
    first = site.store.change_status(search_id, SearchStatus.PAUSED, actor=ME)
    again = site.store.change_status(search_id, SearchStatus.PAUSED, actor=ME)
    assert again == first
    assert [one.action for one in site.store.audit().items] == ["search.paused", "search.create"]


def test_a_stopped_search_lets_running_trials_end_and_cancels_queued_ones(site: Site) -> None:
    search_id = site.create(baseline_repeats=2)
    lease = site.claim_one()
    stopping = site.store.change_status(search_id, SearchStatus.STOPPING, actor=ME)
    assert stopping.status is SearchStatus.STOPPING
    assert stopping.counts[TrialStatus.CANCELLED] == 1
    assert site.finish(lease).status == "completed"
    assert site.status(search_id) is SearchStatus.STOPPED


def test_a_search_without_running_trials_stops_at_once(site: Site) -> None:
    search_id = site.started()
    site.run(3)
    stopped = site.store.change_status(search_id, SearchStatus.STOPPING, actor=ME)
    assert stopped.status is SearchStatus.STOPPED
    assert site.store.change_status(search_id, SearchStatus.STOPPING, actor=ME) == stopped


@pytest.mark.parametrize("outcome", [Outcome.PREEMPTED, Outcome.ERROR, Outcome.CANCELLED])
def test_an_attempt_that_breaks_while_the_search_stops_leaves_nothing_queued(
    site: Site, outcome: Outcome
) -> None:
    search_id = site.started()
    lease = site.claim_one()
    site.store.change_status(search_id, SearchStatus.STOPPING, actor=ME)
    assert site.store.result(lease.lease_id, failed(outcome)).status == "cancelled"
    stopped = site.search(search_id)
    assert stopped.status is SearchStatus.STOPPED
    assert stopped.counts[TrialStatus.QUEUED] == stopped.counts[TrialStatus.RUNNING] == 0


def test_a_lease_handed_back_while_the_search_stops_leaves_nothing_queued(site: Site) -> None:
    search_id = site.started()
    lease = site.claim_one()
    site.store.change_status(search_id, SearchStatus.STOPPING, actor=ME)
    site.store.release(lease.lease_id)
    assert site.status(search_id) is SearchStatus.STOPPED
    assert site.trial(lease).status is TrialStatus.CANCELLED


def test_a_lease_that_lapses_while_the_search_stops_leaves_nothing_queued(site: Site) -> None:
    search_id = site.started()
    lease = site.claim_one()
    site.store.change_status(search_id, SearchStatus.STOPPING, actor=ME)
    site.clock.advance(61)
    assert site.store.reap() == 1
    assert site.status(search_id) is SearchStatus.STOPPED
    assert site.trial(lease).status is TrialStatus.CANCELLED


def test_cancelling_ends_every_open_trial_and_tells_its_worker(site: Site) -> None:
    search_id = site.create(baseline_repeats=2)
    lease = site.claim_one()
    cancelled = site.store.change_status(search_id, SearchStatus.CANCELLED, actor=ME)
    assert cancelled.status is SearchStatus.CANCELLED
    assert cancelled.finished_at is not None
    assert cancelled.counts[TrialStatus.CANCELLED] == 2
    assert site.beat(lease) == "stop"
    assert [one.outcome for one in site.store.attempts(search_id, 0)] == [Outcome.CANCELLED]


@pytest.mark.parametrize(
    "wanted", [SearchStatus.RUNNING, SearchStatus.PAUSED, SearchStatus.STOPPING]
)
def test_a_search_that_has_ended_stays_ended(site: Site, wanted: SearchStatus) -> None:
    search_id = site.create()
    site.store.change_status(search_id, SearchStatus.CANCELLED, actor=ME)
    with pytest.raises(IllegalTransition):
        site.store.change_status(search_id, wanted, actor=ME)
    with pytest.raises(Conflict, match=r"has ended .cancelled., so its limits cannot be changed"):
        site.store.change_limits(search_id, Limits(trials=1), actor=ME)


@pytest.mark.parametrize(
    "wanted", [SearchStatus.COMPLETED, SearchStatus.FAILED, SearchStatus.STOPPED]
)
def test_nobody_asks_for_a_status_that_only_the_search_reaches(
    site: Site, wanted: SearchStatus
) -> None:
    search_id = site.create()
    with pytest.raises(IllegalTransition):
        site.store.change_status(search_id, wanted, actor=ME)


def test_a_stale_version_changes_nothing(site: Site) -> None:
    made = site.store.create_search(spec(), actor=ME)
    site.store.change_status(made.id, SearchStatus.PAUSED, actor=ME, version=made.version)
    with pytest.raises(StaleVersion):
        site.store.change_status(made.id, SearchStatus.RUNNING, actor=ME, version=made.version)
    with pytest.raises(StaleVersion):
        site.store.change_limits(made.id, Limits(trials=9), actor=ME, version=made.version)
    with pytest.raises(StaleVersion):
        site.store.delete_search(made.id, actor=ME, version=made.version)
    assert site.status(made.id) is SearchStatus.PAUSED


def test_a_search_is_deleted_with_all_that_belongs_to_it(site: Site) -> None:
    search_id = site.started()
    site.run(2)
    site.store.change_status(search_id, SearchStatus.STOPPING, actor=ME)
    site.store.delete_search(search_id, actor=ME)
    with pytest.raises(NotFound):
        site.search(search_id)
    with site.store._database.read() as tx:
        for table in ("trials", "attempts", "baselines"):
            left = tx.connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one()
            assert left == 0, table
    assert [one.kind for one in site.store.events()] == ["search.deleted"]
    assert site.store.audit().items[0].action == "search.delete"


def test_a_search_that_has_not_ended_is_not_deleted(site: Site) -> None:
    search_id = site.create()
    with pytest.raises(Conflict, match="stop or cancel"):
        site.store.delete_search(search_id, actor=ME)
    assert site.status(search_id) is SearchStatus.RUNNING


def test_numbers_of_trials_and_events_are_never_given_twice(site: Site) -> None:
    search_id = site.started()
    lease = site.run(1)[0]
    site.store.change_status(search_id, SearchStatus.CANCELLED, actor=ME)
    newest = site.store.last_event()
    site.store.delete_search(search_id, actor=ME)
    site.create()
    again = site.claim_one()
    assert again.kind is TrialKind.BASELINE
    assert again.trial_id > lease.trial_id
    assert site.store.last_event() > newest
