"""Exported folders, each with what the JAX model says beside it."""

from __future__ import annotations

import itertools
from pathlib import Path

import jax
import numpy as np

from brainformer.model.decoder import Decoder
from brainformer.model.generation import generate
from brainformer.search.space.genome import Genome, Layer
from brainformer.search.space.space import load_preset
from brainformer.worker.export.model_folders import write_huggingface
from brainformer.worker.export.weighted_model import WeightedModel
from tests.worker.export.models import PROXY

ROWS, LENGTH, PROMPT, NEW = 3, 48, 10, 64
TIE = 2e-4  # two logits that may each be off by 1e-4


def random_genomes(count: int) -> dict[str, Genome]:
    """Returns genomes of the nano space, a third of their sub-layers with rarer options."""
    space, found = load_preset("nano"), {}
    for number in range(count):
        rng = np.random.default_rng([number, 2306])
        genome = space.sample(rng=rng)
        layers = tuple(_rarer(layer, rng) for layer in genome.layers)
        found[f"random-{number:02d}"] = genome.model_copy(update={"layers": layers})
    return found


def _rarer(layer: Layer, rng: np.random.Generator) -> Layer:
    """Returns a sub-layer that a space seldom offers: post-norm, a convolution, a low rank ..."""
    if rng.random() > 1 / 3:
        return layer
    changes = {"norm": "layer_norm", "norm_position": "post"} if rng.random() < 0.5 else {}
    if layer.kind == "attention":
        changes["conv_width"] = int(rng.integers(2, 5))
    elif layer.kind == "feed_forward":
        changes |= {"rank": 8} if rng.random() < 0.5 else {"activation": "squared_relu"}
    elif rng.random() < 0.5:
        changes["activation"] = "squared_relu"
    return layer.model_copy(update=changes)


def write_with_reference(root: Path, name: str, model: WeightedModel) -> None:
    """Writes the export of a model and what it says of random tokens.

    Of the first tokens at whose text our model itself does not hang on rounding: where two logits
    are equal but for what float32 loses, either may be the greedy choice.
    """
    write_huggingface(root / name, model)
    decoder = model.decoder()
    for seed in itertools.count(1):
        tokens = jax.random.randint(jax.random.key(seed), (ROWS, LENGTH), 0, PROXY.vocab_size)
        text = generate(decoder, tokens[:, :PROMPT], steps=NEW)
        if _closest(decoder, text) > TIE:
            break
    logits, _ = decoder(tokens, training=False)
    np.savez(root / f"{name}.npz", tokens=tokens, logits=logits, generated=text)


def _closest(decoder: Decoder, text: jax.Array) -> float:
    """Returns by how little the likeliest token led the next one, over all that were chosen."""
    logits, _ = decoder(text, training=False)
    chosen = np.sort(np.asarray(logits)[:, PROMPT - 1 : -1])
    return float((chosen[..., -1] - chosen[..., -2]).min())
