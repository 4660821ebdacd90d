"""How long a person waits for help: every command's `--help`, in a fresh process, five times.

python -m benchmarks.help_speed [--rounds 5]
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import typer

from benchmarks.report import report
from brainformer.api.cli.main import app

TARGET_SECONDS = 0.3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    load, before = os.getloadavg()[0], _processor_seconds()
    found = {" ".join(words): _seconds(words, rounds) for words in _commands()}
    processor = _processor_seconds() - before
    for words, seconds in found.items():
        print(f"{statistics.median(seconds):7.3f} s  brainformer {words} --help")
    every = sorted(one for seconds in found.values() for one in seconds)
    p90 = every[int(0.9 * len(every))]
    report(
        name="help-speed",
        value=round(p90, 3),
        unit="seconds, p90 over every command's help",
        target=f"at most {TARGET_SECONDS}",
        ok=p90 <= TARGET_SECONDS,
        details={
            "python_alone": round(statistics.median(_seconds(None, rounds)), 3),
            "median": round(statistics.median(every), 3),
            "processor_seconds_a_help": round(processor / len(every), 3),
            "load_before": round(load, 2),
            "commands": len(found),
        },
    )


def _processor_seconds() -> float:
    """Returns what children have used so far: near what they take on an idle machine."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _commands() -> Iterator[tuple[str, ...]]:
    """Yields the words of every command and of every group of them."""
    stack: list[tuple[tuple[str, ...], Any]] = [((), typer.main.get_command(app))]
    while stack:
        words, command = stack.pop(0)
        yield words
        stack += [((*words, name), one) for name, one in getattr(command, "commands", {}).items()]


def _seconds(words: tuple[str, ...] | None, rounds: int) -> list[float]:
    """Returns how long each of some runs took; of Python alone without words."""
    main = "from brainformer.api.cli.main import main; main()"
    command = [sys.executable, "-c", "pass" if words is None else main]
    found = []
    for _ in range(rounds):
        start = time.perf_counter()
        subprocess.run(
            [*command, *(words or ()), "--help"] if words is not None else command,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        found.append(time.perf_counter() - start)
    return found


if __name__ == "__main__":
    main()
