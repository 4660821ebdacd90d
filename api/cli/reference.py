"""The command line's reference, generated from the commands themselves: docs/cli.md."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import fill
from typing import Any

import typer

COLUMNS = 100
HEADER = """# Command line

Generated from the commands by `make snapshots`. Data goes to stdout, progress and errors to stderr;
NO_COLOR is honoured. `--url` and `--token` can also come from BRAINFORMER_URL and
BRAINFORMER_TOKEN.

| exit code | meaning |
| --- | --- |
| 0 | done |
| 1 | an error; one sentence on stderr says which |
| 2 | wrong usage or invalid input |
| 3 | not found |
| 4 | the token is missing, wrong, or lacks the scope |
| 5 | conflict with the current state |
| 6 | the search failed |
| 130 | interrupted |
"""


def reference(app: typer.Typer) -> str:
    """Returns the reference of every command as Markdown."""
    root = typer.main.get_command(app)
    parts = [HEADER]
    parts += [_section(path, command) for path, command in _commands(root, "brainformer")]
    return "\n".join(parts)


def _commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    children = getattr(command, "commands", {})
    if not children:
        yield path, command
    for name, child in children.items():
        yield from _commands(child, f"{path} {name}")


def _section(path: str, command: Any) -> str:
    lines = [f"## {path}", "", command.help or "", ""]
    for parameter in command.params:
        if parameter.name == "help" or getattr(parameter, "hidden", False):
            continue
        line = f"- `{_spelling(parameter)}`{_meaning(parameter)}"
        lines.append(fill(line, COLUMNS, subsequent_indent="  ", break_on_hyphens=False))
    if command.epilog:
        lines += ["", f"`{command.epilog.removeprefix('Example: ')}`"]
    return "\n".join(lines) + "\n"


def _spelling(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return str(parameter.make_metavar(None) if _wants_context(parameter) else parameter.name)
    return ", ".join(parameter.opts)


def _wants_context(parameter: Any) -> bool:
    return hasattr(parameter, "make_metavar")


def _meaning(parameter: Any) -> str:
    words = str(getattr(parameter, "help", None) or "").strip()
    default = parameter.default
    shown = default is not None and default is not False and not callable(default)
    tail = f" Default: `{default}`." if shown and str(default) else ""
    return f": {words}{tail}" if words or tail else ""
