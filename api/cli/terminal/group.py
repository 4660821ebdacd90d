"""A group of commands whose help comes at once, and that tells in words what an option takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup
from typing_extensions import override

if TYPE_CHECKING:
    from typer._click.core import Context, Parameter


class Group(TyperGroup):
    """Takes a flag that nobody gave for false, and words what typer leaves to pydantic.

    Typer takes such a flag for unknown, and imports pydantic (a quarter of the time of every
    `--help`) to turn an unknown flag into an unknown flag.
    """

    @override
    def invoke(self, ctx: Context) -> Any:
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = _in_words(error)
            raise

    @override
    def get_params(self, ctx: Context) -> list[Parameter]:
        params = super().get_params(ctx)
        for param in params:
            if getattr(param, "is_flag", False) and param.default is None:
                param.default = False
        return params


def _in_words(error: typer.BadParameter) -> str:
    """Returns what an option takes: typer passes pydantic's words on."""
    told = getattr(error.__cause__, "errors", None)
    if told is None:
        return error.message
    from brainformer.search.rules import rule_of

    first = told()[0]
    if first["type"] == "value_error":  # it quotes what was typed, made harmless by typer
        return error.message.removeprefix("Value error, ")
    return rule_of(first)
