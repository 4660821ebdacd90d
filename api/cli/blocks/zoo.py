"""`brainformer zoo`: the named genomes of the literature."""

from __future__ import annotations

from typing import Annotated

import typer

from brainformer.api.cli.blocks import genome as genomes
from brainformer.api.cli.blocks.options import ProxyName, SpaceName
from brainformer.api.cli.terminal.completion import zoo_names
from brainformer.api.cli.terminal.group import Group
from brainformer.api.cli.terminal.options import AsJson
from brainformer.api.cli.terminal.output import print_json, stdout, table

app = typer.Typer(cls=Group, no_args_is_help=True, help="The named genomes of the literature.")


@app.command("list")
def list_zoo(space: SpaceName = "nano", proxy: ProxyName = None, as_json: AsJson = False) -> None:
    """List the zoo, moved to a space, with what each block costs there."""
    from brainformer.api.cli.blocks.given import proxy_given, space_given
    from brainformer.api.cli.blocks.words import short
    from brainformer.search.space import zoo

    home, under = space_given(space), proxy_given(proxy, space)
    found = [(name, zoo.zoo_genome(name, home)) for name in zoo.zoo_names()]
    if as_json:
        listed = [
            {"name": name, "genome": one.canonical(), "costs": genomes.costs_of(one, under)}
            for name, one in found
        ]
        print_json(listed)
        return
    rows = []
    for name, one in found:
        costs = genomes.costs_of(one, under)
        figures = ("activated_parameters", "flops_per_token")
        rows.append((name, str(len(one.layers)), *(short(costs[figure]) for figure in figures)))
    stdout().print(table(("name", "sub-layers>", "activated>", "FLOPs a token>"), rows))


@app.command()
def show(
    name: Annotated[
        str, typer.Argument(metavar="NAME", autocompletion=zoo_names, show_default=False)
    ],
    space: SpaceName = "nano",
    as_json: AsJson = False,
) -> None:
    """Show a zoo genome, moved to a space."""
    from brainformer.api.cli.blocks.given import space_given
    from brainformer.search.space.zoo import zoo_genome

    zoo_genome(name, space_given(space))  # a file of that name is not meant
    genomes.show(name, space, as_json)
