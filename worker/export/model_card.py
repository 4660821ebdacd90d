"""The model card of an exported folder: what the block is, how it was made, how to use it."""

from __future__ import annotations

import json
from typing import Any

from brainformer.search.cost.cost import activated_parameters, parameters
from brainformer.search.export.provenance import Provenance
from brainformer.worker.export.weighted_model import WeightedModel

CARD = """---
library_name: transformers
pipeline_tag: text-generation
tags: [brainformer, custom_code{moe_tag}]
---
# {title}
A decoder-only language model of one transformer block, stacked {blocks} times; the block was
{found}. {weights}

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(PATH, trust_remote_code=True)
model = AutoModelForCausalLM.from_pretrained(PATH, trust_remote_code=True)
inputs = tokenizer("def main():", return_tensors="pt")
print(tokenizer.decode(model.generate(**inputs, max_new_tokens=64)[0]))
```
Works with transformers 5.20 to 5.24 and PyTorch 2.13; the code is in this folder.

## The block
Model dim {dim}, {layers} sub-layers, from the input upwards:

| sub-layer | |
| --- | --- |
{rows}

| | |
| --- | --- |
| parameters, embeddings included | {parameters:,} |
| activated a token, embeddings apart | {activated:,} |
| experts in a mixture-of-experts sub-layer | {experts} |
| length in training | {length} tokens |
| vocabulary | {vocabulary:,} |

## Where it comes from
{origin}
{limits}"""
LIMITS = """
## Limits
- The model continues text like its training data; nothing was done to make it follow instructions
  or to keep it from harmful output.
- Positions beyond {length} were never trained.
"""
THRESHOLD = """- Where experts choose tokens, each has a threshold that was learned in training and
  stored with the weights: a token's experts depend on that token alone.
"""
CONVOLUTION = """- Attention with a convolution keeps queries in its cache beside keys and values,
  half as much again, and runs the convolution over the whole cache at every step.
"""


def model_card(model: WeightedModel) -> str:
    """Returns the card as Markdown with the hub's header."""
    genome, proxy, told = model.genome, model.proxy, model.provenance
    kinds = {layer.kind for layer in genome.layers}
    return CARD.format(
        moe_tag=", moe" if "moe" in kinds else "",
        title=_title(told),
        blocks=proxy.blocks,
        found=_found(told),
        weights=_weights(told),
        dim=genome.model_dim,
        layers=len(genome.layers),
        rows="\n".join(_row(layer) for layer in genome.canonical()["layers"]),
        parameters=parameters(genome, proxy),
        activated=activated_parameters(genome, proxy),
        experts=proxy.experts if "moe" in kinds else "none",
        length=proxy.sequence_length,
        vocabulary=proxy.vocab_size,
        origin=_origin(model),
        limits=_limits(model),
    )


def _title(told: Provenance) -> str:
    if told.trial_number is None:
        return "A searched transformer block"
    return f"Trial {told.trial_number} of the search {told.search_name}"


def _found(told: Provenance) -> str:
    if told.trial_number is None:
        return "given by its maker"
    scaled = ", then scaled up" if told.scaled_from else ""
    return (
        f"found by an evolutionary search (arXiv:2306.00008) as trial {told.trial_number}{scaled}"
    )


def _weights(told: Provenance) -> str:
    if told.origin != "trained":
        return "**The weights are untrained**: initial values, ready to be trained."
    steps = f" for {told.steps:,} steps" if told.steps is not None else ""
    tokens = f" ({told.tokens:,} tokens)" if told.tokens is not None else ""
    loss = told.validation_loss
    reached = "" if loss is None else f"; validation loss {loss:.4f} nats a token"
    return f"It was trained{steps}{tokens} on the data set `{told.dataset}`{reached}."


def _row(layer: dict[str, Any]) -> str:
    fields = ", ".join(f"{name} {value}" for name, value in layer.items() if name != "kind")
    return f"| {layer['kind']} | {fields} |".replace("_", " ")


def _origin(model: WeightedModel) -> str:
    told = model.provenance
    facts = {
        "genome": model.genome.digest,
        **told.model_dump(mode="json", exclude_none=True, exclude={"versions"}),
        "versions": " ".join(f"{name} {found}" for name, found in told.versions.items()),
    }
    rows = [f"| {name.replace('_', ' ')} | `{value}` |" for name, value in facts.items() if value]
    genome = json.dumps(model.genome.canonical())
    table = "\n".join(["| | |", "| --- | --- |", *rows])
    return f"{table}\n\n```json\n{genome}\n```"


def _limits(model: WeightedModel) -> str:
    layers = model.genome.canonical()["layers"]
    text = LIMITS.format(length=model.proxy.sequence_length)
    if any(layer.get("gating") == "expert_choice" for layer in layers):
        text += THRESHOLD
    if any(layer.get("conv_width") for layer in layers):
        text += CONVOLUTION
    return text
