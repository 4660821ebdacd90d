import json

import pytest

from brainformer.search.errors import ControllerUnreachable
from brainformer.search.trials.lease_messages import Result
from brainformer.search.trials.trial import Outcome
from brainformer.worker.slot.controller_client import LeaseClient
from brainformer.worker.slot.outbox import Letter, Outbox
from tests.worker.fake_controller import RECEIPT, answer, fake_controller
from tests.worker.waiting import wait_for

RESULT = Result(outcome=Outcome.DIVERGED, message="the loss is nan")
DOWN = answer({"detail": "down"}, 503)


@pytest.fixture
def controller():
    with fake_controller() as found:
        yield found


@pytest.fixture
def open_outbox(controller, tmp_path):
    opened = []

    def make(inherits=True):
        client = LeaseClient(controller.url)
        opened.append((Outbox(tmp_path, client, inherits=inherits, first_pause=0.01), client))
        return opened[-1][0]

    yield make
    for outbox, client in opened:
        outbox.close()
        client.close()


def write(folder, lease_id="7-2", search_id="s"):
    path = folder / f"{lease_id}.json"
    path.write_text(Letter(search_id=search_id, result=RESULT).model_dump_json())
    return path


def test_a_delivered_result_leaves_nothing_behind(controller, open_outbox, tmp_path):
    open_outbox().put("1-1", "s", RESULT)
    assert [body["outcome"] for body in controller.got("result")] == ["diverged"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "failure", [DOWN, (200, b"nonsense"), (302, b""), answer({}, 401), answer({}, 429)]
)
def test_a_result_stays_on_disk_until_the_controller_has_it(
    failure, controller, open_outbox, tmp_path
):
    controller.say("result", failure, failure, failure, RECEIPT)
    outbox = open_outbox()
    outbox.put("1-1", "s", RESULT)
    kept = Letter.model_validate_json((tmp_path / "1-1.json").read_bytes()).result
    assert kept == RESULT
    wait_for(lambda: not outbox.waiting())
    assert len(controller.got("result")) >= 4


def test_what_an_earlier_process_left_is_delivered(controller, open_outbox, tmp_path):
    controller.say("s", answer({}))
    write(tmp_path)
    open_outbox()
    wait_for(lambda: controller.got("result"))
    wait_for(lambda: not list(tmp_path.iterdir()))


def test_a_slot_delivers_its_own_results_only(controller, open_outbox, tmp_path):
    path = write(tmp_path)
    slot = open_outbox(inherits=False)
    slot.put("1-1", "s", RESULT)
    slot.close()
    assert slot.waiting() == []
    assert path.exists()
    assert len(controller.got("result")) == 1


def test_what_was_meant_for_an_earlier_controller_at_that_address_is_set_aside(
    controller, open_outbox, tmp_path
):
    path = write(tmp_path, search_id="another-controller-s")
    open_outbox()
    wait_for(path.with_suffix(".refused").exists)
    assert controller.got("result") == []


def test_a_late_result_is_dropped_for_the_controller_keeps_it(controller, open_outbox, tmp_path):
    controller.say("result", answer({"detail": "attempt 2 holds it"}, 409))
    open_outbox().put("1-1", "s", RESULT)
    assert list(tmp_path.iterdir()) == []


def test_a_refused_result_is_set_aside_and_does_not_block_the_others(
    controller, open_outbox, tmp_path
):
    controller.say("result", answer({"detail": "no"}, 422), RECEIPT)
    outbox = open_outbox()
    outbox.put("1-1", "s", RESULT)
    outbox.put("2-1", "s", RESULT)
    assert [path.name for path in tmp_path.iterdir()] == ["1-1.refused"]


def test_a_damaged_file_is_set_aside(controller, open_outbox, tmp_path):
    (tmp_path / "3-1.json").write_text('{"search_id": "s", "result": {"outcome"')
    (tmp_path / "notes.json").write_text("{}")
    open_outbox()
    wait_for((tmp_path / "3-1.refused").exists)
    assert json.loads((tmp_path / "notes.json").read_text()) == {}
    assert controller.asked == []


def test_a_full_disk_costs_the_safety_net_and_not_the_result(
    controller, open_outbox, tmp_path, monkeypatch
):
    def full(*_args, **_options):
        raise OSError(28, "No space left on device")

    outbox = open_outbox()
    monkeypatch.setattr("pathlib.Path.write_text", full)
    outbox.put("1-1", "s", RESULT)
    assert len(controller.got("result")) == 1
    controller.say("result", DOWN)
    with pytest.raises(ControllerUnreachable):
        outbox.put("1-1", "s", RESULT)


def test_two_processes_may_deliver_the_same_result(controller, open_outbox, tmp_path):
    controller.say("result", DOWN)
    first, second = open_outbox(), open_outbox()
    first.put("1-1", "s", RESULT)
    second.put("1-1", "s", RESULT)
    controller.say("result", RECEIPT)
    wait_for(lambda: not first.waiting())
    assert {body["outcome"] for body in controller.got("result")} == {"diverged"}
