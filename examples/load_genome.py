"""Builds the JAX model of an exported block: examples/load_genome.py demo/best-block.json."""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp

from brainformer.model.config import ModelConfig
from brainformer.model.decoder import build_model, next_token_loss
from brainformer.search.cost.cost import activated_parameters, parameters
from brainformer.search.export.genome_file import read_export

export = read_export(Path(sys.argv[1]))
config = ModelConfig.of_proxy(export.genome, export.proxy, platform=jax.default_backend())
model = build_model(config, key=jax.random.key(0))

text = b"def main() -> None:\n    print("
tokens = jnp.asarray([list(text)], dtype=jnp.int32)
logits, _ = model(tokens[:, :-1], training=False)
loss, _ = next_token_loss(model, tokens, training=False)

print(f"{export.search_name}, trial {export.trial_number}: {len(export.genome.layers)} sub-layers")
print(f"{parameters(export.genome, export.proxy):,} parameters,", end=" ")
print(f"{activated_parameters(export.genome, export.proxy):,} activated a token")
print(f"logits {logits.shape}; untrained loss {float(loss):.2f} nats a token")
