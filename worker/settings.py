"""What an operator chooses for a dispatcher and its trials."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import uuid
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from brainformer.search.controller_access import controller_url
from brainformer.search.errors import EnvironmentProblem, InvalidInput
from brainformer.search.proxy.proxy import Name
from brainformer.search.trials.lease_messages import Lease
from brainformer.search.user_folders import cache_folder

Platform = Literal["cpu", "gpu", "tpu"]
SEVERAL_HOSTS_SAVE_EVERY = 60.0  # the more hosts, the sooner one is lost
TPU_CHIPS = (1, 2, 4, 8)  # Ray kills a run that asks for another number


def _address(given: str) -> str:
    try:
        return controller_url(given)
    except InvalidInput as error:
        raise ValueError(error.rule) from None


class WorkerSettings(BaseModel):
    """One dispatcher's settings.

    Attributes:
        url: The controller's address.
        token: With the scope `worker`, where the controller asks for one.
        pool: The kind of hardware, as baselines and specs name it.
        slots: Trials that run side by side.
        cores: Processor cores of one trial; with several hosts, of each.
        accelerators: GPUs or TPU chips of one trial; with several hosts, of each.
        hosts: That share one trial.
        wait_for_hosts: Seconds until a cluster without so many is given up; 0 for never.
        checkpoints: Where trials are saved; by default in the state folder. All hosts of a trial
            must see the same one.
        accelerator_type: As Ray knows it, for clusters that hold several.
        ray_address: Of a running cluster; None starts Ray on this machine.
        save_every: Seconds at least between checkpoints that nobody has asked for, 0 for none; by
            default none on one host, which saves its trial when it is told to end.
        recycle_after: Trials that one training process runs before a fresh one takes over.
        watchdog_seconds: What a trial may take beside six budgets before it is killed.
        run_seconds: How long one Tune run lasts before a fresh one takes over.
        loggers: Of Tune, for people who want them: tensorboard, mlflow, wandb.
        compile_ahead: Whether a slot has as many cores again, on which a process of its own
            compiles the next genome while the present one trains.
        runner: `sleep` only holds a slot for the budget, to measure the dispatcher itself;
            `compile` is what the process of `compile_ahead` does.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: Annotated[str, AfterValidator(_address)]
    token: str | None = Field(default=None, repr=False)
    pool: Name
    platform: Platform = "cpu"
    slots: Annotated[int, Field(ge=1, le=4096)] = 1
    cores: Annotated[int, Field(ge=1, le=1024)] = 1
    accelerators: Annotated[int, Field(ge=0, le=64)] = 0
    accelerator_type: str | None = None
    hosts: Annotated[int, Field(ge=1, le=1024)] = 1
    wait_for_hosts: Annotated[float, Field(ge=0, le=86_400)] = 60.0
    checkpoints: Path | None = None
    save_every: Annotated[float, Field(ge=0, le=86_400)] | None = None
    ray_address: str | None = None
    recycle_after: Annotated[int, Field(ge=1)] = 50
    watchdog_seconds: Annotated[float, Field(gt=0, le=86_400)] = 300.0
    run_seconds: Annotated[float, Field(gt=0)] = 6 * 3600.0
    loggers: tuple[Literal["tensorboard", "mlflow", "wandb"], ...] = ()
    compile_ahead: bool = False
    runner: Literal["train", "compile", "sleep"] = "train"
    state_folder: Path = Field(default_factory=lambda: default_state_folder())
    data_folder: Path | None = None
    worker_id: str = Field(default_factory=lambda: new_worker_id())

    @model_validator(mode="after")
    def _accelerators_fit(self) -> WorkerSettings:
        if self.platform == "tpu" and self.accelerators not in TPU_CHIPS:
            raise ValueError(f"a TPU trial takes one of {TPU_CHIPS} chips, got {self.accelerators}")
        if self.platform == "gpu" and self.accelerators < 1:
            raise ValueError("a GPU trial takes at least one GPU (accelerators), got 0")
        if self.platform != "cpu" and self.compile_ahead:
            raise ValueError("compile_ahead is for CPUs: an accelerator is not shared")
        return self

    @model_validator(mode="after")
    def _hosts_find_each_other(self) -> WorkerSettings:
        if self.hosts == 1:
            return self
        if self.ray_address is None:
            raise ValueError("a trial on several hosts needs a Ray cluster: give --ray-address")
        if self.checkpoints is None:
            raise ValueError(
                "a trial on several hosts needs --checkpoints, a folder on storage that they share"
            )
        if self.compile_ahead:
            raise ValueError("--compile-ahead is for trials on one host")
        return self

    def make_folders(self) -> None:
        """Makes the folders that trials write to.

        Raises:
            EnvironmentProblem: they cannot be made or written.
        """
        for folder in (self.outbox_folder, self.cache_folder, self.checkpoints_folder):
            option = "--checkpoints" if folder == self.checkpoints else "--state-folder"
            try:
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            except OSError as error:
                raise EnvironmentProblem(
                    f"cannot make {folder}: {error.strerror}", f"choose another {option}"
                ) from None
            if not os.access(folder, os.W_OK):
                raise EnvironmentProblem(
                    f"no permission to write {folder}", f"choose another {option}"
                )

    @property
    def save_every_seconds(self) -> float | None:
        """Seconds at least between checkpoints that nobody has asked for; None for none."""
        if self.save_every is None:
            return SEVERAL_HOSTS_SAVE_EVERY if self.hosts > 1 else None
        return self.save_every or None

    @property
    def slot_cores(self) -> int:
        """Cores that a slot takes, those for compiling ahead included."""
        return self.cores * (2 if self.compile_ahead else 1)

    @property
    def outbox_folder(self) -> Path:
        """Results that this controller has not received yet."""
        return self.state_folder / "outbox" / hashlib.sha256(self.url.encode()).hexdigest()[:16]

    @property
    def pulse_file(self) -> Path:
        """Touched every few seconds while the dispatcher's loop turns."""
        return self.state_folder / "alive"

    @property
    def cache_folder(self) -> Path:
        """Compiled programs and this machine's reference speed."""
        return self.state_folder / "compiled"

    @property
    def checkpoints_folder(self) -> Path:
        """Preempted trials."""
        return self.checkpoints or self.state_folder / "checkpoints"

    def checkpoint_folder(self, lease: Lease) -> Path:
        """Returns the trial's own folder; its attempts share it."""
        search = re.sub(r"[^A-Za-z0-9]", "-", lease.search_id)
        return self.checkpoints_folder / f"{search}-{lease.trial_number}"

    @property
    def tune_folder(self) -> Path:
        """What Tune's loggers write, where any are asked for."""
        return self.state_folder / "tune"


def default_state_folder() -> Path:
    """Returns the per-user folder of a worker's outbox, checkpoints and compiled programs."""
    return cache_folder("--state-folder") / "worker"


def new_worker_id() -> str:
    """Returns the host's name and a number of this process's own: a reused name looks new."""
    host = re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname()).strip("-.")[:64] or "worker"
    return f"{host}-{uuid.uuid4().hex[:8]}"
