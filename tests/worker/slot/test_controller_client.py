import socket

import pytest

from brainformer.search.errors import (
    ControllerUnreachable,
    InvalidInput,
    LeaseLost,
    NotAuthorised,
    VersionSkew,
)
from brainformer.search.trials.lease_messages import ClaimRequest, Progress, Result
from brainformer.search.trials.trial import Outcome
from brainformer.search.trials.version_skew import own_version
from brainformer.worker.slot.controller_client import LeaseClient
from tests.worker.fake_controller import answer, fake_controller
from tests.worker.leases import make_lease

CLAIM = ClaimRequest(worker_id="w", pool="cpu")
RESULT = Result(outcome=Outcome.PREEMPTED)


@pytest.fixture
def controller():
    with fake_controller() as found:
        yield found


@pytest.fixture
def client(controller):
    found = LeaseClient(controller.url, "secret")
    yield found
    found.close()


def test_claimed_leases_come_back_as_they_were_granted(controller, client):
    lease = make_lease()
    controller.say("claim", answer({"leases": [lease.model_dump(mode="json")]}))
    assert client.claim(CLAIM) == (lease,)
    assert controller.got("claim") == [CLAIM.model_dump(mode="json")]


@pytest.mark.parametrize(
    "nonsense",
    [
        (200, b""),
        (200, b"<html>please log in</html>"),
        (200, b'{"leases": [{"lease_id": "1-1"}]}'),
        (200, b"[1, 2"),
        (200, b"\xff\xfe"),
        (302, b""),
        (500, b"stack trace"),
        (429, b'{"detail": ["not", "text"]}'),
        (404, b"{}"),
    ],
)
def test_a_controller_that_answers_nonsense_is_unreachable(controller, client, nonsense):
    controller.say("claim", nonsense)
    with pytest.raises(ControllerUnreachable, match=controller.url):
        client.claim(CLAIM)


def test_a_controller_that_is_not_there_is_unreachable():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(ControllerUnreachable, match="no usable answer"):
        LeaseClient(url).claim(CLAIM)


@pytest.mark.parametrize("url", ["", "not a url", "http://", "ftp://host", "http://[::1"])
def test_an_impossible_address_is_named(url):
    with pytest.raises(InvalidInput, match="a controller's address is"):
        LeaseClient(url)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_token_is_told_apart_and_never_repeated(controller, client, status):
    controller.say("claim", answer({"detail": "the token is revoked"}, status))
    controller.say("session", answer({"detail": "the token is revoked"}, status))
    for ask in (lambda: client.claim(CLAIM), client.whoami):
        with pytest.raises(NotAuthorised, match="the token is revoked") as caught:
            ask()
        assert "secret" not in caught.value.message


def test_a_slash_behind_the_address_changes_nothing(controller):
    client = LeaseClient(f" {controller.url}/ ")
    assert client.whoami().name == "token:w"
    assert [path for path, _ in controller.asked] == ["/api/v1/session"]
    client.close()


@pytest.mark.parametrize("what", [(404, b"<html>"), (302, b""), (200, b"<html>"), (421, b"{}")])
def test_what_is_no_controller_is_named(controller, client, what):
    controller.say("session", what)
    with pytest.raises(InvalidInput, match="no controller answers there"):
        client.whoami()


@pytest.mark.parametrize("status", [500, 502, 503, 429])
def test_a_controller_that_comes_later_is_waited_for(controller, client, status):
    controller.say("session", answer({"detail": "restarting"}, status))
    with pytest.raises(ControllerUnreachable, match="restarting"):
        client.whoami()


@pytest.mark.parametrize("status", [404, 409, 410])
def test_a_lease_that_the_controller_does_not_know_is_lost(controller, client, status):
    for word in ("progress", "result", "release"):
        controller.say(word, answer({"detail": "another attempt holds it"}, status))
    for call in (
        lambda: client.progress(make_lease(), Progress()),
        lambda: client.result("1-1", RESULT),
        lambda: client.release(make_lease()),
    ):
        with pytest.raises(LeaseLost, match="attempt 1 no longer holds trial 1: another attempt"):
            call()


def test_a_refused_report_is_not_a_silent_controller(controller, client):
    controller.say("result", answer({"detail": "loss must be finite"}, 422))
    with pytest.raises(InvalidInput, match="loss must be finite"):
        client.result("1-1", RESULT)


def test_the_token_is_sent_and_not_shown(controller, client, caplog):
    caplog.set_level("DEBUG")
    client.claim(CLAIM)
    assert "secret" not in caplog.text
    assert client._http.headers["Authorization"] == "Bearer secret"


def test_a_search_that_is_gone_is_told_from_one_that_may_not_be_read(controller, client):
    controller.say("s", answer({}, 404), answer({}, 403), answer({}))
    assert [client.forgot("s") for _ in range(3)] == [True, False, False]


def test_a_controller_of_another_minor_version_is_refused_with_both_named(controller, client):
    controller.say("healthz", answer({"status": "ok", "version": "7.3.1"}))
    with pytest.raises(VersionSkew, match=rf"worker {own_version()} .* controller 7\.3\.1"):
        client.check_version()


@pytest.mark.parametrize(
    "said",
    [
        answer({"status": "ok", "version": f"{own_version().rpartition('.')[0]}.99"}),
        answer({"status": "ok"}),
        answer(["a proxy's page"]),
        (200, b"<html>"),
        (503, b""),
    ],
)
def test_one_that_fits_or_does_not_say_is_taken(controller, client, said):
    controller.say("healthz", said)
    client.check_version()


def test_one_that_is_not_there_yet_is_no_reason_to_end():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    LeaseClient(url).check_version()
