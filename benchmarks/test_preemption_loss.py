"""The measurement of preemptions itself: it always ends, and says why."""

from __future__ import annotations

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from benchmarks.preempted_worker import Patience, Worker
from benchmarks.preemption_loss import Found, gather
from benchmarks.two_clusters_stage import Tree


def worker_of(folder, monkeypatch, program):
    """Returns a worker whose process is a Python program of ours."""
    made = Worker(0, "http://127.0.0.1:1", folder)
    monkeypatch.setattr(made, "_command", [sys.executable, "-c", program])
    made.start()
    return made


def wait_for_words(worker, folder):
    log = folder / f"{worker.pool}.log"
    Patience(20).wait_for("its words", lambda: "up" in log.read_text(), seconds=20)


def test_a_wait_gives_its_answer_or_says_what_never_came():
    patience = Patience(60)
    assert patience.wait_for("a trial", lambda: "found", seconds=0) == "found"
    with pytest.raises(TimeoutError, match="a trial: not within 0 s"):
        patience.wait_for("a trial", lambda: None, seconds=0)
    with pytest.raises(TimeoutError, match="from the start"):
        Patience(0).wait_for("a trial", lambda: None, seconds=60)


def test_the_first_error_ends_the_others():
    patience = Patience(600)
    waits = threading.Event()

    def waiting():
        waits.set()
        patience.sleep(600)

    def failing():
        waits.wait(20)
        raise RuntimeError("the worker of cpu-1 ended by itself")

    began = time.monotonic()
    with ThreadPoolExecutor(2) as threads:
        running = [threads.submit(waiting), threads.submit(failing)]
        with pytest.raises(RuntimeError, match="cpu-1 ended by itself"):
            gather(running, patience)
    assert time.monotonic() - began < 60
    assert isinstance(running[0].exception(), TimeoutError)


def test_what_was_found_comes_in_the_order_of_the_workers():
    with ThreadPoolExecutor(2) as threads:
        running = [threads.submit(Found, [float(number)], [], 0) for number in range(2)]
        assert [one.undisturbed for one in gather(running, Patience(60))] == [[0.0], [1.0]]


def test_a_worker_that_ends_by_itself_is_quoted(tmp_path, monkeypatch):
    worker = worker_of(tmp_path, monkeypatch, "raise SystemExit('no such pool')")

    def ask():
        worker.check()

    with pytest.raises(
        RuntimeError, match=r"(?s)cpu-0 ended by itself with status 1.*no such pool"
    ):
        Patience(60).wait_for("a claim", ask, seconds=60)


def test_a_worker_that_drains_tells_how_long_it_took(tmp_path, monkeypatch):
    drains = "import signal,sys,time\nsignal.signal(15, lambda *_: sys.exit(0))\n"
    worker = worker_of(tmp_path, monkeypatch, drains + "print('up', flush=True)\ntime.sleep(60)")
    wait_for_words(worker, tmp_path)
    sent, took = worker.terminate()
    assert abs(time.time() - sent - took) < 20
    assert worker.terminate()[1] == 0.0


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("import time\nprint('up', flush=True)\ntime.sleep(60)", "ended with status -15"),
        (
            "import signal,time\nsignal.signal(15, signal.SIG_IGN)\n"
            "print('up', flush=True)\ntime.sleep(60)",
            "ended with status -9",
        ),
    ],
)
def test_a_worker_that_does_not_drain_is_told_of(tmp_path, monkeypatch, program, said):
    monkeypatch.setattr("benchmarks.preempted_worker.DRAIN_SECONDS", 1.0)
    worker = worker_of(tmp_path, monkeypatch, program)
    wait_for_words(worker, tmp_path)
    with pytest.raises(RuntimeError, match=said):
        worker.terminate()


def test_processes_that_are_left_behind_are_named_and_ended(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.preempted_worker.LINGER_SECONDS", 0.5)
    leaves = (
        "import signal,subprocess,sys,time\n"
        "child = subprocess.Popen(['sleep', '600'])\n"
        "signal.signal(15, lambda *_: sys.exit(0))\nprint('up', flush=True)\ntime.sleep(60)"
    )
    worker = worker_of(tmp_path, monkeypatch, leaves)
    wait_for_words(worker, tmp_path)
    tree = worker._tree
    assert isinstance(tree, Tree)
    (child,) = [one for one in tree.family() if one.name() == "sleep"]
    with pytest.raises(RuntimeError, match="left processes behind: sleep 600"):
        worker.terminate()
    child.wait(20)
