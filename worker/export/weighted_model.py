"""A model as plain data: genome, shapes, and every array by name.

This is what an export is written from and what one is read back into, whoever made the weights: a
freshly initialised model, a trial, a long training. Names are the paths of the variables in
`brainformer.model.decoder.Decoder` with unrolled blocks, joined by dots:
`blocks.0.layers.1.inner.up`; a scanned model's stacked arrays are taken apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from flax import nnx

from brainformer.model.config import ModelConfig
from brainformer.model.decoder import Decoder, build_model
from brainformer.model.experts.routing import RoutingState
from brainformer.search.errors import InvalidExport
from brainformer.search.export.provenance import Provenance, versions_of
from brainformer.search.proxy.proxy import Proxy
from brainformer.search.space.genome import Genome

Arrays: TypeAlias = Mapping[str, npt.NDArray[Any]]
PACKAGES = ("jax", "flax", "numpy", "safetensors")


@dataclass(frozen=True)
class WeightedModel:
    """A block with weights.

    Attributes:
        genome: The block.
        proxy: The shapes that the genome leaves open, and the data that it saw.
        arrays: Every array by name, on the host: parameters, and the routers' running estimates.
        provenance: Where block and weights come from.
    """

    genome: Genome
    proxy: Proxy
    arrays: Arrays
    provenance: Provenance

    @property
    def config(self) -> ModelConfig:
        """The model's shapes in float32, as evaluation and export compute."""
        proxy = self.proxy.model_copy(update={"precision": "float32"})
        return ModelConfig.of_proxy(self.genome, proxy, platform="cpu")

    def decoder(self) -> Decoder:
        """Returns the JAX model that holds these arrays, bit for bit.

        Raises:
            InvalidExport: an array is missing, of another shape, or one too many.
        """
        return decoder_of(self.config, self.arrays)


def initialised(
    genome: Genome, proxy: Proxy, *, seed: int = 0, provenance: Provenance | None = None
) -> WeightedModel:
    """Returns an untrained model with the initial parameters that a trial of this seed has.

    Raises:
        InvalidGenome: the proxy's shapes do not work with the genome.
    """
    config = ModelConfig.of_proxy(genome, proxy, platform="cpu")
    key = jax.random.key(int(np.random.SeedSequence(seed).generate_state(1)[0]))
    told = (provenance or Provenance()).model_copy(update={"origin": "initialised", "seed": seed})
    return weighted(genome, proxy, build_model(config, key=key), provenance=told)


def weighted(genome: Genome, proxy: Proxy, *states: Any, provenance: Provenance) -> WeightedModel:
    """Returns the model of a state as plain data.

    Args:
        genome: The block.
        proxy: The shapes that the state was made with.
        states: A `Decoder`, or the flax states that it was split into: for instance a training
            state's `parameters` and `routing`.
        provenance: Where the weights come from; versions are added.
    """
    told = provenance.model_copy(
        update={
            "dataset": provenance.dataset or proxy.dataset,
            "dataset_hash": provenance.dataset_hash or proxy.dataset_hash,
            "versions": versions_of(PACKAGES) | provenance.versions,
        }
    )
    return WeightedModel(genome, proxy, named_arrays(*states), told)


def named_arrays(*states: Any) -> dict[str, npt.NDArray[Any]]:
    """Returns every array of a model or of its states by name, sorted, on the host."""
    found: dict[str, npt.NDArray[Any]] = {}
    for state in states:
        if isinstance(state, nnx.Module):
            state = nnx.state(state)
        for path, variable in nnx.to_flat_state(state):
            found.update(_unstacked(path, np.asarray(variable[...])))
    return dict(sorted(found.items()))


def decoder_of(config: ModelConfig, arrays: Arrays) -> Decoder:
    """Returns a model with these values; routers' estimates that are left out start afresh.

    Raises:
        InvalidExport: an array is missing, of another shape, or one too many.
    """
    model = build_model(config, key=jax.random.key(0))
    graph, state = nnx.split(model)
    left = dict(arrays)
    flat = []
    for path, variable in nnx.to_flat_state(state):
        value = left.pop(_name(path), None)
        if value is None and not isinstance(variable, RoutingState):
            raise InvalidExport(f"the weights lack the array {_name(path)}")
        if value is not None:
            _check_shape(_name(path), value, variable[...])
            variable = variable.replace(jnp.asarray(value))
        flat.append((path, variable))
    if left:
        raise InvalidExport(f"the weights hold an array that the block has not: {min(left)}")
    decoder: Decoder = nnx.merge(graph, nnx.from_flat_state(flat))
    return decoder


def _check_shape(name: str, value: npt.NDArray[Any], expected: jax.Array) -> None:
    if value.shape != expected.shape or value.dtype != expected.dtype:
        raise InvalidExport(
            f"the array {name} must be {expected.dtype}{list(expected.shape)}, "
            f"it is {value.dtype}{list(value.shape)}"
        )


def _unstacked(
    path: tuple[Any, ...], value: npt.NDArray[Any]
) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    """Yields an array by name; of scanned blocks, each block's own."""
    scanned = path[0] == "blocks" and path[1] == "layers"
    if not scanned:
        yield _name(path), value
        return
    for index in range(value.shape[0]):
        yield _name(("blocks", index, *path[1:])), value[index]


def _name(path: tuple[Any, ...]) -> str:
    return ".".join(str(part) for part in path)
