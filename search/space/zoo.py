"""The zoo: the named genomes of the literature, in any space.

A zoo genome is written at the scale of Table 2 of arXiv:2306.00008 (d=768, hidden 3072) and moved
to a space: the model dim is the space's middle choice, hidden dims keep their ratio to it, and
every field takes the nearest choice that the space offers. What a space does not offer (a kind,
an activation) stays as in the literature, so a baseline can be outside its space.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

from brainformer.search.errors import InvalidGenome, NotFound
from brainformer.search.space.genome import LAYER_KINDS, Genome, Layer
from brainformer.search.space.space import Space
from brainformer.search.validation import first_problem

REFERENCE_DIM, REFERENCE_HEAD_DIM = 768, 64
LayerPlan = dict[str, Any]

ATTENTION: LayerPlan = {"kind": "attention", "heads": 12}
DENSE: LayerPlan = {"kind": "feed_forward", "hidden_dim": 3072, "activation": "gated_gelu"}
EXPERTS: LayerPlan = {
    "kind": "moe",
    "hidden_dim": 3072,
    "activation": "gelu",
    "gating": "top_2",
    "capacity_factor": 2,
}
CHOSEN_BY_EXPERTS: LayerPlan = {**EXPERTS, "gating": "expert_choice", "capacity_factor": 1}
NARROW: LayerPlan = {**CHOSEN_BY_EXPERTS, "hidden_dim": 1536, "activation": "gated_gelu"}
NARROW_DENSE: LayerPlan = {**DENSE, "hidden_dim": 1536}

ZOO: dict[str, list[LayerPlan]] = {
    # Dense and MoE layers alternate (arXiv:2112.06905); three such blocks are twelve layers.
    "glam": [ATTENTION, DENSE, ATTENTION, EXPERTS] * 2,
    "dense_transformer": [ATTENTION, DENSE] * 4,
    "switch": [ATTENTION, DENSE, ATTENTION, {**EXPERTS, "gating": "top_1"}] * 2,
    "expert_gating_glam": [ATTENTION, DENSE, ATTENTION, CHOSEN_BY_EXPERTS] * 2,
    "search_w_top2_approximation": [
        ATTENTION,
        {**EXPERTS, "hidden_dim": 2048},
        DENSE,
        {**EXPERTS, "hidden_dim": 2048},
        ATTENTION,
        DENSE,
        {**EXPERTS, "hidden_dim": 2048},
        DENSE,
    ],
    "primer": [
        {**ATTENTION, "conv_width": 3},
        {"kind": "feed_forward", "hidden_dim": 3072, "activation": "squared_relu"},
    ]
    * 4,
    "sandwich": [ATTENTION, ATTENTION, ATTENTION, DENSE, ATTENTION, DENSE, DENSE, DENSE],
    "low_rank": [ATTENTION, {**DENSE, "rank": 192}] * 4,
    # The paper shows these blocks only as figures; these follow its description (more MoE than
    # attention, narrow hidden dims, expert choice with capacity factor 1 and larger).
    "brainformer_1_approximation": [
        ATTENTION,
        NARROW,
        NARROW_DENSE,
        NARROW_DENSE,
        ATTENTION,
        NARROW,
        NARROW_DENSE,
        NARROW,
    ],
    "brainformer_2_approximation": [
        NARROW,
        ATTENTION,
        {**NARROW, "capacity_factor": 2},
        NARROW_DENSE,
        {**NARROW, "capacity_factor": 2},
        ATTENTION,
        NARROW_DENSE,
        {**NARROW, "capacity_factor": 2},
    ],
}


def zoo_names() -> list[str]:
    """Returns the names in the zoo."""
    return sorted(ZOO)


def zoo_genome(name: str, space: Space) -> Genome:
    """Returns the named genome at the scale of `space`, its length cut to what the space allows.

    Raises:
        NotFound: there is none of that name; the message lists the known ones.
        InvalidGenome: at this scale it is not a valid genome.
    """
    return fitted_genome(name, space, sorted(space.model_dim)[len(space.model_dim) // 2])


def fitted_genome(
    named: str | Genome, space: Space, dim: int, *, head_multiple: float = 1.0
) -> Genome:
    """Returns a block at a model dim, every field at the space's nearest choice.

    Args:
        named: A zoo name, or a genome whose widths keep their ratio to its model dim.
        space: The space whose choices are taken; the block is cut to the length it allows.
        dim: The model dim.
        head_multiple: Multiplies the number of heads, before the nearest choice is taken.

    Raises:
        NotFound: there is no zoo genome of that name; the message lists the known ones.
        InvalidGenome: at this scale it is not a valid genome.
    """
    if isinstance(named, Genome):
        plans = [layer.model_dump() for layer in named.layers]
        reference = named.model_dim
    elif named in ZOO:
        plans, reference = ZOO[named], REFERENCE_DIM
    else:
        raise NotFound("zoo genome", named, zoo_names())
    whole = plans[: space.max_layers]
    while len(whole) < space.min_layers:
        whole = [*whole, *plans][: space.min_layers]
    scale = dim / reference
    scales = {"hidden_dim": scale, "rank": scale, "heads": scale * head_multiple}
    try:
        return Genome(model_dim=dim, layers=tuple(_fitted(plan, scales, space) for plan in whole))
    except ValidationError as error:
        rule, value, _ = first_problem(error)
        called = named if isinstance(named, str) else "the block"
        raise InvalidGenome(f"{called} in the space {space.name!r}: {rule}", value) from None


def _fitted(plan: LayerPlan, scales: dict[str, float], space: Space) -> Layer:
    """Returns the given sub-layer with every field at the space's nearest choice."""
    values = {name: value for name, value in plan.items() if name != "kind"}
    choices = space.layers.get(plan["kind"], {})
    for name, scale in scales.items():
        if values.get(name):
            values[name] = max(1, round(values[name] * scale))
    for name, value in values.items():
        if name in choices:
            values[name] = _nearest(value, choices[name])
    return LAYER_KINDS[plan["kind"]].model_validate(values)


def _nearest(value: Any, choices: tuple[Any, ...]) -> Any:
    if value in choices:
        return value
    if isinstance(value, str):
        return value if not choices else _alike(value, choices)
    return min(choices, key=lambda choice: (abs(choice - value), choice))


def _alike(value: str, choices: tuple[str, ...]) -> str:
    """Returns the choice that shares the most words with `value`; ties go to the first."""
    measure: Callable[[str], int] = lambda c: len(set(c.split("_")) & set(value.split("_")))  # noqa: E731
    return max(choices, key=measure)


def resolve_genome(named: str | Genome, space: Space) -> Genome:
    """Returns the genome itself, or the zoo's of that name in `space`."""
    return zoo_genome(named, space) if isinstance(named, str) else named
