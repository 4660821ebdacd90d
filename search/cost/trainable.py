"""What a proxy cannot train: shapes that do not work under its experts, batch or length."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from brainformer.search.errors import InvalidGenome
from brainformer.search.proxy.proxy import Proxy
from brainformer.search.space.genome import MAX_WIDTH, Attention, Genome, MoE


def check_trainable(genome: Genome, proxy: Proxy) -> None:
    """Refuses a genome whose shapes cannot work under this proxy.

    Raises:
        InvalidGenome: names the field, its value and the rule.
    """
    for index, layer in enumerate(genome.layers):
        for check in RULES[layer.kind]:
            check(layer, f"/layers/{index}", proxy)


def _check_attention(layer: Attention, pointer: str, proxy: Proxy) -> None:
    width = layer.heads * proxy.head_dim
    if width > MAX_WIDTH:
        rule = f"heads x head_dim ({proxy.head_dim}) must be at most {MAX_WIDTH}"
        raise InvalidGenome(rule, layer.heads, f"{pointer}/heads")
    if layer.conv_width > proxy.sequence_length:
        rule = f"conv_width must be at most sequence_length ({proxy.sequence_length})"
        raise InvalidGenome(rule, layer.conv_width, f"{pointer}/conv_width")


def _check_moe(layer: MoE, pointer: str, proxy: Proxy) -> None:
    tokens = proxy.batch_size * proxy.sequence_length
    experts = proxy.experts
    if experts > tokens:
        rule = f"experts must be at most the tokens of a step, batch x sequence ({tokens})"
        raise InvalidGenome(rule, experts, f"{pointer}/experts")
    if layer.gating == "top_2" and experts < 2:
        raise InvalidGenome("top_2 gating needs at least 2 experts", experts, f"{pointer}/gating")
    if layer.capacity_factor > experts:
        rule = f"capacity_factor must be at most experts ({experts})"
        raise InvalidGenome(rule, layer.capacity_factor, f"{pointer}/capacity_factor")
    choosers, what = tokens, "batch_size x sequence_length"
    if layer.gating == "expert_choice":
        causal = proxy.routing == "causal"
        choosers = proxy.batch_size if causal else proxy.sequence_length
        what = "batch_size" if causal else "sequence_length"
    if layer.capacity_factor and slots_per_expert(layer, experts, choosers) < 1:
        rule = (
            f"capacity_factor x {what} ({choosers}) / experts ({experts}) must be at least 1, "
            "so that every expert has a token"
        )
        raise InvalidGenome(rule, layer.capacity_factor, f"{pointer}/capacity_factor")


# What the proxy asks of a sub-layer; what it asks of itself is checked in search/space/genome.py.
RULES: dict[str, tuple[Callable[[Any, str, Proxy], None], ...]] = {
    "attention": (_check_attention,),
    "feed_forward": (),
    "moe": (_check_moe,),
}


def slots_per_expert(layer: MoE, experts: int, choosers: int) -> int:
    """Returns how many of `choosers` tokens one expert takes: capacity factor x share, floored."""
    # The small term keeps 1.1 x 10 / 1 from flooring to 10 when floats fall just short.
    return min(choosers, int(layer.capacity_factor * choosers / experts + 1e-6))
