"""The real thing: a controller and a dispatcher with Ray, as processes of their own."""

import os
import re
import signal
import time
from collections import Counter

import pytest

from brainformer.search.errors import EnvironmentProblem
from brainformer.worker.settings import WorkerSettings
from brainformer.worker.tune.dispatcher import run_dispatcher
from tests.worker.leases import GENOME, PROXY
from tests.worker.stack import Stack, search_spec
from tests.worker.waiting import wait_for

pytestmark = pytest.mark.timed


TINY = {
    "proxy": PROXY.model_dump(mode="json"),
    "baseline": GENOME.model_dump(mode="json"),
    "space": {
        "name": "tiny",
        "model_dim": [16],
        "min_layers": 2,
        "max_layers": 3,
        "layers": {
            "attention": {"heads": [2]},
            "feed_forward": {"hidden_dim": [8, 16, 24, 32], "activation": ["gelu", "relu"]},
            "moe": {
                "hidden_dim": [8, 16, 24, 32],
                "activation": ["gelu", "relu"],
                "gating": ["expert_choice"],
                "capacity_factor": [1, 2],
            },
        },
    },
    "lease_seconds": 3,
}


def spec(name, *, trials=400, budget_seconds=0.2, **changes):
    made = search_spec(name, trials=trials, budget_seconds=budget_seconds)
    tiny = {**TINY, "proxy": {**TINY["proxy"], "budget_seconds": budget_seconds}}
    return {**made, **tiny, **changes}


def members(stack):
    return [one for part in stack.parts().values() for one in part]


def drain(stack, *, within=30):
    """Ends the dispatcher by SIGTERM; returns its exit code and seconds."""
    family = members(stack)[1:]  # all but the controller
    start = time.monotonic()
    stack.worker.send_signal(signal.SIGTERM)
    code = stack.worker.wait(within)
    seconds = time.monotonic() - start
    wait_for(lambda: not any(one.is_running() for one in family))
    return code, seconds


def baseline(stack, search):
    """Returns the first trial of a search; what it knows before that is created is nothing."""
    answer = stack.http.get(f"/searches/{search}/trials/0")
    return answer.json() if answer.is_success else {"status": "", "attempts": []}


def running(stack, search):
    return [one for one in stack.trials(search) if one["status"] == "running"]


@pytest.mark.slow
def test_searches_share_the_slots_and_a_drain_leaves_nothing_running(tmp_path):
    with Stack(tmp_path, slots=3, runner="sleep") as stack:
        one, other = (stack.create(spec(name)) for name in ("one", "other"))
        wait_for(
            lambda: (
                min(
                    sum(trial["status"] == "completed" for trial in stack.trials(search))
                    for search in (one, other)
                )
                >= 8
            ),
            seconds=90,
        )
        assert time.time() - (tmp_path / "worker" / "alive").stat().st_mtime < 10
        counts = Counter({search: len(stack.trials(search)) for search in (one, other)})
        assert max(counts.values()) <= 1.5 * min(counts.values())
        code, seconds = drain(stack)
        assert code == 0, stack.words("worker")
        assert seconds < 15
        assert running(stack, one) == running(stack, other) == []
        said = stack.words("worker")
        assert "answers and knows this worker as local" in said
        assert re.search(r"claimed trial [0-9]+ of (one|other) \(candidate, attempt 1\)", said)
        assert re.search(r"trial [0-9]+ of (one|other) completed: loss ", said)
        assert "drained; nothing runs here any more" in said


@pytest.mark.slow
@pytest.mark.parametrize("moment", [0.0, 1.0, 3.0])
def test_an_end_while_ray_starts_is_in_order_and_leaves_nothing_running(tmp_path, moment):
    with Stack(tmp_path, slots=1, runner="sleep") as stack:
        wait_for(lambda: "starting 1 slot " in stack.words("worker"), seconds=60)
        time.sleep(moment)
        code, _ = drain(stack, within=120)  # Ray starts first, which takes its time
        assert code == 0, stack.words("worker")
        assert "drained; nothing runs here any more" in stack.words("worker")


@pytest.mark.slow
def test_a_drained_trial_resumes_under_the_next_dispatcher(tmp_path):
    with Stack(tmp_path, slots=1, runner="train") as stack:
        search = stack.create(spec("drained", budget_seconds=8.0))
        wait_for(lambda: curve(stack, search), seconds=60)
        code, seconds = drain(stack)
        assert code == 0, stack.words("worker")
        assert seconds < 15
        assert baseline(stack, search)["status"] == "queued"
        assert list((tmp_path / "worker" / "checkpoints").iterdir())
        stack.restart_worker()
        wait_for(lambda: baseline(stack, search)["status"] == "completed", seconds=60)
        told = baseline(stack, search)["attempts"]
        assert [one["outcome"] for one in told] == ["preempted", "completed"]
        assert len(curve(stack, search)) == 4


def curve(stack, search):
    return baseline(stack, search).get("measurements", {}).get("curve", [])


@pytest.mark.slow
def test_killed_processes_cost_an_attempt_and_never_the_search(tmp_path):
    with Stack(tmp_path, slots=1, runner="train") as stack:
        search = stack.create(spec("killed", trials=2))
        training = wait_for(lambda: stack.parts()["training"], seconds=60)
        wait_for(lambda: running(stack, search))
        os.kill(training[0].pid, signal.SIGKILL)
        wait_for(lambda: baseline(stack, search)["attempts"][0]["outcome"] == "error", seconds=30)
        assert "SIGKILL" in baseline(stack, search)["attempts"][0]["message"]
        wait_for(lambda: baseline(stack, search)["status"] == "completed", seconds=60)
        actor = next(
            one for one in stack.parts()["actors"] if "Trainable" in " ".join(one.cmdline())
        )
        os.kill(actor.pid, signal.SIGKILL)
        stack.wait(search, seconds=90)
        assert {one["status"] for one in stack.trials(search)} == {"completed"}


@pytest.mark.slow
def test_a_trial_outlives_a_hung_process_s_silence_and_a_controller_s_restart(tmp_path):
    with Stack(tmp_path, slots=1, runner="sleep") as stack:
        search = stack.create(spec("restarted", trials=1, budget_seconds=6.0))
        training = wait_for(lambda: stack.parts()["training"], seconds=60)[0]
        wait_for(lambda: running(stack, search))
        training.suspend()  # as XLA would for as long as it compiles
        time.sleep(4)  # longer than a lease
        assert baseline(stack, search)["attempt"] == 1
        training.resume()
        stack.controller.kill()
        stack.controller.wait()
        outbox = tmp_path / "worker" / "outbox"
        wait_for(lambda: list(outbox.glob("*/*.json")), seconds=30)
        stack.restart_controller()
        wait_for(lambda: not list(outbox.glob("*/*.json")), seconds=60)
        told = baseline(stack, search)["attempts"]
        assert told[0]["outcome"] in {"completed", "expired"}


@pytest.mark.slow
def test_tensorboard_shows_every_trial_and_no_secret(tmp_path):
    with Stack(tmp_path, slots=1, runner="sleep", extra=("--logger", "tensorboard")) as stack:
        search = stack.create(spec("logged", trials=2))
        stack.wait(search, seconds=90)
        code, _ = drain(stack)
        assert code == 0
    events = list((tmp_path / "worker" / "tune").rglob("events.out.tfevents*"))
    assert len(events) >= 3  # the baseline and two candidates
    assert any(b"validation_loss" in path.read_bytes() for path in events)


@pytest.mark.slow
def test_a_worker_that_is_shut_out_while_it_runs_ends_and_says_why(tmp_path):
    with Stack(tmp_path, slots=1, runner="sleep") as stack:
        stack.create(spec("locked", budget_seconds=0.5))
        wait_for(lambda: "completed: loss" in stack.words("worker"), seconds=60)
        made = stack.http.post("/tokens", json={"name": "me", "scopes": ["admin"]})
        assert made.status_code == 201  # from here on nobody gets in without one
        assert stack.worker.wait(60) == 4
        assert "this controller wants a token" in stack.words("worker").splitlines()[-1]


@pytest.mark.slow
def test_a_worker_of_a_retired_pool_ends_with_one_sentence(tmp_path):
    with Stack(tmp_path, slots=1, runner="sleep") as stack:
        stack.create(spec("retired", budget_seconds=0.5))
        wait_for(lambda: "completed: loss" in stack.words("worker"), seconds=60)
        assert stack.http.post("/pools/cpu/retire").is_success
        assert stack.worker.wait(60) == 5
        assert "pool cpu was retired" in stack.words("worker").splitlines()[-1]


def test_more_slots_than_cores_are_refused(tmp_path):
    settings = WorkerSettings(url="http://x", pool="cpu", slots=4096, state_folder=tmp_path)
    with pytest.raises(EnvironmentProblem, match="4096 slots of 1 cores need 4096 cores"):
        run_dispatcher(settings)


def test_a_logger_that_is_not_installed_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    settings = WorkerSettings(url="http://x", pool="cpu", state_folder=tmp_path, loggers=("wandb",))
    with pytest.raises(EnvironmentProblem, match="pip install wandb"):
        run_dispatcher(settings)


def test_a_state_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    settings = WorkerSettings(url="http://x", pool="cpu", state_folder=tmp_path / "file")
    with pytest.raises(EnvironmentProblem, match="--state-folder"):
        run_dispatcher(settings)
