"""How `brainformer train` shows a run: a bar on a terminal, lines elsewhere; both on stderr."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text
from typing_extensions import override

from brainformer.api.cli.terminal.output import say, stderr
from brainformer.worker.pretraining.progress import Beginning, Observer, Status

UNITS = ((1e9, "B"), (1e6, "M"), (1e3, "k"))
REFRESH_SECONDS = 0.5  # drawing takes time from a CPU that trains


def display() -> Observer:
    """Returns the display for where stderr goes."""
    return Bar() if sys.stderr.isatty() else Lines()


class Lines(Observer):
    """One line for every report."""

    def began(self, beginning: Beginning) -> None:
        """Says what trains on what."""
        say(heading(beginning))

    def trained(self, status: Status, *, due: bool) -> None:
        """Writes a line where one is due."""
        if due:
            say(line(status))

    def validated(self, step: int, loss: float, bits_per_byte: float) -> None:
        """Writes what validation found."""
        say(verdict(step, loss, bits_per_byte))

    def saved(self, step: int, folder: Path, seconds: float) -> None:
        """Says where the checkpoint is."""
        say(f"step {step:,}: saved {folder} in {seconds:.1f} s")

    def ended(self) -> None:
        """Has nothing left to do."""


class Bar(Observer):
    """A bar with figures; what validation finds stays above it.

    It is drawn between two blocks of steps: a thread of its own would take a core from them.

    Args:
        console: Where to draw; stderr by default.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._drawn = 0.0
        self._progress = Progress(
            BarColumn(bar_width=20),
            TextColumn("{task.percentage:>3.0f}%"),
            _Figures(),
            console=console or stderr(),
            auto_refresh=False,
            transient=True,
        )
        self._task = self._progress.add_task("training", total=1.0, status=None)

    def began(self, beginning: Beginning) -> None:
        """Says what trains on what, and shows the bar."""
        self._progress.console.print(heading(beginning))
        self._progress.start()

    @override
    def trained(self, status: Status, *, due: bool) -> None:
        """Moves the bar."""
        if status.elapsed_seconds - self._drawn >= REFRESH_SECONDS:
            self._drawn = status.elapsed_seconds
            self._progress.update(self._task, completed=status.fraction, status=status)
            self._progress.refresh()

    def validated(self, step: int, loss: float, bits_per_byte: float) -> None:
        """Writes what validation found above the bar."""
        self._progress.console.print(verdict(step, loss, bits_per_byte))

    def saved(self, step: int, folder: Path, seconds: float) -> None:
        """Leaves the bar alone: checkpoints are where they always are."""

    def ended(self) -> None:
        """Takes the bar away."""
        self._progress.stop()


class _Figures(ProgressColumn):
    """The figures behind the bar."""

    def render(self, task: Task) -> Text:
        """Returns the last status as text."""
        status = task.fields["status"]
        return Text("" if status is None else line(status))


def heading(beginning: Beginning) -> str:
    """Returns what trains on what."""
    peak = beginning.peak_flops
    return (
        f"{_count(beginning.parameters)} parameters on {beginning.devices}; MFU is a share of "
        f"{_flops(peak)} ({beginning.peak_source})"
    )


def line(status: Status) -> str:
    """Returns where a run stands, on one line."""
    of = "" if status.total_steps is None else f"/{status.total_steps:,}"
    left = "?" if status.seconds_left is None else duration(status.seconds_left)
    return (
        f"step {status.step:,}{of}  loss {status.loss:.4f}  "
        f"{_count(status.tokens_per_second)} tokens/s  MFU {status.mfu:.1%}  "
        f"lr {status.learning_rate:.2e}  {left} left"
    )


def verdict(step: int, loss: float, bits_per_byte: float) -> str:
    """Returns what validation found, on one line."""
    return f"step {step:,}: validation loss {loss:.4f}, {bits_per_byte:.4f} bits a byte"


def duration(seconds: float) -> str:
    """Returns a duration as hours, minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _count(value: float) -> str:
    """Returns a number with three digits and a letter."""
    for unit, letter in UNITS:
        if value >= unit:
            return f"{value / unit:.3g}{letter}"
    return f"{value:.3g}"


def _flops(value: float) -> str:
    unit, letter = (1e12, "T") if value >= 1e12 else (1e9, "G")
    return f"{value / unit:.3g} {letter}FLOP/s"
