"""A group of commands whose help comes at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typer.core import TyperGroup
from typing_extensions import override

if TYPE_CHECKING:
    from typer._click.core import Context, Parameter


class Group(TyperGroup):
    """Takes a flag that nobody gave for false.

    Typer takes it for unknown, and imports pydantic (a quarter of the time of every `--help`) to
    turn an unknown flag into an unknown flag.
    """

    @override
    def get_params(self, ctx: Context) -> list[Parameter]:
        params = super().get_params(ctx)
        for param in params:
            if getattr(param, "is_flag", False) and param.default is None:
                param.default = False
        return params
