"""`brainformer worker`: the dispatcher of one Ray cluster, or of this machine."""

from __future__ import annotations

import logging
import os
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from brainformer.api.cli.terminal.options import URL, Token, TokenFile, Url, given_token
from brainformer.api.cli.terminal.output import say
from brainformer.api.cli.terminal.worker_packages import require_worker_packages
from brainformer.search.errors import InvalidSpec
from brainformer.search.user_folders import ensure_home


def worker(
    pool: Annotated[str, typer.Option(help="Kind of hardware, as searches name it.")] = "cpu",
    platform: Annotated[str, typer.Option(help="cpu, gpu or tpu.")] = "cpu",
    slots: Annotated[
        int | None,
        typer.Option(min=1, help="Trials side by side; all that the cores allow by default."),
    ] = None,
    cores: Annotated[
        int, typer.Option(min=1, help="Processor cores of one trial, on each of its hosts.")
    ] = 1,
    accelerators: Annotated[
        int, typer.Option(min=0, help="GPUs or TPU chips of a trial, on each of its hosts.")
    ] = 0,
    hosts: Annotated[
        int, typer.Option(min=1, help="Hosts of the Ray cluster that share one trial.")
    ] = 1,
    wait_for_hosts: Annotated[
        float,
        typer.Option(
            min=0, help="Seconds until a cluster with fewer hosts is given up; 0 for never."
        ),
    ] = 60.0,
    accelerator_type: Annotated[str | None, typer.Option(help="As Ray knows it.")] = None,
    ray_address: Annotated[
        str | None, typer.Option(help="Of a running cluster; otherwise Ray starts here.")
    ] = None,
    recycle_after: Annotated[
        int, typer.Option(min=1, help="Trials that one training process runs.")
    ] = 50,
    compile_ahead: Annotated[
        bool,
        typer.Option(
            "--compile-ahead",
            help="Give every slot as many cores again, to compile the next genome on.",
        ),
    ] = False,
    logger: Annotated[
        list[str] | None, typer.Option(help="tensorboard, mlflow or wandb; repeatable.")
    ] = None,
    state_folder: Annotated[
        Path | None, typer.Option(help="Undelivered results, checkpoints, compiled programs.")
    ] = None,
    checkpoints: Annotated[
        Path | None,
        typer.Option(help="Where trials are saved; with --hosts, a folder that all of them share."),
    ] = None,
    save_every: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Seconds between a trial's checkpoints; 0 for none until it must end, as on one "
            "host by default; 60 with --hosts.",
        ),
    ] = None,
    data_folder: Annotated[Path | None, typer.Option(help="Where data sets lie.")] = None,
    runner: Annotated[
        str, typer.Option(help="train, or sleep to measure the dispatcher alone.")
    ] = "train",
    url: Url = URL,
    token: Token = None,
    token_file: TokenFile = None,
) -> None:
    """Pull leases from the controller and train them, until Ctrl-C or SIGTERM.

    What it does is told on stderr. A controller that refuses the token ends it with exit code 4.
    """
    require_worker_packages("jax", "ray")
    from pydantic import ValidationError

    from brainformer.worker.tune.held_sigterm import HeldSigterm

    with HeldSigterm():  # the threads of what is imported leave SIGTERM to this one
        from brainformer.search.validation import first_problem
        from brainformer.worker.datasets.manifest import default_data_folder
        from brainformer.worker.settings import WorkerSettings
        from brainformer.worker.tune.dispatcher import run_dispatcher

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    known = given_token(token, token_file)
    given = {"state_folder": state_folder, "data_folder": data_folder, "checkpoints": checkpoints}
    try:
        settings = WorkerSettings.model_validate(
            {
                "url": url,
                "token": known,
                "pool": pool,
                "platform": platform,
                "slots": slots or _all_that_fit(cores * (1 + compile_ahead), hosts),
                "cores": cores,
                "accelerators": accelerators,
                "accelerator_type": accelerator_type,
                "hosts": hosts,
                "wait_for_hosts": wait_for_hosts,
                "save_every": save_every,
                "ray_address": ray_address,
                "recycle_after": recycle_after,
                "compile_ahead": compile_ahead,
                "loggers": tuple(logger or ()),
                "runner": runner,
                **{name: value for name, value in given.items() if value is not None},
            }
        )
    except ValidationError as error:
        raise InvalidSpec(*first_problem(error)) from None
    if data_folder is None and ray_address is None:
        default_data_folder()  # if there is none, now is the time to say so
    ensure_home(settings.state_folder)
    raise typer.Exit(run_dispatcher(settings, _told))


def _told(sentence: str) -> None:
    say(f"{datetime.now().astimezone():%H:%M:%S}  {sentence}")


def _all_that_fit(cores: int, hosts: int) -> int:
    """Returns how many slots this machine has room for; one, where a slot is several hosts."""
    return 1 if hosts > 1 else max(1, _cores_here() // cores)


def _cores_here() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
