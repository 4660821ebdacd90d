import time

import pytest

from brainformer.search.errors import PoolRetired
from brainformer.search.trials.version_skew import own_version
from brainformer.worker.settings import WorkerSettings
from brainformer.worker.slot import claims
from brainformer.worker.slot.claims import Claims
from brainformer.worker.slot.controller_client import LeaseClient
from brainformer.worker.slot.news import News
from tests.worker.fake_controller import (
    GO_ON,
    NO_LEASES,
    answer,
    fake_controller,
)
from tests.worker.leases import make_lease
from tests.worker.waiting import wait_for


@pytest.fixture
def controller(monkeypatch):
    monkeypatch.setattr(claims, "WAIT_SECONDS", 0.0)
    with fake_controller() as found:
        yield found


@pytest.fixture
def open_claims(controller, tmp_path):
    opened = []

    def make(datasets=dict, news=None):
        settings = WorkerSettings(
            url=controller.url, pool="cpu", worker_id="w", state_folder=tmp_path
        )
        client = LeaseClient(controller.url)
        opened.append(
            (Claims(settings, client, datasets, news or News(), first_pause=0.01), client)
        )
        return opened[-1][0]

    yield make
    for one, client in opened:
        one.close()
        client.close()


def grants(*leases):
    return answer({"leases": [lease.model_dump(mode="json") for lease in leases]})


def test_nothing_is_claimed_before_it_is_wanted(controller, open_claims):
    open_claims().close()
    assert controller.asked == []


def test_a_wanted_lease_is_taken_and_no_other_is_claimed(controller, open_claims):
    lease = make_lease()
    controller.say("claim", NO_LEASES, grants(lease))
    found = open_claims(lambda: {"python-stdlib": "a" * 64})
    assert found.take(10) == lease
    found.close()
    bodies = controller.got("claim")
    assert len(bodies) == 2
    assert bodies[0]["count"] == 1
    assert bodies[0]["datasets"] == {"python-stdlib": "a" * 64}
    assert controller.got("release") == []


def test_a_worker_without_data_says_so_instead_of_nothing(controller, open_claims):
    open_claims().take(0.05)
    wait_for(lambda: controller.got("claim"))
    assert controller.got("claim")[0]["datasets"] == {}


@pytest.mark.parametrize("failure", [(200, b"nonsense"), answer({}, 503), answer({}, 404)])
def test_claims_go_on_after_a_controller_that_answered_nonsense(failure, controller, open_claims):
    lease = make_lease()
    controller.say("claim", failure, failure, grants(lease))
    assert open_claims().take(20) == lease


def test_failed_claims_wait_longer_and_longer(controller, open_claims):
    controller.say("claim", answer({}, 503))
    found = open_claims()
    found.take(0.5)
    assert 3 <= len(controller.got("claim")) <= 7  # at 0, 10, 30, 70, 150, 310 ms


def test_what_keeps_a_slot_from_claiming_is_told_once_and_so_is_its_end(controller, open_claims):
    news = News()
    away = answer({"detail": "restarting"}, 503)
    controller.say("claim", NO_LEASES, away, away, away, NO_LEASES)
    open_claims(news=news).take(1.0)
    told = news.take()["news"].splitlines()
    assert told[0] == "waiting for work in pool cpu"
    assert "503: restarting; trying again" in told[1]
    assert told[2:4] == ["the controller answers again", "waiting for work in pool cpu"]
    assert news.take() == {}


def test_a_refused_token_ends_the_claiming(controller, open_claims):
    news = News()
    controller.say("claim", answer({"detail": "the token is revoked"}, 401))
    open_claims(news=news).take(0.3)
    assert "the token is revoked" in news.take()["refusal"]
    assert len(controller.got("claim")) == 1


def test_a_pool_that_was_retired_ends_the_claiming(controller, open_claims):
    news = News()
    controller.say("claim", answer({"code": "pool_retired", "detail": "..."}, 409))
    open_claims(news=news).take(0.3)
    assert news.take()["refusal"] == PoolRetired("cpu").message
    assert len(controller.got("claim")) == 1


def test_a_controller_of_another_version_ends_the_claiming(controller, open_claims):
    news = News()
    controller.say("claim", answer({"code": "version_skew", "detail": "..."}, 409))
    controller.say("healthz", answer({"version": "7.3.1"}))
    open_claims(news=news).take(0.3)
    told = news.take()
    assert told["refused_as"] == "version_skew"
    assert f"worker {own_version()} does not fit controller 7.3.1" in told["refusal"]
    assert len(controller.got("claim")) == 1


def test_a_lease_claimed_ahead_is_kept_alive(controller, open_claims):
    lease = make_lease(lease_seconds=0.3)
    controller.say("claim", grants(lease))
    found = open_claims()
    wait_for(found.want)
    wait_for(lambda: controller.got("progress"))
    assert controller.got("progress")[0]["phase"] == "waiting"
    assert found.want() == lease


@pytest.mark.parametrize(
    "word", [answer({"action": "stop", "reason": "cancelled"}), answer({"detail": "gone"}, 409)]
)
def test_a_waiting_lease_that_is_lost_is_dropped(word, controller, open_claims):
    controller.say("claim", grants(make_lease(lease_seconds=0.3)), NO_LEASES)
    controller.say("progress", word)
    found = open_claims()
    wait_for(found.want)
    wait_for(lambda: found.want() is None)


def test_a_lease_too_old_to_begin_is_not_taken(controller, open_claims):
    old, fresh = make_lease(lease_seconds=0.01), make_lease(lease_id="2-1")
    controller.say("claim", grants(old), grants(fresh))
    controller.say("progress", answer({}, 503))
    found = open_claims()
    wait_for(found.want)
    wait_for(lambda: found._age() > 0.01)
    assert found.take(5) == fresh


def test_what_was_not_begun_is_handed_back(controller, open_claims):
    controller.say("claim", grants(make_lease()))
    controller.say("progress", GO_ON)
    found = open_claims()
    wait_for(found.want)
    found.close()
    assert [path for path, _ in controller.asked if path.endswith("release")] == [
        "/api/v1/leases/1-1/release"
    ]


def test_a_controller_that_lets_no_more_claims_wait_is_not_asked_at_once_again(
    controller, open_claims, monkeypatch
):
    monkeypatch.setattr(claims, "WAIT_SECONDS", 10.0)
    monkeypatch.setattr(claims, "LONGEST_PAUSE_SECONDS", 0.4)
    lease = make_lease()
    controller.say("claim", *[NO_LEASES] * 12, grants(lease))
    began = time.monotonic()
    assert open_claims().take(30) == lease
    # Twice as long with every answer, from 10 ms to 400 ms, and a half of each at least.
    assert time.monotonic() - began > 0.5 * (0.63 + 6 * 0.4)
    assert len(controller.got("claim")) == 13


def test_a_claim_that_has_waited_in_vain_is_made_again_at_once(
    controller, open_claims, monkeypatch
):
    monkeypatch.setattr(claims, "LONGEST_PAUSE_SECONDS", 60.0)
    lease = make_lease()
    controller.say("claim", *[NO_LEASES] * 12, grants(lease))  # as it waits for 0 s here
    assert open_claims().take(30) == lease
