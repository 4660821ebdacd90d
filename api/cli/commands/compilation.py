"""`brainformer compile`: a block's training step, compiled for devices that need not be there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from brainformer.api.cli.terminal.exit_codes import ERROR
from brainformer.api.cli.terminal.options import (
    URL,
    AsJson,
    Token,
    Url,
    connect,
)
from brainformer.api.cli.terminal.output import (
    print_json,
    say,
    stdout,
    table,
)
from brainformer.api.cli.terminal.worker_packages import require_worker_packages
from brainformer.search.errors import InvalidMesh

if TYPE_CHECKING:
    from brainformer.search.proxy.mesh import MeshAxes
    from brainformer.search.proxy.proxy import Proxy
    from brainformer.search.space.genome import Genome

AXIS = re.compile(r"(data|expert|model)=([0-9]{1,6})")


def compile_step(
    genome: Annotated[
        str,
        typer.Argument(
            metavar="GENOME|SEARCH",
            help="A zoo name, a file with a genome or an export, or a search's id or name.",
            show_default=False,
        ),
    ],
    target: Annotated[
        str,
        typer.Option(
            help="tpu-GENERATION-CHIPS with v5e, v5p or v6e and 1 to 256 chips; or gpu-COUNT, "
            "for GPUs of this machine.",
            show_default=False,
        ),
    ],
    preset: Annotated[
        str, typer.Option(help="The scale of a zoo genome, and the proxy of one without its own.")
    ] = "brainformer-100m32e",
    trial: Annotated[
        int | None,
        typer.Option(help="Of the search; without it, the best.", show_default=False),
    ] = None,
    mesh: Annotated[
        str | None,
        typer.Option(
            help="Devices along each axis, as data=2,expert=4; without it, by the rule.",
            show_default=False,
        ),
    ] = None,
    remat: Annotated[
        bool | None,
        typer.Option(
            "--remat/--no-remat",
            help="Whether blocks are computed again in the backward pass; without it, only where "
            "the step does not fit otherwise, as in trials.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
    url: Url = URL,
    token: Token = None,
) -> None:
    """Compile a block's training step for TPUs, without a TPU: does it fit, and what bounds it.

    Nothing runs: figures are the compiler's account and bounds, not measurements. The exit code is
    1 if the step does not fit.
    """
    require_worker_packages("jax", "flax")
    from brainformer.search.cost.mesh_rule import choose_mesh
    from brainformer.worker.targets.ahead_of_time import CompileRequest
    from brainformer.worker.targets.hardware import parse_target
    from brainformer.worker.targets.verdict import compile_and_judge

    slice_ = parse_target(target)
    wanted = None if mesh is None else parse_mesh(mesh)
    block, proxy = _block(genome, preset, trial, url, token)
    axes = choose_mesh(block, proxy if wanted is None else on_mesh(proxy, wanted), slice_.chips)
    say(f"compiling for {slice_.name} on the mesh {axes}; this takes a minute or two")
    always = True if remat is None and proxy.remat == "always" else remat
    request = CompileRequest(genome=block, proxy=proxy, target=slice_.name, mesh=axes)
    verdicts = compile_and_judge(request, remat=always)
    last = verdicts[-1]
    if as_json:
        print_json(last.plain())
    else:
        stdout().print(table(("", ""), _rows(last.plain())))
    if len(verdicts) > 1:
        say("the step does not fit unless blocks are computed again in the backward pass")
    if not last.fits:
        say(f"the step does not fit on {slice_.name}: choose more chips or a smaller batch_size")
        raise typer.Exit(ERROR)


def parse_mesh(text: str) -> MeshAxes:
    """Returns the mesh that "data=2,expert=4" names; an axis that is not named has size 1.

    Raises:
        InvalidMesh: it is written otherwise, or names an axis twice or a size of 0.
    """
    from brainformer.search.proxy.mesh import MeshAxes

    parts = [AXIS.fullmatch(part.strip()) for part in text.split(",")]
    sizes = {part[1]: int(part[2]) for part in parts if part is not None}
    if None in parts or len(sizes) < len(parts) or not all(1 <= n <= 4096 for n in sizes.values()):
        rule = "a mesh is written data=2,expert=4,model=1, each axis at most once, from 1 to 4096"
        raise InvalidMesh(rule, text)
    return MeshAxes(**sizes)


def on_mesh(proxy: Proxy, mesh: MeshAxes) -> Proxy:
    """Returns the proxy with that mesh.

    Raises:
        InvalidMesh: it does not divide the proxy's rows or experts.
    """
    from pydantic import ValidationError

    from brainformer.search.proxy.proxy import Proxy
    from brainformer.search.validation import first_problem

    try:
        return Proxy.model_validate(proxy.model_dump() | {"mesh": mesh.model_dump()})
    except ValidationError as error:
        raise InvalidMesh(first_problem(error).rule) from None


def _block(
    named: str, preset: str, trial: int | None, url: str, token: str | None
) -> tuple[Genome, Proxy]:
    """Returns the genome and its proxy: of a file, of the zoo, or of a search."""
    from brainformer.api.cli.blocks.given import export_given, genome_given
    from brainformer.api.cli.searches.export import fetch_export
    from brainformer.search.proxy.builtin_proxies import load_proxy
    from brainformer.search.space.space import load_preset
    from brainformer.search.space.zoo import ZOO

    path = Path(named)
    if named in ZOO or path.is_file():
        export = export_given(path)
    else:
        export = fetch_export(connect(url, token), named, trial)
    if export is None:
        return genome_given(named, load_preset(preset)), load_proxy(preset)
    return export.genome, export.proxy


def _estimated(found: dict[str, Any]) -> str:
    wanted, expected = found["estimate_gib"], found["expected_gib"]
    if wanted == expected:
        return f"{wanted} GiB"
    return f"{wanted} GiB wanted, more than a device has: the compiler computes again what it can"


def _rows(found: dict[str, Any]) -> list[tuple[str, str]]:
    """Returns the lines of the table."""
    moved = [
        f"{kind} x {one['count']}, {one['megabytes']:,.1f} MB"
        for kind, one in found["collectives"].items()
    ]
    axes = " x ".join(f"{name} {size}" for name, size in found["mesh"].items())
    limit = found["device_memory_gib"]
    of = "" if limit is None else f" of {limit:g} GiB"
    rows = [
        ("target", f"{found['target']} (compiled, not run)"),
        ("mesh", axes),
        ("fits", "yes" if found["fits"] else "NO"),
        ("memory per device", f"{found['memory_gib']} GiB{of}"),
        ("estimated", _estimated(found)),
        ("blocks computed again", "yes" if found["remat"] else "no"),
    ]
    if found["bound_ms"] is None:
        return rows
    useful = found["useful_teraflops"]
    return [
        *rows,
        ("FLOPs per device", f"{found['teraflops']} T, of which useful {useful} T"),
        ("bytes accessed", f"{found['hbm_gigabytes']} GB"),
        ("collectives", "; ".join(moved) or "none"),
        ("bound, not measured", f"{found['bound_ms']} ms a step, by {found['bound_by']}"),
        ("compiled in", f"{found['compile_seconds']} s"),
    ]
