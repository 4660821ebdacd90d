"""Sub-layers in words and figures, as tables and drawings show them."""

from __future__ import annotations

from brainformer.search.counted import counted
from brainformer.search.space.genome import Attention, FeedForward, Layer

STEPS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
KINDS = {"attention": "attention", "feed_forward": "feed-forward", "moe": "experts"}


def fields_of(layer: Layer) -> str:
    """Returns what tells a sub-layer from others of its kind."""
    told = _own_fields(layer)
    if layer.norm != "rms_norm":
        told.append(layer.norm)
    if layer.norm_position != "pre":
        told.append("post-norm")
    return ", ".join(told)


def _own_fields(layer: Layer) -> list[str]:
    if isinstance(layer, Attention):
        heads = counted(layer.heads, "head")
        return [heads, f"convolution {layer.conv_width}"] if layer.conv_width else [heads]
    if isinstance(layer, FeedForward):
        told = [str(layer.hidden_dim), layer.activation]
        return [*told, f"rank {layer.rank}"] if layer.rank else told
    capacity = f"capacity {layer.capacity_factor:g}" if layer.capacity_factor else "dropless"
    return [str(layer.hidden_dim), layer.activation, layer.gating, capacity]


def short(count: float) -> str:
    """Returns a count as people say it: 1.25M, 830."""
    for step, letter in STEPS:
        if count >= step:
            return f"{count / step:.3g}{letter}"
    return f"{count:.3g}"
