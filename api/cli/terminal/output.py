"""Where the command line writes: data to stdout, progress and errors to stderr."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table

from brainformer.search.errors import EnvironmentProblem

WIDEST = 10_000  # columns of a table that is not on a terminal


def stdout() -> Console:
    """Returns a console on stdout; rich honours NO_COLOR and notices pipes by itself."""
    return _console(sys.stdout)


def stderr() -> Console:
    """Returns a console on stderr."""
    return _console(sys.stderr)


def _console(file: TextIO) -> Console:
    """Returns a console; off a terminal nothing is wrapped or cut, whatever its length."""
    if file.isatty():
        return Console(file=file, highlight=False)
    return Console(file=file, highlight=False, soft_wrap=True, width=WIDEST)


def print_json(data: Any) -> None:
    """Writes `data` as one line of JSON to stdout."""
    sys.stdout.write(json.dumps(data) + "\n")


def say(message: str) -> None:
    """Writes one line of progress to stderr."""
    stderr().print(message, markup=False)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, title: str = "") -> Table:
    """Returns a plain table; columns whose name ends in ">" are right-aligned."""
    grid = Table(title=title or None, box=None, pad_edge=False, title_justify="left")
    for column in columns:
        right = column.endswith(">")
        grid.add_column(column.rstrip(">"), justify="right" if right else "left", no_wrap=True)
    for row in rows:
        grid.add_row(*row)
    return grid


def number(value: float | None, digits: int = 3) -> str:
    """Returns a figure for a table, or a dash where there is none."""
    return "-" if value is None else f"{value:,.{digits}f}"


def write_atomically(path: Path, text: str) -> None:
    """Writes a file whole or not at all.

    Raises:
        EnvironmentProblem: the folder is missing or not writable.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        why = error.strerror or str(error)
        raise EnvironmentProblem(
            f"cannot write {path}: {why}", "choose another place with --output"
        ) from None
