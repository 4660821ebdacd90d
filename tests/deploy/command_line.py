"""Whether arguments that a file in deploy/ passes are known to `brainformer`."""

from __future__ import annotations

from collections.abc import Sequence

import typer.main

from brainformer.api.cli.main import app


def assert_known(words: Sequence[str]) -> None:
    """Fails unless the command exists and has all of the options, with or without their values."""
    command = typer.main.get_command(app)
    rest = list(words)
    while hasattr(command, "commands"):
        name = rest.pop(0)
        assert name in command.commands, f"brainformer has no command {name}"
        command = command.commands[name]
    known = {option for each in command.params for option in (*each.opts, *each.secondary_opts)}
    said = {word.partition("=")[0] for word in rest if word.startswith("--")}
    assert said <= known, f"unknown options: {sorted(said - known)}"
