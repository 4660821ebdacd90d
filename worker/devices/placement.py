"""Where a trial's values lie: on one device, or on a mesh whose devices share them.

Rows of a batch, experts and widths are split as model/sharding.py says; what an optimiser keeps
lies where its parameter lies. On one device nothing is said, and nothing is compiled differently.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeAlias

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding

from brainformer.model.config import DATA_AXIS, EXPERT_AXIS, ModelConfig, partition_spec
from brainformer.model.sharding import batch_sharding, make_mesh, state_shardings
from brainformer.search.proxy.mesh import MeshAxes

Tree: TypeAlias = Any


@dataclass(frozen=True)
class Placement:
    """The devices of a trial.

    Attributes:
        mesh: None for jax's default device.
    """

    mesh: Mesh | None = None

    @classmethod
    def on(cls, axes: MeshAxes) -> Placement:
        """Returns the placement on all devices that jax finds; one device needs no mesh.

        Raises:
            InvalidMesh: the axes are not these devices.
        """
        if axes.devices == 1 and len(jax.devices()) == 1:
            return cls()
        return cls(make_mesh(data=axes.data, expert=axes.expert, model=axes.model))

    @property
    def devices(self) -> list[jax.Device]:
        """The devices, those of other hosts too."""
        return [jax.devices()[0]] if self.mesh is None else list(self.mesh.devices.flat)

    @property
    def platform(self) -> str:
        """`cpu`, `gpu` or `tpu`."""
        return str(self.devices[0].platform)

    @property
    def on_one_cpu(self) -> bool:
        """Whether there is one device, a CPU: its program may do without what spreads."""
        return self.mesh is None and self.platform == "cpu"

    def tracing(self) -> AbstractContextManager[Any]:
        """Returns the context that programs are traced and compiled in."""
        return nullcontext() if self.mesh is None else jax.set_mesh(self.mesh)

    def shaped(self, shapes: Tree, shardings: Tree) -> Tree:
        """Returns the shapes with where each lies."""
        if self.mesh is None:
            return shapes
        return jax.tree.map(
            lambda one, where: shaped(one.shape, one.dtype, where),
            shapes,
            shardings,
        )

    def variables(self, state: Tree, config: ModelConfig) -> Tree:
        """Returns where each of a model's variables lies, None on one device."""
        return None if self.mesh is None else state_shardings(state, config, self.mesh)

    def beside(self, states: list[Tree], parameters: Tree, shardings: Tree, depths: Tree) -> Tree:
        """Returns where an optimiser's states lie, one state a parameter; None on one device.

        What is shaped as its parameter lies as it does; what has only its stacked axes is split
        along these; the rest is everywhere.
        """
        if self.mesh is None:
            return None
        found = []
        for state, parameter, where, depth in zip(
            states, *map(jax.tree.leaves, (parameters, shardings, depths)), strict=True
        ):
            found.append(jax.tree.map(_beside(self.mesh, parameter, where, depth), state))
        return found

    @property
    def everywhere(self) -> NamedSharding | None:
        """The sharding of what every device has whole."""
        return None if self.mesh is None else NamedSharding(self.mesh, partition_spec())

    @property
    def rows(self) -> NamedSharding | None:
        """The sharding of a batch."""
        return None if self.mesh is None else batch_sharding(self.mesh)

    def batch(self, tokens: np.ndarray) -> Any:
        """Returns the batch where the step wants it; each host gives its own devices their rows."""
        rows = self.rows
        if rows is None:
            return tokens
        return jax.make_array_from_callback(tokens.shape, rows, lambda index: tokens[index])

    def rows_for(self, count: int) -> int:
        """Returns the least number of rows, `count` or more, that the devices can share."""
        if self.mesh is None:
            return count
        shards = int(self.mesh.shape[DATA_AXIS] * self.mesh.shape[EXPERT_AXIS])
        return -(-count // shards) * shards

    def forward(self, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Returns a function of a batch whose result every host has whole."""
        if self.mesh is None:
            return function
        gather = jax.jit(lambda values: values, out_shardings=self.everywhere)
        return lambda tokens: np.asarray(gather(function(self.batch(np.asarray(tokens)))))

    def scalar(self, value: np.float32) -> Any:
        """Returns a number that every device has."""
        everywhere = self.everywhere
        if everywhere is None:
            return value
        return jax.make_array_from_callback((), everywhere, lambda _: np.asarray(value))


def shaped(shape: tuple[int, ...], dtype: Any, where: Any) -> jax.ShapeDtypeStruct:
    """Returns what an array looks like, and where it lies."""
    struct: jax.ShapeDtypeStruct = jax.ShapeDtypeStruct(shape, dtype, sharding=where)  # type: ignore[no-untyped-call]
    return struct


def _beside(
    mesh: Mesh, parameter: Any, where: NamedSharding, depth: int
) -> Callable[[Any], NamedSharding]:
    """Returns what tells where a value of the optimiser's state of one parameter lies."""

    def place(value: Any) -> NamedSharding:
        if value.shape == parameter.shape:
            return where
        stacked = tuple(where.spec)[:depth] if value.ndim >= depth else ()
        return NamedSharding(mesh, partition_spec(*stacked))

    return place
