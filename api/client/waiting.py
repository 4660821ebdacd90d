"""How a wait tells where a search stands: a bar on a terminal, or a caller's function."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.progress import (
    Progress as Bar,
)

from brainformer.api.cli.terminal.output import number, stderr
from brainformer.search.store.records import SearchRecord
from brainformer.search.trials.trial import TrialStatus

Progress = Callable[[SearchRecord], object]


@contextmanager
def telling(progress: Progress | bool) -> Iterator[Progress]:
    """Yields what is to be told of every change: a bar's, the caller's own, or nothing's."""
    if progress is True:
        with _bar() as told:
            yield told
    elif progress is False:
        yield lambda _record: None
    else:
        yield progress


@contextmanager
def _bar() -> Iterator[Progress]:
    """Yields what moves a bar on stderr; off a terminal it is drawn once, at the end."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[standing]}"),
    )
    with Bar(*columns, console=stderr()) as bar:
        task = bar.add_task("search", total=None, standing="")

        def told(record: SearchRecord) -> None:
            bar.update(
                task,
                description=record.name,
                total=record.spec.limits.trials,
                completed=record.candidates_finished,
                standing=standing(record),
            )

        yield told


def standing(record: SearchRecord) -> str:
    """Returns in a few words where a search stands: status, running trials, best fitness."""
    running = record.counts.get(TrialStatus.RUNNING, 0)
    best = record.best_fitness
    told = "no candidate yet" if best is None else f"best {number(best, 4)}"
    if record.best_repeats and record.best_deviation is not None:
        told += f" ± {number(record.best_deviation, 4)}"
    return f"{record.status}, {running} running, {told}"
