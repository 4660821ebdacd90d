"""`brainformer genome`: show, check, cost, compare and draw genomes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from brainformer.api.cli.blocks.options import ProxyName, Source, SpaceName
from brainformer.api.cli.terminal.exit_codes import USAGE
from brainformer.api.cli.terminal.group import Group
from brainformer.api.cli.terminal.options import AsJson
from brainformer.api.cli.terminal.output import print_json, say, stdout, table
from brainformer.search.counted import counted

if TYPE_CHECKING:
    from brainformer.search.proxy.proxy import Proxy
    from brainformer.search.space.genome import Genome

app = typer.Typer(cls=Group, no_args_is_help=True, help="Look at genomes, check and compare them.")


@app.command()
def show(source: Source, space: SpaceName = "nano", as_json: AsJson = False) -> None:
    """Show a genome: its sub-layers in order, and its digest."""
    from brainformer.api.cli.blocks.given import genome_given, space_given
    from brainformer.api.cli.blocks.words import KINDS, fields_of

    genome = genome_given(source, space_given(space))
    if as_json:
        print_json({"digest": genome.digest, "genome": genome.canonical()})
        return
    rows = [
        (str(place), KINDS[layer.kind], fields_of(layer))
        for place, layer in enumerate(genome.layers)
    ]
    say(f"model dim {genome.model_dim}, digest {genome.digest}")
    stdout().print(table(("#>", "kind", "fields"), rows))


@app.command()
def validate(
    source: Source,
    space: Annotated[
        str | None,
        typer.Option(
            "--space",
            help="A built-in space or a file that the genomes must lie in.",
            show_default=False,
        ),
    ] = None,
    proxy: Annotated[
        str | None,
        typer.Option(help="A built-in proxy that must train them.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check every genome of a file; the exit code is 2 if one breaks a rule."""
    from brainformer.api.cli.blocks.given import genomes_given, space_given

    home = space_given(space or "nano")
    found = [
        {"where": one.where, "digest": one.genome.digest, "error": error}
        for one in genomes_given(source, home)
        for error in [_objection(one.genome, space, proxy)]
    ]
    broken = [one for one in found if one["error"]]
    if as_json:
        print_json(found)
    for one in broken:
        say(f"error: {one['where']}: {one['error']}")
    if broken:
        raise typer.Exit(USAGE)
    if not as_json:
        say(f"{counted(len(found), 'genome')}, each keeps every rule")


def _objection(genome: Genome, space: str | None, proxy: str | None) -> str | None:
    """Returns why a space or a proxy refuses a genome; None if neither does."""
    from brainformer.api.cli.blocks.given import space_given
    from brainformer.search.cost.trainable import check_trainable
    from brainformer.search.errors import InvalidGenome
    from brainformer.search.proxy.builtin_proxies import load_proxy

    if space is not None:
        why = space_given(space).objection(genome)
        if why is not None:
            return f"it lies outside the space: {why}"
    try:
        if proxy is not None:
            check_trainable(genome, load_proxy(proxy))
    except InvalidGenome as error:
        return error.message
    return None


@app.command()
def cost(
    source: Source, space: SpaceName = "nano", proxy: ProxyName = None, as_json: AsJson = False
) -> None:
    """Tell parameters, FLOPs and memory of a genome under a proxy, whole and by sub-layer."""
    from brainformer.api.cli.blocks.given import genome_given, proxy_given, space_given
    from brainformer.api.cli.blocks.words import KINDS, fields_of, short

    genome, under = genome_given(source, space_given(space)), proxy_given(proxy, space)
    found = costs_of(genome, under)
    if as_json:
        print_json(found)
        return
    rows = [
        (
            str(place),
            KINDS[layer.kind],
            fields_of(layer),
            *(short(one[name]) for name in ("parameters", "activated_parameters", "forward_flops")),
        )
        for place, (layer, one) in enumerate(zip(genome.layers, found["layers"], strict=True))
    ]
    columns = ("#>", "kind", "fields", "parameters>", "activated>", "forward FLOPs a token>")
    stdout().print(table(columns, rows))
    say(
        f"{found['parameters']:,} parameters, {found['activated_parameters']:,} activated; "
        f"{short(found['flops_per_token'])}FLOP a token of training; "
        f"{found['memory_bytes'] / 2**20:,.1f} MiB at the peak of a step"
    )


def costs_of(genome: Genome, proxy: Proxy) -> dict[str, Any]:
    """Returns what a genome costs: the figures of POST /genomes/facts, and each sub-layer's."""
    from brainformer.search.cost import cost as costs

    return {
        "digest": genome.digest,
        "parameters": costs.parameters(genome, proxy),
        "activated_parameters": costs.activated_parameters(genome, proxy),
        "flops_per_token": costs.flops_per_token(genome, proxy),
        "memory_bytes": costs.memory_bytes(genome, proxy),
        "layers": [
            {
                "parameters": one.parameters,
                "activated_parameters": one.activated,
                "forward_flops": one.forward_flops,
            }
            for one in costs.layer_costs(genome, proxy)
        ],
    }


@app.command()
def diff(
    source: Source,
    other: Annotated[str, typer.Argument(metavar="OTHER", help="The same.", show_default=False)],
    space: SpaceName = "nano",
    as_json: AsJson = False,
) -> None:
    """Tell what turns one genome into another; sub-layers are aligned first."""
    from brainformer.api.cli.blocks.given import genome_given, space_given
    from brainformer.search.space.difference import difference

    home = space_given(space)
    changes = difference(genome_given(source, home), genome_given(other, home))
    if as_json:
        print_json([change.model_dump(mode="json") for change in changes])
    elif not changes:
        say("the same genome")
    else:
        rows = [(one.op, one.path, _plain(one.before), _plain(one.after)) for one in changes]
        stdout().print(table(("", "where", "before", "after"), rows))


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        told = [f"{name}={part}" for name, part in value.items() if name != "kind"]
        return " ".join([str(value.get("kind", "")), *told])
    return "-" if value is None else str(value)


@app.command()
def draw(source: Source, space: SpaceName = "nano", proxy: ProxyName = None) -> None:
    """Draw a block: sub-layers along the residual stream, bars by their share of the FLOPs."""
    from brainformer.api.cli.blocks.drawing import drawn
    from brainformer.api.cli.blocks.given import genome_given, proxy_given, space_given

    genome = genome_given(source, space_given(space))
    encoding = (sys.stdout.encoding or "ascii").lower()
    picture = drawn(genome, proxy_given(proxy, space), plain=not encoding.startswith("utf"))
    sys.stdout.write(picture)
