"""TensorBoard, Weights & Biases and MLflow, for those who ask for them; and the run's own journal.

None of them is a dependency of this project, and none is imported unless it is asked for.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from typing_extensions import override

from brainformer.search.errors import EnvironmentProblem
from brainformer.worker.pretraining.plan import TrainingPlan
from brainformer.worker.pretraining.progress import Beginning, Observer, Status
from brainformer.worker.pretraining.run_folder import RunFolder

log = logging.getLogger(__name__)
PACKAGES = {"tensorboard": "tensorboardX", "wandb": "wandb", "mlflow": "mlflow"}
MLFLOW_RUN = "mlflow-run"


class Sink(NamedTuple):
    """Where scalars go.

    Attributes:
        write: (step, values by name).
        close: Called once, at the end.
    """

    write: Callable[[int, dict[str, float]], None]
    close: Callable[[], None]


class Tracker(Observer):
    """Sends scalars to one service; one that fails later on does not end the training.

    Args:
        name: Of the service.
        open_sink: Called when training begins.
    """

    def __init__(self, name: str, open_sink: Callable[[Beginning], Sink]) -> None:
        self._name = name
        self._open = open_sink
        self._sink: Sink | None = None

    def began(self, beginning: Beginning) -> None:
        """Opens the sink.

        Raises:
            EnvironmentProblem: the service cannot be used.
        """
        try:
            self._sink = self._open(beginning)
        except Exception as error:
            why = str(error).partition("\n")[0] or type(error).__name__
            raise EnvironmentProblem(
                f"--log {self._name} does not work here: {why}", f"leave out --log {self._name}"
            ) from error

    def trained(self, status: Status, *, due: bool) -> None:
        """Writes a point where one is due."""
        if due:
            self._write(
                status.step,
                {
                    "train/loss": status.loss,
                    "train/learning_rate": status.learning_rate,
                    "train/gradient_norm": status.gradient_norm,
                    "speed/tokens_per_second": status.tokens_per_second,
                    "speed/mfu": status.mfu,
                },
            )

    def validated(self, step: int, loss: float, bits_per_byte: float) -> None:
        """Writes what validation found."""
        found = {"validation/loss": loss, "validation/bits_per_byte": bits_per_byte}
        self._write(step, found)

    def saved(self, step: int, folder: Path, seconds: float) -> None:
        """Writes nothing."""

    def ended(self) -> None:
        """Closes the sink."""
        if self._sink is not None:
            self._tried(self._sink.close)

    def _write(self, step: int, values: dict[str, float]) -> None:
        if self._sink is not None:
            self._tried(partial(self._sink.write, step, values))

    def _tried(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:  # noqa: BLE001 (theirs, of any kind)
            self._sink = None
            log.warning("%s gets no more of this run (%s); training goes on", self._name, error)


class Journal(Observer):
    """Lines of JSON in the run's folder."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder

    def began(self, beginning: Beginning) -> None:
        """Forgets what a process that died did after its last checkpoint."""
        self._folder.forget_after(beginning.step)

    def trained(self, status: Status, *, due: bool) -> None:
        """Notes the losses where a report is due."""
        if due:
            self._folder.note(
                "trained",
                step=status.step,
                loss=status.loss,
                learning_rate=status.learning_rate,
                gradient_norm=status.gradient_norm,
                tokens_per_second=status.tokens_per_second,
                mfu=status.mfu,
                elapsed_seconds=status.elapsed_seconds,
            )

    def validated(self, step: int, loss: float, bits_per_byte: float) -> None:
        """Notes what validation found."""
        self._folder.note("validated", step=step, loss=loss, bits_per_byte=bits_per_byte)

    @override
    def saved(self, step: int, folder: Path, seconds: float) -> None:
        """Notes the checkpoint."""
        self._folder.note("saved", step=step, seconds=seconds)

    def ended(self) -> None:
        """Has nothing left to do."""


def trackers(names: Sequence[str], folder: Path) -> list[Tracker]:
    """Returns a tracker for each service that is asked for.

    Args:
        names: `tensorboard`, `wandb`, `mlflow`.
        folder: Of the run.

    Raises:
        EnvironmentProblem: a package is not installed; says how to install it.
    """
    for name in names:
        package = PACKAGES[name]
        if find_spec(package) is None:
            raise EnvironmentProblem(
                f"--log {name} needs {package}, which is not installed",
                f"pip install {package}, or leave out --log {name}",
            )
    return [Tracker(name, partial(SINKS[name], folder)) for name in names]


def _tensorboard(folder: Path, beginning: Beginning) -> Sink:
    from tensorboardX import SummaryWriter

    # What a process that died wrote after its last checkpoint is hidden.
    writer = SummaryWriter(str(folder / "tensorboard"), purge_step=beginning.step + 1)

    def write(step: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            writer.add_scalar(name, value, step)

    return Sink(write, writer.close)


def _wandb(folder: Path, beginning: Beginning) -> Sink:
    import wandb

    run = wandb.init(
        project="brainformer",
        name=folder.name,
        id=beginning.run,
        resume="allow",
        dir=str(folder),
        config=config_of(beginning.plan),
    )
    return Sink(lambda step, values: run.log(values, step=step), run.finish)


def _mlflow(folder: Path, beginning: Beginning) -> Sink:
    import mlflow

    note = folder / MLFLOW_RUN
    known = note.read_text("utf-8").strip() if note.is_file() else None
    run = mlflow.start_run(run_id=known, run_name=None if known else folder.name)
    note.write_text(f"{run.info.run_id}\n", "utf-8")
    if known is None:
        mlflow.log_params(config_of(beginning.plan))

    def write(step: int, values: dict[str, float]) -> None:
        mlflow.log_metrics({name.replace("/", "."): one for name, one in values.items()}, step=step)

    return Sink(write, mlflow.end_run)


SINKS: dict[str, Callable[[Path, Beginning], Sink]] = {
    "tensorboard": _tensorboard,
    "wandb": _wandb,
    "mlflow": _mlflow,
}


def config_of(plan: TrainingPlan) -> dict[str, Any]:
    """Returns the plan as the flat parameters that services show."""
    proxy = plan.proxy
    return {
        "genome": plan.genome.digest[:12],
        "model_dim": plan.genome.model_dim,
        "layers": len(plan.genome.layers),
        "blocks": proxy.blocks,
        "experts": proxy.experts,
        "batch_size": proxy.batch_size,
        "sequence_length": proxy.sequence_length,
        "optimizer": proxy.optimizer,
        "peak_learning_rate": proxy.peak_learning_rate,
        "schedule": plan.schedule,
        "warmup_steps": plan.warmup_steps,
        "dataset": proxy.dataset,
        "seed": plan.seed,
    }
