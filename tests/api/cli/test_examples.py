"""Every command has an example, and every example is one that the command reads."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from brainformer.api.cli.examples import EXAMPLES
from brainformer.api.cli.main import app

# What runs on, writes files or prints a picture has no JSON to write.
WITHOUT_JSON = {
    "serve",
    "worker",
    "demo",
    "export",
    "report",
    "open",
    "genome draw",
    "db backup",
    "db restore",
}


def commands(command: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    children = getattr(command, "commands", None)
    if not children:
        yield path, command
        return
    for name, child in children.items():
        yield from commands(child, f"{path} {name}".strip())


COMMANDS = dict(commands(typer.main.get_command(app)))


def test_every_command_has_an_example() -> None:
    assert set(EXAMPLES) == set(COMMANDS)


@pytest.mark.parametrize("path", EXAMPLES)
def test_the_command_reads_its_example(path: str) -> None:
    command, words = COMMANDS[path], shlex.split(EXAMPLES[path])
    start = ["brainformer", *path.split()]
    assert words[: len(start)] == start
    command.make_context(path, words[len(start) :])  # raises for what it does not know
    assert command.epilog == f"Example: {EXAMPLES[path]}"


def test_every_command_that_tells_something_tells_it_as_json() -> None:
    options = {
        path: {name for parameter in command.params for name in parameter.opts}
        for path, command in COMMANDS.items()
    }
    assert {path for path, names in options.items() if "--json" not in names} == WITHOUT_JSON
