"""Small models that the tests of this folder export."""

from __future__ import annotations

from typing import Any

import numpy as np

from brainformer.search.export.provenance import Provenance
from brainformer.search.proxy.builtin_proxies import load_proxy
from brainformer.search.space.genome import Genome, parse_genome
from brainformer.search.space.space import load_preset
from brainformer.search.space.zoo import zoo_genome, zoo_names
from brainformer.worker.export.weighted_model import WeightedModel, initialised
from tests.model.models import ATTENTION, FEED_FORWARD, moe

PROXY = load_proxy("nano").model_copy(update={"blocks": 2})
POST = {"norm": "layer_norm", "norm_position": "post"}
BLOCKS: dict[str, list[dict[str, Any]]] = {
    "expert choice": [ATTENTION, moe("expert_choice", 2, "gated_relu"), FEED_FORWARD | POST],
    "top-1 with a capacity": [ATTENTION | {"conv_width": 3}, moe("top_1", 1.25)],
    "top-2 without drops": [moe("top_2", 0, "squared_relu"), ATTENTION | POST],
    "low rank": [ATTENTION, FEED_FORWARD | {"rank": 8, "activation": "squared_relu"}],
    "no attention": [FEED_FORWARD | {"activation": "relu"}, moe("expert_choice", 1)],
}


def block(name: str) -> Genome:
    return parse_genome({"model_dim": 16, "layers": BLOCKS[name]})


def zoo() -> dict[str, Genome]:
    """Returns the whole zoo in the nano space."""
    return {name: zoo_genome(name, load_preset("nano")) for name in zoo_names()}


def lively(genome: Genome, *, seed: int = 0) -> WeightedModel:
    """Returns a model in which norms, taps and thresholds differ from their initial values.

    Its logits are as large as a trained model's, so that its text does not hang on rounding.
    """
    model = initialised(genome, PROXY, seed=seed, provenance=Provenance(search_name="small"))
    rng = np.random.default_rng(seed)
    arrays = dict(model.arrays)
    for name, value in arrays.items():
        if name.endswith("cutoff"):
            arrays[name] = (value * rng.uniform(0.7, 1.3, value.shape)).astype(np.float32)
        elif name.endswith("kernel") or ".norm." in name:
            arrays[name] = (value + 0.1 * rng.normal(size=value.shape)).astype(np.float32)
        elif name == "unembedding":
            arrays[name] = value * np.float32(30)
    return WeightedModel(genome, PROXY, arrays, model.provenance)
