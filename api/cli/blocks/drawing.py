"""A block drawn in the terminal: its residual stream, its sub-layers, what each costs."""

from __future__ import annotations

from brainformer.api.cli.blocks.words import KINDS, fields_of, short
from brainformer.search.cost.cost import layer_costs
from brainformer.search.proxy.proxy import Proxy
from brainformer.search.space.genome import Genome

BAR = 24
LINES = {"stream": "│", "branch": "├─▶", "back": "⊕◀┘", "bar": "█", "end": "▼"}
PLAIN = {"stream": "|", "branch": "+->", "back": "+<-", "bar": "#", "end": "v"}


def drawn(genome: Genome, proxy: Proxy, *, plain: bool = False) -> str:
    """Returns the drawing: a bar is as long as the sub-layer's share of the block's FLOPs.

    Args:
        genome: The block.
        proxy: Head dim, experts and the other shapes that costs depend on.
        plain: Draws with ASCII alone.
    """
    mark = PLAIN if plain else LINES
    costs = layer_costs(genome, proxy)
    most = max(cost.forward_flops for cost in costs)
    width = max(len(fields_of(layer)) for layer in genome.layers)
    stacked = "once" if proxy.blocks == 1 else f"{proxy.blocks} times"
    head = f"stream of {genome.model_dim}, {len(genome.layers)} sub-layers, stacked {stacked}"
    lines = [f" {head}", f" {mark['stream']}"]
    for layer, cost in zip(genome.layers, costs, strict=True):
        bar = mark["bar"] * max(1, round(BAR * cost.forward_flops / most))
        words = f"{KINDS[layer.kind]:<12} {fields_of(layer):<{width}}"
        lines.append(f" {mark['branch']} {words}  {bar:<{BAR}} {short(cost.forward_flops):>6}FLOP")
        lines.append(f" {mark['back']}")
    return "\n".join([*lines, f" {mark['end']}"]) + "\n"
