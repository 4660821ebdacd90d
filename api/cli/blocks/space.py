"""`brainformer space`: show, check and count search spaces."""

from __future__ import annotations

from typing import Annotated

import typer

from brainformer.api.cli.terminal.completion import space_names
from brainformer.api.cli.terminal.group import Group
from brainformer.api.cli.terminal.options import AsJson
from brainformer.api.cli.terminal.output import print_json, say, stdout, table

app = typer.Typer(cls=Group, no_args_is_help=True, help="Look at search spaces and check your own.")
Named = Annotated[
    str,
    typer.Argument(
        metavar="SPACE",
        help="A built-in space's name or a file.",
        autocompletion=space_names,
        show_default=False,
    ),
]


@app.command("list")
def list_spaces(as_json: AsJson = False) -> None:
    """List the built-in spaces, and the proxies that are named after them."""
    from brainformer.search.proxy.builtin_proxies import UNTUNED, load_proxy
    from brainformer.search.space.space import load_preset, preset_names

    found = [(name, load_preset(name)) for name in preset_names()]
    if as_json:
        print_json([space.model_dump(mode="json") for _, space in found])
        return
    rows = [
        (
            name,
            f"{space.min_layers} to {space.max_layers}",
            f"{space.size():.3g}",
            f"{load_proxy(name).budget_seconds:g} s",
            "chosen, not tuned" if name in UNTUNED else "tuned",
        )
        for name, space in found
    ]
    stdout().print(table(("name", "sub-layers", "genomes>", "trial>", "learning rate"), rows))


@app.command()
def show(space: Named, as_json: AsJson = False) -> None:
    """Show the choices of a space, field by field."""
    from brainformer.api.cli.blocks.given import space_given

    found = space_given(space)
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    rows = [
        ("model_dim", _listed(found.model_dim)),
        ("sub-layers", f"{found.min_layers} to {found.max_layers}"),
    ]
    rows += [
        (f"{kind}.{name}", _listed(choices))
        for kind, fields in found.layers.items()
        for name, choices in fields.items()
    ]
    stdout().print(table(("field", "choices"), rows))


@app.command()
def validate(space: Named, as_json: AsJson = False) -> None:
    """Check a space; the exit code is 2 if it breaks a rule."""
    from brainformer.api.cli.blocks.given import space_given

    found = space_given(space)
    if as_json:
        print_json({"name": found.name, "genomes": found.size(), "valid": True})
    else:
        say(f"the space {found.name} keeps every rule: {found.size():.3g} genomes")


@app.command()
def size(space: Named, as_json: AsJson = False) -> None:
    """Count the distinct genomes of a space."""
    from brainformer.api.cli.blocks.given import space_given

    found = space_given(space)
    if as_json:
        print_json({"name": found.name, "genomes": found.size()})
    else:
        stdout().print(str(found.size()), markup=False)


def _listed(choices: tuple[object, ...]) -> str:
    return ", ".join(str(choice) for choice in choices)
