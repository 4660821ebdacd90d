"""What a worker does before Ray starts: it asks, waits and says so, or ends."""

import socket
import threading

import pytest

from brainformer.search.errors import InvalidInput, NotAuthorised
from brainformer.worker.slot.controller_client import LeaseClient
from brainformer.worker.slot.first_contact import meet_controller
from tests.worker.fake_controller import KNOWN, answer, fake_controller


def meet(url, *, patience=30.0):
    """Returns what was told; ends after `patience` seconds."""
    told, ended, client = [], threading.Event(), LeaseClient(url, "hush")
    timer = threading.Timer(patience, ended.set)
    timer.start()
    try:
        meet_controller(client, ended, told.append, first_pause=0.01)
    finally:
        timer.cancel()
        client.close()
    return told


def test_a_controller_that_is_there_is_greeted():
    with fake_controller() as controller:
        told = meet(controller.url)
    assert told == [f"the controller at {controller.url} answers and knows this worker as token:w"]


def test_a_controller_that_comes_up_is_waited_for_and_each_wait_is_told():
    with fake_controller() as controller:
        controller.say("session", answer({"detail": "starting"}, 503), answer({}, 502), KNOWN)
        told = meet(controller.url)
    assert len(told) == 3
    assert told[0].endswith("503: starting; trying again in 0.01 s")
    assert told[1].endswith("trying again in 0.02 s")


def test_an_address_where_nothing_listens_is_told_until_somebody_ends_it():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        told = meet(url, patience=0.3)
    assert len(told) > 2
    assert all("nothing listens there" in sentence for sentence in told)


@pytest.mark.parametrize(
    ("said", "error", "words"),
    [
        (answer({"detail": "the token is unknown"}, 401), NotAuthorised, "the token is unknown"),
        (answer({"name": "token:r", "scopes": ["read"]}), NotAuthorised, "as token:r, which may"),
        (answer({}, 404), InvalidInput, "no controller answers there"),
    ],
)
def test_what_will_not_change_ends_it(said, error, words):
    with fake_controller() as controller:
        controller.say("session", said)
        with pytest.raises(error, match=words):
            meet(controller.url)
        assert len(controller.asked) == 1
