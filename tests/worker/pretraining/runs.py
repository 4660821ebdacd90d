"""Small runs on real text: the sources of a few modules, and a block that compiles in a second."""

from __future__ import annotations

import email
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from brainformer.worker.datasets.preparation import prepare_dataset
from brainformer.worker.pretraining.intervals import Every
from brainformer.worker.pretraining.manifest import read_manifest
from brainformer.worker.pretraining.planning import Wishes
from brainformer.worker.pretraining.pretraining import Ending, Intervals
from brainformer.worker.pretraining.progress import Beginning, Observer, Status
from brainformer.worker.pretraining.run_folder import RunFolder
from brainformer.worker.pretraining.session import Block, Request, train
from brainformer.worker.training.checkpoint import restore_state
from tests.worker.leases import GENOME, PROXY

DATA = "modules"
BLOCK = Block(GENOME, PROXY.model_copy(update={"dataset": DATA}))


class Notes(Observer):
    """Keeps what it is told; may do something at a step."""

    def __init__(self, at: int | None = None, act: Any = None) -> None:
        self.beginnings: list[Beginning] = []
        self.statuses: list[Status] = []
        self.losses: dict[int, float] = {}
        self.saves: list[int] = []
        self.ends = 0
        self._at, self._act = at, act

    def began(self, beginning: Beginning) -> None:
        self.beginnings.append(beginning)

    def trained(self, status: Status, *, due: bool) -> None:
        self.statuses.append(status)
        if self._at is not None and status.step >= self._at:
            self._at = None
            self._act()

    def validated(self, step: int, loss: float, bits_per_byte: float) -> None:
        self.losses[step] = loss

    def saved(self, step: int, folder: Path, seconds: float) -> None:
        self.saves.append(step)

    def ended(self) -> None:
        self.ends += 1


def modules() -> list[Path]:
    """Returns source files of the standard library."""
    return sorted(Path(json.__file__).parent.glob("*.py")) + sorted(
        Path(email.__file__).parent.glob("*.py")
    )


def prepared(folder: Path, **options: Any) -> Path:
    """Returns a folder of data sets that holds `modules`."""
    options = {"validation_share": 0.2, "test_share": 0.2} | options
    prepare_dataset(DATA, modules(), folder=folder, **options)
    return folder


def trained(
    place: Path | None,
    *,
    source: Any = BLOCK,
    data_folder: Path,
    cache_folder: Path | None = None,
    observers: Sequence[Observer] = (),
    save: Every | None = None,
    validate: Every | None = None,
    keep: int = 3,
    prolong: bool = False,
    stop: Any = None,
    clock: Any = None,
    data: str | None = None,
    tokenizer: str | None = None,
    tell: Any = lambda _: None,
    **wishes: Any,
) -> Ending:
    """Returns how a run ended that goes to `place`."""
    request = Request(
        source=source,
        output=place,
        wishes=Wishes(**wishes),
        prolong=prolong,
        data=data,
        data_folder=data_folder,
        tokenizer=tokenizer,
        intervals=Intervals(
            validate=validate or Every(seconds=3600),
            save=save or Every(seconds=3600),
            report=Every(steps=10),
            keep=keep,
        ),
    )
    return train(
        request,
        observers=lambda _: observers,
        stop=stop,
        clock=clock,
        cache_folder=cache_folder,
        tell=tell,
    )


def arrays_of(checkpoint: Path) -> dict[str, np.ndarray]:
    """Returns every array of a checkpoint as orbax stores it: parameters and optimiser alike."""
    from orbax.checkpoint import PyTreeCheckpointer

    place = (checkpoint / "arrays").absolute()
    names = dict(PyTreeCheckpointer().metadata(place).item_metadata.tree)
    like = [jax.ShapeDtypeStruct(names[name].shape, names[name].dtype) for name in sorted(names)]
    found = restore_state(checkpoint, like, arrays="arrays")
    assert found is not None
    return dict(zip(sorted(names), map(np.asarray, found), strict=True))


def assert_same_state(one: Path, other: Path) -> None:
    """Two checkpoints hold the same arrays, bit for bit, at the same step."""
    assert read_manifest(one).step == read_manifest(other).step
    ours, theirs = arrays_of(one), arrays_of(other)
    assert ours.keys() == theirs.keys()
    assert len(ours) > 10
    for name, value in ours.items():
        assert value.dtype == theirs[name].dtype
        assert value.tobytes() == theirs[name].tobytes(), name


def steps_in(folder: Path) -> list[int]:
    """Returns the steps of a run's checkpoints."""
    return [int(one.name) for one in RunFolder(folder).checkpoints()]
