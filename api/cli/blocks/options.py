"""Options and arguments that the commands on blocks share."""

from __future__ import annotations

from typing import Annotated

import typer

from brainformer.api.cli.terminal.completion import space_names, zoo_names

Source = Annotated[
    str,
    typer.Argument(
        metavar="GENOME",
        help="A zoo name, a file that holds a genome (an exported block, a trial), or - for "
        "standard input.",
        autocompletion=zoo_names,
        show_default=False,
    ),
]
SpaceName = Annotated[
    str,
    typer.Option(
        "--space",
        help="A built-in space or a file; zoo genomes are moved to it.",
        autocompletion=space_names,
    ),
]
ProxyName = Annotated[
    str | None,
    typer.Option(
        "--proxy",
        help="A built-in proxy: depth, experts, head dim and batch that costs depend on. By "
        "default the space's.",
        show_default=False,
    ),
]
