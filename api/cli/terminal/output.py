"""Where the command line writes: data to stdout, progress and errors to stderr."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from brainformer.api.cli.terminal.plain_text import visible
from brainformer.search.errors import EnvironmentProblem

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

UNCUT_COLUMNS = 100_000  # where there is no terminal, no table is too wide


def stdout() -> Console:
    """Returns a console on stdout; rich honours NO_COLOR and notices pipes by itself."""
    return _console(sys.stdout)


def stderr() -> Console:
    """Returns a console on stderr."""
    return _console(sys.stderr)


def _console(file: TextIO) -> Console:
    """Returns a console that takes nobody's text for markup, emoji codes or something to colour.

    Off a terminal it cuts and wraps nothing.
    """
    from rich.console import Console

    wide = None if file.isatty() else UNCUT_COLUMNS
    return Console(
        file=file,
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=wide is not None,
        width=wide,
    )


def print_json(data: Any) -> None:
    """Writes `data` as one line of JSON to stdout."""
    sys.stdout.write(json.dumps(data) + "\n")


def print_line(text: str) -> None:
    """Writes one line of data to stdout, however long it is."""
    stdout().print(visible(text), soft_wrap=True)


def print_raw(text: str) -> None:
    """Writes a document to stdout as it is: neither wrapped nor encoded as the terminal likes."""
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode("utf-8"))
    sys.stdout.buffer.flush()


def say(message: str) -> None:
    """Writes one line of progress to stderr."""
    stderr().print(visible(message), soft_wrap=True)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, title: str = "") -> Table:
    """Returns a plain table; columns whose name ends in ">" are right-aligned.

    On a terminal what does not fit goes on below, in its own column; elsewhere lines are as long as
    they need to be.
    """
    from rich.table import Table
    from rich.text import Text

    grid = Table(title=title or None, box=None, pad_edge=False, title_justify="left")
    for column in columns:
        right = column.endswith(">")
        grid.add_column(column.rstrip(">"), justify="right" if right else "left", overflow="fold")
    for row in rows:
        grid.add_row(*(Text(visible(cell)) for cell in row))
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
