"""`brainformer train`: a model of a block, trained for as long as its user likes."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from brainformer.api.cli.terminal.exit_codes import INTERRUPTED, OK
from brainformer.api.cli.terminal.options import DataFolder
from brainformer.api.cli.terminal.output import print_json, say
from brainformer.api.cli.terminal.worker_packages import require_worker_packages
from brainformer.search.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from brainformer.worker.pretraining.pretraining import Ending
    from brainformer.worker.pretraining.progress import Observer
    from brainformer.worker.pretraining.run_folder import RunFolder
    from brainformer.worker.pretraining.session import Block


class Schedule(StrEnum):
    """How the learning rate goes."""

    WSD = "wsd"
    COSINE = "cosine"
    CONSTANT = "constant"


class Tracking(StrEnum):
    """Services that show curves."""

    TENSORBOARD = "tensorboard"
    WANDB = "wandb"
    MLFLOW = "mlflow"


class Precision(StrEnum):
    """Of matrix products."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


def _option(text: str, **more: Any) -> Any:
    return typer.Option(help=text, show_default=False, **more)


def train(
    source: Annotated[
        str,
        typer.Argument(
            metavar="EXPORT|GENOME|CHECKPOINT",
            help="An exported folder or genome file, a zoo name, or a run or one of its "
            "checkpoints.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="The new run's folder; without it the run that is named goes on.",
            show_default=False,
        ),
    ] = None,
    data: Annotated[str | None, _option("A data set's id; the block's own by default.")] = None,
    steps: Annotated[int | None, _option("Steps in all.", min=1)] = None,
    tokens: Annotated[str | None, _option("Tokens in all: 300M, 20B.")] = None,
    hours: Annotated[
        float | None,
        _option("Hours in all; the decay begins when no more than its share of them is left."),
    ] = None,
    prolong: Annotated[
        bool,
        typer.Option(
            "--prolong", help="A longer run, from where this one's decay began; needs --output."
        ),
    ] = False,
    schedule: Annotated[
        Schedule | None,
        _option("wsd (warm up, stay, decay; the default) can be prolonged; cosine, constant."),
    ] = None,
    warmup_steps: Annotated[
        int | None, _option("Steps in which the learning rate rises.", min=0)
    ] = None,
    decay_share: Annotated[
        float | None, _option("Of the run, in which wsd falls; 0.2 by default.", min=0, max=1)
    ] = None,
    learning_rate: Annotated[
        float | None, _option("The highest; the block's own by default.")
    ] = None,
    batch_size: Annotated[int | None, _option("Sequences a step.", min=1)] = None,
    sequence_length: Annotated[int | None, _option("Tokens of a sequence.", min=2)] = None,
    rope_base: Annotated[
        float | None, _option("Of rotary positions; longer sequences want a higher one.")
    ] = None,
    precision: Annotated[
        Precision | None, _option("auto is float32 on a CPU, else bfloat16.")
    ] = None,
    seed: Annotated[
        int | None, _option("Of initial parameters and data order; 0 by default.", min=0)
    ] = None,
    preset: Annotated[
        str, typer.Option(help="The scale of a zoo genome, and the shapes of one without its own.")
    ] = "nano",
    mesh: Annotated[
        str | None,
        _option("Devices along each axis, as data=2,expert=4; without it, by the rule."),
    ] = None,
    coordinator: Annotated[
        str | None,
        _option("HOST:PORT of the first of several hosts; auto on TPU slices and under Slurm."),
    ] = None,
    hosts: Annotated[int | None, _option("How many hosts train the run.", min=1)] = None,
    host: Annotated[int | None, _option("This host's number, from 0.", min=0)] = None,
    tokenizer: Annotated[
        str | None, _option("The file that the data was prepared with, if the data keeps none.")
    ] = None,
    data_folder: DataFolder = None,
    validate_every: Annotated[str, typer.Option(help="A time (30s, 10m, 1h) or steps.")] = "1m",
    save_every: Annotated[str, typer.Option(help="The same, for checkpoints.")] = "10m",
    report_every: Annotated[str, typer.Option(help="The same, for lines and --log.")] = "10s",
    keep: Annotated[
        int, typer.Option(min=1, help="Newest checkpoints that stay; the best stays, too.")
    ] = 3,
    log: Annotated[
        list[Tracking] | None, _option("tensorboard, wandb or mlflow; repeatable.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write the ending as JSON.")] = False,
) -> None:
    """Train a model of a block: on any data set, saved on the way, as long as you like.

    The first SIGTERM or Ctrl-C saves the run and ends it, the second ends it at once. The same
    command, or the run's folder alone, goes on.
    """
    require_worker_packages("jax", "flax", "optax", "orbax")
    from brainformer.worker.pretraining.process import (
        compiled_folder,
        join_hosts,
        prepare_process,
    )
    from brainformer.worker.pretraining.signals import stop_on_signals

    prepare_process()
    speaks = join_hosts(coordinator, hosts, host)  # before our signals: jax brings a handler
    from brainformer.api.cli.commands.compilation import parse_mesh
    from brainformer.api.cli.searches.targets import parse_count
    from brainformer.worker.pretraining.intervals import parse_every
    from brainformer.worker.pretraining.planning import Wishes
    from brainformer.worker.pretraining.pretraining import Intervals
    from brainformer.worker.pretraining.session import Request
    from brainformer.worker.pretraining.session import train as run

    if sum(one is not None for one in (steps, tokens, hours)) > 1:
        raise InvalidInput("give one of --steps, --tokens and --hours")
    wishes = Wishes(
        steps=steps,
        tokens=None if tokens is None else parse_count(tokens),
        hours=hours,
        schedule=None if schedule is None else schedule.value,
        warmup_steps=warmup_steps,
        decay_share=decay_share,
        learning_rate=learning_rate,
        batch_size=batch_size,
        sequence_length=sequence_length,
        rope_base=rope_base,
        precision=precision,
        seed=seed,
    )
    request = Request(
        source=_source(source, preset),
        output=output,
        wishes=wishes,
        prolong=prolong,
        data=data,
        data_folder=data_folder,
        tokenizer=tokenizer,
        mesh=None if mesh is None else parse_mesh(mesh),
        intervals=Intervals(
            validate=parse_every(validate_every),
            save=parse_every(save_every),
            report=parse_every(report_every),
            keep=keep,
        ),
    )
    names = [one.value for one in log or ()]
    place = output or Path(source)
    with stop_on_signals() as stop:
        ending = run(
            request,
            observers=lambda folder: _observers(folder, names),
            tell=say if speaks else _silently,
            stop=stop.event,
            cache_folder=compiled_folder(),
        )
        if speaks:
            _tell_ending(ending, place, as_json=as_json)
        raise typer.Exit(INTERRUPTED if ending.why == "stopped" and stop.interrupted else OK)


def _silently(_: str) -> None:
    """Leaves it to the first host to say so."""


def _source(named: str, preset: str) -> Block | Path:
    """Returns what is to be trained, as the user names it."""
    from brainformer.api.cli.blocks.given import export_given, genome_given
    from brainformer.search.export.manifest import MANIFEST as EXPORT
    from brainformer.search.proxy.builtin_proxies import load_proxy
    from brainformer.search.space.space import load_preset
    from brainformer.search.space.zoo import zoo_names
    from brainformer.worker.export.model_folders import read_model
    from brainformer.worker.pretraining.session import Block
    from brainformer.worker.trained.trained_model import checkpoint_in

    path = Path(named)
    if path.is_dir():
        if (path / EXPORT).is_file():
            model = read_model(path)
            return Block(model.genome, model.proxy, model.provenance, model)
        if checkpoint_in(path) is None:
            raise NotFound("exported folder, run or checkpoint in", path)
        return path
    export = export_given(path)
    if export is not None:
        return Block(export.genome, export.proxy, export.provenance())
    if named not in zoo_names() and not path.exists():
        raise NotFound("exported folder, genome file, run or zoo genome", named, zoo_names())
    return Block(genome_given(named, load_preset(preset)), load_proxy(preset))


def _observers(folder: RunFolder, names: Sequence[str]) -> list[Observer]:
    from brainformer.api.cli.commands.training_display import display
    from brainformer.worker.pretraining.trackers import trackers

    return [display(), *trackers(names, folder.folder)]


def _tell_ending(ending: Ending, place: Path, *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "why": ending.why,
                "step": ending.step,
                "tokens": ending.step * ending.plan.tokens_per_step,
                "total_steps": ending.plan.total_steps,
                "validation_loss": ending.validation_loss,
                "bits_per_byte": ending.bits_per_byte,
                "checkpoint": str(ending.checkpoint),
            }
        )
    if ending.why == "stopped":
        say(f"saved step {ending.step:,}; go on with: brainformer train {place}")
        return
    judged = ""
    if ending.validation_loss is not None:
        judged = (
            f", validation loss {ending.validation_loss:.4f} nats a token, "
            f"{ending.bits_per_byte:.4f} bits a byte"
        )
    say(f"completed {ending.step:,} steps{judged}; the model is in {ending.checkpoint}")
