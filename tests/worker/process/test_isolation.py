import os
import signal
import subprocess
import sys
import textwrap
import threading

import psutil
import pytest

from brainformer.search.errors import EnvironmentProblem
from brainformer.search.trials.lease_messages import Directive
from brainformer.search.trials.trial import Outcome
from brainformer.worker.process import cores, isolation
from brainformer.worker.process.cores import claim_cores
from brainformer.worker.process.isolation import TrainingProcess
from brainformer.worker.settings import WorkerSettings
from tests.worker.leases import make_lease
from tests.worker.waiting import wait_for

pytestmark = pytest.mark.timed


LONG = {"budget_seconds": 60}


@pytest.fixture
def start(tmp_path, monkeypatch):
    monkeypatch.setattr(cores, "_held", {})
    started = []

    def make(on_progress=lambda _: Directive(action="continue"), **changes):
        given = {"url": "http://127.0.0.1:1", "pool": "cpu", "runner": "sleep"}
        settings = WorkerSettings(state_folder=tmp_path, **(given | changes))
        settings.make_folders()
        started.append(TrainingProcess(settings, on_progress))
        return started[-1]

    yield make
    for process in started:
        process.kill()
    for _, file in cores._held.values():
        file.close()


def run(process, lease=None, seconds=60.0):
    process.begin(lease or make_lease())
    return process.result(seconds)


def ready(process):
    """Waits until the process sleeps in its trial, with its signal handlers in place."""
    child = psutil.Process(process.pid)
    wait_for(lambda: child.num_threads() >= 3)
    return child


def test_one_process_serves_one_lease_after_another(start):
    process = start()
    assert run(process).outcome is Outcome.COMPLETED
    first = process.pid
    assert run(process, make_lease(lease_id="2-1")).outcome is Outcome.COMPLETED
    assert process.pid == first


def test_a_fresh_process_takes_over_by_policy(start):
    process = start(recycle_after=2)
    pids = []
    for _ in range(3):
        process.begin(make_lease())
        pids.append(process.pid)
        process.result(60)
    assert pids[0] == pids[1] != pids[2]


def test_a_killed_process_is_an_error_and_the_next_lease_gets_another(start):
    process = start()
    process.begin(make_lease(proxy=LONG))
    os.kill(process.pid, signal.SIGKILL)
    result = process.result(20)
    assert result.outcome is Outcome.ERROR
    assert "SIGKILL" in result.message
    assert run(process).outcome is Outcome.COMPLETED


def test_a_crash_keeps_the_stack_for_the_trial_s_page(start):
    process = start()
    process.begin(make_lease(proxy=LONG))
    ready(process)
    os.kill(process.pid, signal.SIGSEGV)
    result = process.result(20)
    assert result.outcome is Outcome.ERROR
    assert "SIGSEGV" in result.message
    assert "trial_process.py" in result.traceback


@pytest.mark.parametrize(
    ("status", "words"), [(1, "status 1"), (-9, "signal SIGKILL"), (-37, "signal 37")]
)
def test_every_end_of_a_process_has_words(status, words):
    assert isolation._ending(status) == words


def test_a_process_that_hangs_is_killed_and_told_apart(start):
    process = start(watchdog_seconds=0.3)
    process.begin(make_lease())
    child = psutil.Process(process.pid)
    child.suspend()
    result = wait_for(lambda: process.result(0.1))
    assert result.outcome is Outcome.TIMED_OUT
    wait_for(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


def test_an_interrupted_trial_comes_back_as_preempted(start):
    process = start()
    process.begin(make_lease(proxy=LONG))
    process.interrupt()
    assert process.result(20).outcome is Outcome.PREEMPTED


def test_a_late_interrupt_does_not_stop_the_next_lease(start):
    process = start()
    assert run(process).outcome is Outcome.COMPLETED
    process.interrupt()
    assert run(process, make_lease(lease_id="2-1")).outcome is Outcome.COMPLETED


def test_a_terminated_process_hands_its_trial_back(start):
    process = start()
    process.begin(make_lease(proxy=LONG))
    ready(process).terminate()
    assert process.result(20).outcome is Outcome.PREEMPTED


def test_a_process_that_dies_while_it_saves_itself_was_preempted(start):
    process = start()
    process.begin(make_lease(proxy=LONG))
    child = psutil.Process(process.pid)
    child.suspend()
    process.interrupt()
    child.kill()
    assert process.result(20).outcome is Outcome.PREEMPTED


def test_no_process_outlives_the_slot_that_started_it(tmp_path):
    slot = textwrap.dedent(
        """
        import sys, time
        from pathlib import Path
        from brainformer.search.trials.lease_messages import Directive
        from tests.worker.leases import make_lease
        from brainformer.worker.process.isolation import TrainingProcess
        from brainformer.worker.settings import WorkerSettings
        settings = WorkerSettings(
            url="http://x", pool="cpu", runner="sleep", state_folder=Path(sys.argv[1])
        )
        settings.make_folders()
        process = TrainingProcess(settings, lambda _: Directive(action="continue"))
        process.begin(make_lease(proxy={"budget_seconds": 600}))
        print(process.pid, flush=True)
        time.sleep(600)
        """
    )
    command = [sys.executable, "-c", slot, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        child = psutil.Process(int(parent.stdout.readline()))
        wait_for(lambda: child.num_threads() >= 3)
        parent.kill()
    wait_for(lambda: not child.is_running())


@pytest.mark.slow
def test_a_trial_trains_on_its_own_cores_only(start):
    process = start(runner="train")
    result = run(process)
    assert result.outcome is Outcome.COMPLETED, result.message
    measured = result.measurements
    assert measured.platform == "cpu"
    assert measured.occupied_seconds > measured.training_seconds
    owned = psutil.Process(process.pid).cpu_affinity()
    assert tuple(owned) == claim_cores(process._settings)
    assert len(owned) == 1


def test_two_slots_never_share_a_core(tmp_path, monkeypatch):
    settings = WorkerSettings(url="http://x", pool="cpu", state_folder=tmp_path)
    there = sorted(os.sched_getaffinity(0))
    taken = []
    for _ in there:
        monkeypatch.setattr(cores, "_held", {})  # as in a slot's process of its own
        taken += claim_cores(settings, wait_seconds=0)
        taken_files.append(cores._held)
    assert sorted(taken) == there
    monkeypatch.setattr(cores, "_held", {})
    with pytest.raises(EnvironmentProblem, match="fewer slots"):
        claim_cores(settings, wait_seconds=0)


taken_files = []  # keeps the locks open, as other processes would


@pytest.mark.slow
def test_a_preempted_trial_resumes_in_a_fresh_process_with_its_budget_counted(start):
    quarter = threading.Event()

    def note(_):
        quarter.set()
        return Directive(action="continue")

    process = start(note, runner="train")
    lease = make_lease(proxy={"budget_seconds": 2.0})
    process.begin(lease)
    assert quarter.wait(60)
    first = process.preempt()
    assert first.outcome is Outcome.PREEMPTED
    spent = first.measurements
    assert spent.steps > 0
    assert process._settings.checkpoint_folder(lease).exists()
    again = run(process, make_lease(lease_id="1-2", attempt=2, proxy={"budget_seconds": 2.0}))
    assert again.outcome is Outcome.COMPLETED
    assert again.measurements.curve[0] == spent.curve[0]
    assert again.measurements.training_seconds > spent.training_seconds
    assert not process._settings.checkpoint_folder(lease).exists()


def test_a_data_set_that_differs_is_refused_with_both_hashes(start):
    process = start(runner="train")
    result = run(process, make_lease(proxy={"dataset_hash": "0" * 64}))
    assert result.outcome is Outcome.ERROR
    assert "but the search recorded 000000000000" in result.message
    assert "DataMismatch" in result.traceback


def test_a_platform_that_is_not_there_is_an_error_not_a_slow_trial(start):
    process = start(runner="train", platform="gpu", accelerators=1)
    result = run(process)
    assert result.outcome is Outcome.ERROR
    assert result.message == "this worker promised gpu, but jax found cpu"
