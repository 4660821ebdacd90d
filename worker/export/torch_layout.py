"""The same arrays as PyTorch modules want them, and back, bit for bit.

Linear layers store (outputs, inputs), experts are packed into one array each with the activated
half of a gated pair first, and sub-layers are counted through all blocks:
`blocks.1.layers.2.inner.out` of a block of 4 sub-layers is `model.layers.6.inner.o_proj.weight`.
Only transposing, cutting and joining: no value is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from brainformer.model.config import ModelConfig
from brainformer.search.cost.cost import is_gated
from brainformer.search.errors import InvalidExport
from brainformer.search.space.genome import Attention, FeedForward, MoE
from brainformer.worker.export.weighted_model import Arrays

Array: TypeAlias = npt.NDArray[Any]
PARTS = ("q", "k", "v")
OUTER = {
    "embedding": "model.embed_tokens.weight",
    "norm.scale": "model.norm.weight",
    "unembedding": "lm_head.weight",
}
NORM = {"norm.scale": "norm.weight", "norm.bias": "norm.bias"}


def torch_arrays(config: ModelConfig, arrays: Arrays) -> dict[str, Array]:
    """Returns the arrays by the names and in the layout of the exported PyTorch model."""
    found = {
        OUTER[name]: _transposed(arrays[name]) if name == "unembedding" else arrays[name]
        for name in OUTER
    }
    for layer, ours, theirs in _sub_layers(config):
        own = {
            name.removeprefix(ours): value
            for name, value in arrays.items()
            if name.startswith(ours)
        }
        placed = {NORM[name]: own[name] for name in NORM if name in own}
        placed |= TO_TORCH[layer.kind](layer, own)
        found.update({theirs + name: np.ascontiguousarray(v) for name, v in placed.items()})
    return found


def jax_arrays(config: ModelConfig, arrays: Arrays) -> dict[str, Array]:
    """Returns the arrays of an exported PyTorch model by the names and in the layout of ours.

    Raises:
        InvalidExport: an array is missing.
    """
    try:
        return _jax_arrays(config, arrays)
    except KeyError as error:
        raise InvalidExport(f"the weights lack an array: {error.args[0]}") from None


def _jax_arrays(config: ModelConfig, arrays: Arrays) -> dict[str, Array]:
    found = {name: arrays[other] for name, other in OUTER.items()}
    found["unembedding"] = _transposed(found["unembedding"])
    for layer, ours, theirs in _sub_layers(config):
        own = _Prefixed(arrays, theirs)
        placed = {name: own[other] for name, other in NORM.items() if theirs + other in arrays}
        placed |= FROM_TORCH[layer.kind](layer, own)
        found.update({ours + name: np.ascontiguousarray(v) for name, v in placed.items()})
    return found


class _Prefixed:
    """The arrays whose names begin alike, by the rest of their names."""

    def __init__(self, arrays: Arrays, prefix: str) -> None:
        self._arrays, self._prefix = arrays, prefix

    def __getitem__(self, name: str) -> Array:
        return self._arrays[self._prefix + name]


def _sub_layers(config: ModelConfig) -> Iterator[tuple[Any, str, str]]:
    """Yields each sub-layer of each block, and how the names of its arrays begin."""
    layers = config.genome.layers
    for block in range(config.blocks):
        for index, layer in enumerate(layers):
            number = block * len(layers) + index
            yield layer, f"blocks.{block}.layers.{index}.", f"model.layers.{number}."


def _transposed(value: Array) -> Array:
    return np.ascontiguousarray(np.swapaxes(value, -1, -2))


def _attention_to_torch(layer: Attention, own: dict[str, Array]) -> dict[str, Array]:
    found = {"inner.o_proj.weight": _transposed(own["inner.out"])}
    for part, value in zip(PARTS, np.split(own["inner.qkv"], 3, axis=1), strict=True):
        found[f"inner.{part}_proj.weight"] = _transposed(value)
    if layer.conv_width:
        for part, value in zip(PARTS, np.split(own["inner.kernel"], 3, axis=1), strict=True):
            found[f"inner.{part}_taps"] = value
    return found


def _attention_from_torch(layer: Attention, own: _Prefixed) -> dict[str, Array]:
    projections = [_transposed(own[f"inner.{part}_proj.weight"]) for part in PARTS]
    found = {
        "inner.out": _transposed(own["inner.o_proj.weight"]),
        "inner.qkv": np.concatenate(projections, axis=1),
    }
    if layer.conv_width:
        taps = [own[f"inner.{part}_taps"] for part in PARTS]
        found["inner.kernel"] = np.concatenate(taps, axis=1)
    return found


def _feed_forward_names(layer: FeedForward) -> Iterator[tuple[str, str]]:
    """Yields our name of each matrix, and theirs."""
    for part in ("up", "gate", "down") if is_gated(layer.activation) else ("up", "down"):
        for index in range(2 if layer.rank else 1):
            place = f".{index}" if layer.rank else ""
            yield f"inner.{part}.matrices.{index}", f"inner.{part}_proj{place}.weight"


def _feed_forward_to_torch(layer: FeedForward, own: dict[str, Array]) -> dict[str, Array]:
    return {theirs: _transposed(own[ours]) for ours, theirs in _feed_forward_names(layer)}


def _feed_forward_from_torch(layer: FeedForward, own: _Prefixed) -> dict[str, Array]:
    return {ours: _transposed(own[theirs]) for ours, theirs in _feed_forward_names(layer)}


def _moe_to_torch(layer: MoE, own: dict[str, Array]) -> dict[str, Array]:
    """Packs experts; `up` is what is activated, which PyTorch's experts call the gate."""
    found = {
        "inner.router.weight": _transposed(own["inner.router"]),
        "inner.experts.down_proj": _transposed(own["inner.down"]),
    }
    if layer.gating == "expert_choice":
        found["inner.router.threshold"] = own["inner.cutoff"]
    up = _transposed(own["inner.up"])
    if is_gated(layer.activation):
        pair = np.concatenate([up, _transposed(own["inner.gate"])], axis=1)
        return found | {"inner.experts.gate_up_proj": pair}
    return found | {"inner.experts.up_proj": up}


def _moe_from_torch(layer: MoE, own: _Prefixed) -> dict[str, Array]:
    found = {
        "inner.router": _transposed(own["inner.router.weight"]),
        "inner.down": _transposed(own["inner.experts.down_proj"]),
    }
    if layer.gating == "expert_choice":
        found["inner.cutoff"] = own["inner.router.threshold"]
    if is_gated(layer.activation):
        up, gate = np.split(own["inner.experts.gate_up_proj"], 2, axis=1)
        return found | {"inner.up": _transposed(up), "inner.gate": _transposed(gate)}
    return found | {"inner.up": _transposed(own["inner.experts.up_proj"])}


# One row per kind of sub-layer.
TO_TORCH: dict[str, Callable[..., dict[str, Array]]] = {
    "attention": _attention_to_torch,
    "feed_forward": _feed_forward_to_torch,
    "moe": _moe_to_torch,
}
FROM_TORCH: dict[str, Callable[..., dict[str, Array]]] = {
    "attention": _attention_from_torch,
    "feed_forward": _feed_forward_from_torch,
    "moe": _moe_from_torch,
}
