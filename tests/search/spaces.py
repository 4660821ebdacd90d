"""Spaces for tests: small ones, odd ones, and any that Hypothesis can think of."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from brainformer.search.space.space import Space, parse_space

ONE_OF_EACH: dict[str, dict[str, list[Any]]] = {
    "attention": {"heads": [2]},
    "feed_forward": {"hidden_dim": [64], "activation": ["gelu"]},
    "moe": {
        "hidden_dim": [64],
        "activation": ["gelu"],
        "gating": ["expert_choice"],
        "capacity_factor": [1],
    },
}


def sequences(length: int = 8, **changes: Any) -> Space:
    """A space of one choice for every field but the kinds: 3^length sequences."""
    plain = {"name": "sequences", "model_dim": [32], "layers": ONE_OF_EACH}
    return parse_space(plain | {"min_layers": length, "max_layers": length} | changes)


def _some(*choices: Any) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.sampled_from(choices), min_size=1, max_size=len(choices), unique=True)


LAYERS = {
    "attention": st.fixed_dictionaries(
        {"heads": _some(1, 2, 4)}, optional={"conv_width": _some(0, 3), "norm": _some("rms_norm")}
    ),
    "feed_forward": st.fixed_dictionaries(
        {"hidden_dim": _some(32, 64), "activation": _some("relu", "gelu", "gated_gelu")},
        optional={"rank": _some(0, 8), "norm_position": _some("pre", "post")},
    ),
    "moe": st.fixed_dictionaries(
        {
            "hidden_dim": _some(32, 64),
            "activation": _some("relu", "gelu"),
            "gating": _some("top_1", "top_2", "expert_choice"),
            "capacity_factor": _some(1, 1.5, 2),
        }
    ),
}


@st.composite
def any_space(draw: st.DrawFn) -> Space:
    """A valid space of up to six sub-layers."""
    kinds = draw(_some(*LAYERS))
    shortest = draw(st.integers(1, 4))
    return parse_space(
        {
            "name": "any",
            "model_dim": draw(_some(16, 32, 48)),
            "min_layers": shortest,
            "max_layers": draw(st.integers(shortest, 6)),
            "layers": {kind: draw(LAYERS[kind]) for kind in kinds},
        }
    )
