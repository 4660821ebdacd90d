"""The demo's progress: a bar on a terminal, one line a trial elsewhere."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from brainformer.api.cli.terminal.output import number, say, stderr
from brainformer.search.trials.trial import TrialStatus

EXPLAINED = frozenset({TrialStatus.FAILED, TrialStatus.PRUNED})


class DemoProgress:
    """Shows best so far, trials done and time left; a context manager."""

    def __init__(self, record: dict[str, Any]) -> None:
        spec = record["spec"]
        candidates = spec["limits"]["trials"]
        self._total: int | None = None  # under a limit of hours alone nobody knows
        if candidates is not None:
            confirmed = spec["confirmations"] * spec["confirmation_repeats"]
            self._total = candidates + spec["baseline_repeats"] + confirmed
        hours = spec["limits"]["hours"]
        created = datetime.fromisoformat(record["created_at"])
        self._ends = None if hours is None else created + timedelta(hours=hours)
        self._started = time.monotonic()
        self._done_before = _done(record)
        self._told: set[int] = set()
        self._bar = Progress(
            TextColumn("searching"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("trials · {task.fields[best]} · {task.fields[left]}", markup=False),
            console=stderr(),
            disable=not sys.stderr.isatty(),
        )
        self._task = self._bar.add_task("", total=self._total, best="", left="starting Ray ...")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def update(self, record: dict[str, Any], newest: dict[str, Any]) -> None:
        """Shows the search's present state; `newest` is its page of last changed trials."""
        done = _done(record)
        best = record["best_fitness"]
        self._bar.update(
            self._task,
            completed=done,
            best="no result yet" if best is None else f"best {best:+.3f} nats on its rival",
            left=self._time_left(done, newest),
        )
        for trial in reversed(newest["items"]):
            if TrialStatus(trial["status"]).ended and trial["number"] not in self._told:
                self._told.add(trial["number"])
                self._tell(trial)

    def _time_left(self, done: int, newest: dict[str, Any]) -> str:
        if done <= self._done_before:
            running = any(trial["status"] == TrialStatus.RUNNING for trial in newest["items"])
            return "first results soon" if running else "starting Ray ..."
        estimates = []
        if self._total is not None:
            seconds_a_trial = (time.monotonic() - self._started) / (done - self._done_before)
            estimates.append((self._total - done) * seconds_a_trial)
        if self._ends is not None:
            estimates.append((self._ends - datetime.now(UTC)).total_seconds())
        seconds = max(0.0, min(estimates))
        return f"{int(seconds // 60)}:{int(seconds % 60):02d} left"

    def _tell(self, trial: dict[str, Any]) -> None:
        if not self._bar.disable:
            return
        loss = number(trial["measurements"]["validation_loss"])
        words = trial["message"] if trial["status"] in EXPLAINED else f"loss {loss}"
        say(f"trial {trial['number']:>3} {trial['kind']:<12} {trial['status']:<9} {words}")


def _done(record: dict[str, Any]) -> int:
    return sum(record["counts"].get(status, 0) for status in TrialStatus if status.ended)
