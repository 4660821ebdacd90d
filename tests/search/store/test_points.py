"""Points of several trials in one transaction: each is answered as if it had come alone."""

from __future__ import annotations

import threading
import time

import pytest
from sqlalchemy import create_engine, select

from brainformer.search.errors import LeaseLost, NotFound
from brainformer.search.sql.connection.tables import searches, trials
from brainformer.search.sql.trials.heartbeats import HELD_SECONDS
from brainformer.search.status import SearchStatus
from brainformer.search.storage_errors import StorageHeld
from brainformer.search.trials.events import EventKind
from brainformer.search.trials.lease_messages import Lease, Progress
from brainformer.search.trials.trial import TrialKind
from tests.search.store.site import ME, Site, point


def at(lease: Lease, fraction: float, loss: float, **more: float) -> tuple[str, Progress]:
    return lease.lease_id, Progress(point=point(fraction, loss), **more)


def losses(site: Site, lease: Lease) -> list[float | None]:
    return [one.validation_loss for one in site.trial(lease).measurements.curve]


def step_time(site: Site, lease: Lease) -> float | None:
    """The step time by which constraints and listings go while the trial runs."""
    engine = create_engine(site.url)
    with engine.connect() as connection:
        asked = select(trials.c.step_time_ms).where(trials.c.id == lease.trial_id)
        found: float | None = connection.execute(asked).scalar_one()
    engine.dispose()
    return found


def two_searches(site: Site) -> list[Lease]:
    """Two candidates of each of two searches, whose baselines had loss 2.5 at the hurdle."""
    for name in ("first", "second"):
        site.create(name=name, baseline_repeats=2)
    found: list[Lease] = []
    measured = 0
    while len(found) < 4 or measured < 4:
        lease = site.claim_one()
        if lease.kind is TrialKind.BASELINE:
            site.finish(lease, 2.0, curve=(point(0.25, 2.5), point(1.0, 2.0)))
            measured += 1
        else:
            found.append(lease)
    assert len({lease.search_id for lease in found}) == 2
    return found


def test_each_is_kept_judged_and_told_as_if_it_came_alone(site: Site) -> None:
    leases = two_searches(site)
    before = site.store.last_event()
    site.clock.advance(50)
    answers = site.store.points(
        [at(lease, 0.26, loss) for lease, loss in zip(leases, (2.4, 2.6, 2.7, 2.3), strict=True)]
    )
    assert [one.action for one in answers] == ["continue", "stop", "stop", "continue"]
    assert [losses(site, lease) for lease in leases] == [[2.4], [2.6], [2.7], [2.3]]
    events = site.store.events(after=before)
    told = [
        (one.search_id, one.data["number"])
        for one in events
        if one.kind == EventKind.TRIAL_PROGRESS
    ]
    assert sorted(told) == sorted((lease.search_id, lease.trial_number) for lease in leases)
    site.clock.advance(50)
    assert site.store.reap() == 0, "every lease was extended"


def test_sequence_numbers_rise_one_by_one(site: Site) -> None:
    leases = two_searches(site)
    site.store.points([at(lease, 0.1, 3.0) for lease in leases] + [at(leases[0], 0.2, 2.9)])
    for search_id in {lease.search_id for lease in leases}:
        mine = [site.trial(one).seq for one in leases if one.search_id == search_id]
        assert len(set(mine)) == len(mine)


def test_two_points_of_one_trial_are_both_kept(site: Site) -> None:
    lease, *_ = two_searches(site)
    first, second = (
        Progress(point=point(fraction, loss, step=step), step_time_ms=18.0)
        for fraction, loss, step in ((0.1, 3.0, 10), (0.2, 2.8, 20))
    )
    site.store.points([(lease.lease_id, each) for each in (first, second, first)])
    assert losses(site, lease) == [3.0, 2.8]
    assert step_time(site, lease) == 18.0


def test_a_point_without_a_step_time_keeps_the_one_before(site: Site) -> None:
    lease, *_ = two_searches(site)
    site.store.progress(*at(lease, 0.1, 3.0, step_time_ms=18.0))
    site.store.progress(lease.lease_id, Progress(point=point(0.2, 2.9, step=2)))
    assert step_time(site, lease) == 18.0


def test_a_report_that_is_refused_keeps_nobody_from_their_answer(site: Site) -> None:
    ended, released, alive, other = two_searches(site)
    site.finish(ended, 2.2)
    site.store.release(released.lease_id)
    made_up = f"{alive.trial_id}-1-{'0' * 16}", Progress(point=point(0.1, 3.0))
    missing = f"999999-1-{'0' * 16}", Progress(point=point(0.1, 3.0))
    asked = [*(at(one, 0.1, 3.0) for one in (ended, released, alive)), made_up, missing]
    answers = site.store.points([*asked, at(other, 0.1, 3.1)])
    kinds = [type(one) for one in answers]
    assert kinds[:2] == [LeaseLost, LeaseLost]
    assert kinds[3:5] == [NotFound, NotFound]
    assert losses(site, alive) == [3.0]
    assert losses(site, other) == [3.1]
    assert losses(site, ended) != [3.0]


def test_what_was_cancelled_is_told_to_stop(site: Site) -> None:
    first, second, *_ = two_searches(site)
    site.store.change_status(first.search_id, SearchStatus.CANCELLED, actor=ME)
    stopped = [one for one in (first, second) if one.search_id == first.search_id]
    answers = site.store.points([at(one, 0.1, 3.0) for one in (first, second)])
    for lease, answer in zip((first, second), answers, strict=True):
        assert (answer.action == "stop") == (lease in stopped)


@pytest.mark.parametrize("turn", [1, -1])
def test_batches_that_cross_wait_for_one_another_and_never_in_a_circle(
    site: Site, turn: int
) -> None:
    leases = two_searches(site)
    failures: list[Exception] = []

    def keep_telling(mine: list[Lease]) -> None:
        try:
            for step in range(15):
                asked = [(one.lease_id, Progress(point=point(0.1, 3.0, step=step))) for one in mine]
                assert all(not isinstance(one, Exception) for one in site.store.points(asked))
        except Exception as error:  # noqa: BLE001 looked at below
            failures.append(error)

    threads = [
        threading.Thread(target=keep_telling, args=(mine,))
        for mine in (leases, leases[::turn], leases[2:] + leases[:2])
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures
    for lease in leases:
        assert len(losses(site, lease)) == 15


@pytest.mark.parametrize("site", ["postgres"], indirect=True)  # SQLite has one writer anyway
def test_a_search_that_somebody_holds_keeps_no_other_from_its_points(site: Site) -> None:
    leases = two_searches(site)
    held = [one for one in leases if one.search_id == leases[0].search_id]
    engine = create_engine(site.url)
    with engine.begin() as somebody:
        row = select(searches.c.id).where(searches.c.id == leases[0].search_id)
        somebody.execute(row.with_for_update())
        began = time.monotonic()
        answers = site.store.points([at(one, 0.1, 3.0) for one in leases])
        assert time.monotonic() - began < HELD_SECONDS + 1
    engine.dispose()
    for lease, answer in zip(leases, answers, strict=True):
        assert isinstance(answer, StorageHeld) == (lease in held)
        assert losses(site, lease) == ([] if lease in held else [3.0])
    again = site.store.points([at(one, 0.1, 3.0) for one in leases])
    assert [one.action for one in again] == ["continue"] * 4
    assert [losses(site, lease) for lease in leases] == [[3.0]] * 4
