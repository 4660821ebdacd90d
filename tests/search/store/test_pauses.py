"""Pauses: a real process is stopped by SIGSTOP, and what it does then is seen from outside."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

STOPPED_SECONDS = 3.0
BEGIN = """
import os, threading, time
from brainformer.search.store.patience import lengthen, patience, seconds_left, too_late
from brainformer.search.store.pauses import PAUSES
PAUSES.seconds()
"""


def run_stopped(script: str, *, cwd: Path) -> str:
    """Returns what a script prints that is stopped for three seconds as soon as it says `now`."""
    child = subprocess.Popen(
        [sys.executable, "-c", BEGIN + textwrap.dedent(script)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=cwd,
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "now\n"
        os.kill(child.pid, signal.SIGSTOP)
        time.sleep(STOPPED_SECONDS)
        os.kill(child.pid, signal.SIGCONT)
        return child.communicate(timeout=60)[0]
    finally:
        child.kill()


def test_a_pause_of_the_process_is_no_wait(tmp_path: Path) -> None:
    said = run_stopped(
        """
        with patience(2.0) as caller:
            began = time.monotonic()
            print("now", flush=True)
            while time.monotonic() - began < 2.5:
                pass
            print(seconds_left() > 1.0, too_late(), PAUSES.seconds() > 2.0)
            time.sleep(2.0)  # this is one
            print(seconds_left())
        """,
        cwd=tmp_path,
    )
    assert said == "True False True\n0.0\n"


def test_a_lock_is_still_waited_for_after_a_pause(tmp_path: Path) -> None:
    said = run_stopped(
        """
        from brainformer.search.sql.connection.engines import OnlyWriter, Places
        writer, places = OnlyWriter(), Places(1)
        held = threading.Event()
        def hold():
            with writer, places:
                held.set()
                time.sleep(1.5)  # of which the pause leaves most
        threading.Thread(target=hold).start()
        held.wait()
        def take(thing):
            try:
                with patience(2.5), thing:
                    os.write(1, b"taken\\n")  # in one piece
            except Exception as error:
                os.write(1, f"{error}\\n".encode())
        threads = [threading.Thread(target=take, args=(one,)) for one in (writer, places)]
        for one in threads:
            one.start()
        print("now", flush=True)
        for one in threads:
            one.join()
        """,
        cwd=tmp_path,
    )
    assert said == "taken\ntaken\n"


def test_a_busy_process_does_not_pause(tmp_path: Path) -> None:
    script = """
        def work(until):
            while time.monotonic() < until:
                sum(range(1000))
        threads = [threading.Thread(target=work, args=(time.monotonic() + 2,)) for _ in range(40)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        print(PAUSES.seconds())
        """
    said = subprocess.run(
        [sys.executable, "-c", BEGIN + textwrap.dedent(script)],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        timeout=60,
    ).stdout
    assert said == "0.0\n"
