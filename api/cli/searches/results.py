"""`brainformer best`, `report` and `trial`: what a search has found."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from brainformer.api.cli.searches.best import fitness_of
from brainformer.api.cli.terminal.address import search_path
from brainformer.api.cli.terminal.group import Group
from brainformer.api.cli.terminal.options import (
    URL,
    AsJson,
    SearchName,
    Token,
    TokenFile,
    Url,
    connect,
)
from brainformer.api.cli.terminal.output import (
    number,
    print_json,
    say,
    stdout,
    table,
    write_atomically,
)
from brainformer.api.report.certainty import verdict_sentence

app = typer.Typer(
    cls=Group, no_args_is_help=True, help="Look at the trials of a search, and repeat one."
)
TrialNumber = Annotated[int, typer.Argument(metavar="NUMBER", min=0, show_default=False)]
FIGURES = (
    ("validation loss", "validation_loss", 4),
    ("bits per byte", "bits_per_byte", 4),
    ("step time, ms", "step_time_ms", 2),
    ("steps", "steps", 0),
    ("tokens", "tokens", 0),
    ("training, s", "training_seconds", 1),
)


def best(
    search: SearchName,
    url: Url = URL,
    token: Token = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Show the best block of a search, and what fresh runs say of it."""
    client = connect(url, token, token_file)
    found = client.get(f"/searches/{search_path(search)}/best")
    if as_json:
        print_json(found)
        return
    number_of_best = found["trial"]["number"]
    whole = client.get(f"/searches/{found['trial']['search_id']}/trials/{number_of_best}")
    say(f"trial {number_of_best} {verdict_sentence(found)}")
    value = found["mean_fitness"] if found["repeats"] else whole["fitness"]
    _show_trial(whole, fitness=fitness_of(value, found["deviation"], found["repeats"]))


def report(
    search: SearchName,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The file; stdout without it.", show_default=False),
    ] = None,
    url: Url = URL,
    token: Token = None,
    token_file: TokenFile = None,
) -> None:
    """Write the report of a search: one HTML file that stands alone."""
    page = connect(url, token, token_file).text(f"/searches/{search_path(search)}/report")
    if output is None:
        sys.stdout.write(page)
        return
    write_atomically(output, page)
    say(f"wrote the report to {output}")


@app.command("list")
def list_trials(
    search: SearchName,
    status: Annotated[
        str | None, typer.Option(help="Only these: completed, failed ...", show_default=False)
    ] = None,
    sort: Annotated[
        str, typer.Option(help="number, fitness, step_time_ms, parameters; -fitness descends.")
    ] = "number",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at most.")] = 100,
    url: Url = URL,
    token: Token = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """List the trials of a search."""
    found = connect(url, token, token_file).get(
        f"/searches/{search_path(search)}/trials", status=status, sort=sort, limit=limit
    )
    if as_json:
        print_json(found["items"])
        return
    rows = [
        (
            str(one["number"]),
            one["kind"],
            one["status"],
            number(one["fitness"], 4),
            number(one["measurements"].get("validation_loss"), 4),
            number(one["measurements"].get("step_time_ms"), 1),
            one["origin"],
        )
        for one in found["items"]
    ]
    names = ("trial>", "kind", "status", "fitness>", "loss>", "step ms>", "origin")
    stdout().print(table(names, rows))
    if found.get("next_cursor"):
        say(f"the first {len(rows)}; more with --limit")


@app.command()
def show(
    search: SearchName,
    trial: TrialNumber,
    url: Url = URL,
    token: Token = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Show a trial: how it ended, its figures, its block and what differs from its parent."""
    found = connect(url, token, token_file).get(f"/searches/{search_path(search)}/trials/{trial}")
    if as_json:
        print_json(found)
    else:
        _show_trial(found)


@app.command()
def repeat(
    search: SearchName,
    trial: TrialNumber,
    url: Url = URL,
    token: Token = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Run a candidate's block once more, with a fresh seed, on the pool that it ran on.

    It shows how much the block's figures vary, and counts neither for the race among finalists nor
    for the best.
    """
    path = f"/searches/{search_path(search)}/trials/{trial}/repeats"
    made = connect(url, token, token_file).post(path)
    if as_json:
        print_json(made)
        return
    say(
        f"trial {made['number']} runs the block of trial {trial} once more on {made['pool']}; see "
        f"it with 'brainformer trial show {search} {made['number']}'"
    )


def _show_trial(trial: dict[str, Any], *, fitness: str | None = None) -> None:
    """Writes a trial; `fitness` is what fresh runs of the best say, beside the run shown here."""
    from brainformer.api.cli.blocks.words import KINDS, fields_of
    from brainformer.search.space.genome import parse_genome

    genome, measured = parse_genome(trial["genome"]), trial["measurements"]
    why = f": {trial['message']}" if trial["message"] else ""
    rows = [
        ("trial", f"{trial['number']}, {trial['kind']}, {trial['origin'] or '-'}"),
        ("status", f"{trial['status']}{why}"),
        ("pool", trial["pool"] or "-"),
        *([] if fitness is None else [("best fitness", fitness)]),
        ("fitness" if fitness is None else "this run's fitness", number(trial["fitness"], 4)),
        *((words, number(measured.get(name), digits)) for words, name, digits in FIGURES),
        ("parameters", number(trial["parameters"], 0)),
        ("activated", number(trial["activated_parameters"], 0)),
        *_routing(measured),
        ("contention", _contention(measured)),
        ("same tokens", _same_tokens(trial.get("equal_tokens"))),
        ("mesh", _axes(measured.get("mesh"), measured.get("hosts"))),
        ("digest", trial["digest"]),
        ("model dim", str(genome.model_dim)),
    ]
    rows += [(KINDS[layer.kind], fields_of(layer)) for layer in genome.layers]
    if trial["parent_number"] is not None:
        how = f", {trial['mutation']}" if trial["mutation"] else ""
        rows.append(("parent", f"trial {trial['parent_number']}{how}"))
    for one in trial.get("changes", ()):
        rows.append((one["op"], f"{one['path']}: {one['before']} -> {one['after']}"))
    stdout().print(table(("", ""), rows))


def _routing(measured: dict[str, Any]) -> list[tuple[str, str]]:
    """Returns what the experts did in evaluation, of a block that has some."""
    if measured.get("routing_gap") is None:
        return []
    experts, drops = measured["evaluation_experts"], measured["evaluation_drop_fraction"]
    return [
        ("experts a token", f"{experts:.2f} in evaluation, {drops:.1%} dropped"),
        ("routing gap", f"{measured['routing_gap']:+.4f} nats a token, evaluation over training"),
    ]


def _contention(measured: dict[str, Any]) -> str:
    """Returns how busy the machine was, flagged where that costs trust in the figures."""
    from brainformer.search.trials.trial import CONTENDED

    contention, lost = measured.get("contention"), measured.get("calibration_lost_steps")
    if contention is None:
        return "-"
    if contention <= CONTENDED:
        return f"{contention:.2f}x"
    return f"{contention:.2f}x, a busy machine{_lost(lost, measured['steps'])}"


def _lost(lost: int | None, steps: int) -> str:
    """Returns by how much calibration on a busy machine missed a quiet machine's steps."""
    if lost is None:
        return ""
    if lost < 0:
        return f"; {steps} steps, a quiet machine would have made {steps + lost}"
    return f"; calibration lost {lost} of {lost + steps} steps"


def _same_tokens(found: dict[str, Any] | None) -> str:
    """Returns the losses of a trial and of its rival after the same number of tokens."""
    if found is None:
        return "-"
    own, rival = found["loss"], found["rival_loss"]
    return f"{own:.4f} against the baseline's {rival:.4f} after {found['tokens']:,} tokens"


def _axes(mesh: dict[str, int] | None, hosts: int | None) -> str:
    """Returns the devices along each axis of the mesh that a trial ran on, and their hosts."""
    if mesh is None:
        return "-"
    axes = " x ".join(f"{name} {size}" for name, size in mesh.items())
    return f"{axes}, {hosts} hosts" if (hosts or 1) > 1 else axes
