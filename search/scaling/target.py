"""Targets: what a block is scaled to, and what belongs to that size rather than to the proxy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from brainformer.search.errors import InvalidSpec
from brainformer.search.proxy.proxy import Name, PositiveFloat, Proxy, RopeBase
from brainformer.search.space.genome import Width
from brainformer.search.validation import BrokenRules, checked
from brainformer.search.yaml_text import YamlProblem, read_yaml

Parameters = Annotated[int, Field(ge=1, le=10**13)]
Ratio = Annotated[float, Field(gt=0, le=10_000, allow_inf_nan=False)]
SMALL, MIDDLE, LARGE = 30_000_000, 400_000_000, 4_000_000_000
VOCABULARY = 32_768
# Table 2 of arXiv:2306.00008 has 64 at 100M, 85 at 1B and 128 at 8B. Loss hardly depends on it over
# a range wider than these bounds (arXiv:2001.08361, figure 5).
ASPECT_RATIOS = (32.0, 256.0)


class LearningRate(BaseModel):
    """The peak learning rate as a rule on the width: `rate x (model_dim / width) ^ exponent`.

    Under Adam, and under Adafactor without parameter scaling, what a step changes in a layer's
    output grows with the width, so the rate of hidden matrices falls as 1 / width (muP,
    arXiv:2203.03466, table 3). One global rate follows the matrices, where nearly all parameters
    are. GPT-3's rates (arXiv:2005.14165, table 2.1) are 6e-4, 2e-4 and 1.2e-4 at widths 768, 2048
    and 4096: the default rule to within an eighth. `python -m benchmarks.width_rate` sweeps rates
    at two widths.

    Attributes:
        rate: At `model_dim`.
        exponent: 1 is muP's for hidden matrices; 0 keeps the rate.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rate: PositiveFloat = 6e-4
    model_dim: Width = 768
    exponent: Annotated[float, Field(ge=0, le=2)] = 1.0

    def at(self, width: int) -> float:
        """Returns the peak learning rate at a model dim."""
        return float(self.rate * (self.model_dim / width) ** self.exponent)


class Target(BaseModel):
    """What a block is scaled to.

    Attributes:
        parameters: Activated a token, embeddings apart, as in Table 2 of arXiv:2306.00008.
        model_dim: None lets the aspect ratio decide.
        method: `stack` multiplies the widths and solves the number of blocks; `compound` grows
            depth and width together (EfficientNet, arXiv:1905.11946).
        aspect_ratio: Bounds of the model dim over the number of pairs of sub-layers; of no effect
            with `compound`.
        rope_base: Of rotary positions; it goes with the length, so the proxy's is not kept.
        dataset: What it is trained on; None keeps the proxy's.
        vocab_size: Of that data's tokenizer; None keeps the proxy's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    parameters: Parameters
    model_dim: Width | None = None
    method: Literal["stack", "compound"] = "stack"
    aspect_ratio: tuple[Ratio, Ratio] = ASPECT_RATIOS
    experts: Annotated[int, Field(ge=1, le=1024)] = 64
    head_dim: Annotated[int, Field(ge=2, le=512, multiple_of=2)] = 128
    sequence_length: Annotated[int, Field(ge=2, le=131_072)] = 1024
    rope_base: RopeBase = 10_000.0
    batch_size: Annotated[int, Field(ge=1, le=65_536)] = 512
    dataset: Name | None = None
    vocab_size: Annotated[int, Field(ge=2, le=1_000_000)] | None = None
    optimizer: Literal["adam", "adafactor"] = "adam"
    learning_rate: LearningRate = LearningRate()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        low, high = self.aspect_ratio
        if low > high:
            raise ValueError(f"aspect_ratio must be [lowest, highest], got [{low:g}, {high:g}]")
        if self.dataset is not None and self.vocab_size is None:
            raise ValueError("a target with a dataset needs its tokenizer's vocab_size")
        if self.model_dim is not None and self.method == "compound":
            raise ValueError("compound scaling finds the width; leave model_dim out")
        return self

    def proxy(self, given: Proxy, model_dim: int, blocks: int) -> Proxy:
        """Returns how a block of that width is trained at this target.

        Args:
            given: What the block was found under: its budget, schedule, weights and clock are kept.
            model_dim: Of the scaled block.
            blocks: How often it is stacked.
        """
        changes: dict[str, object] = {
            "blocks": blocks,
            "experts": self.experts,
            "head_dim": self.head_dim,
            "sequence_length": self.sequence_length,
            "rope_base": self.rope_base,
            "batch_size": self.batch_size,
            "optimizer": self.optimizer,
            "peak_learning_rate": self.learning_rate.at(model_dim),
            "routing_groups": 1,
            "mesh": "auto",
        }
        if self.dataset is not None and self.dataset != given.dataset:
            changes |= {"dataset": self.dataset, "dataset_hash": None}
        if self.vocab_size is not None:
            changes["vocab_size"] = self.vocab_size
        return given.model_copy(update=changes)


def target_of_size(parameters: int) -> Target:
    """Returns a usual target of so many activated parameters.

    Experts, head dim and sequence length at 100M, 1B and 8B are those of Table 2 and section 4 of
    arXiv:2306.00008; batches grow from a quarter of a million tokens to one (arXiv:2005.14165).

    Args:
        parameters: Activated, embeddings apart.

    Raises:
        InvalidSpec: a model cannot be that small or that large.
    """
    if parameters < SMALL:
        shape = {"experts": 16, "head_dim": 32, "sequence_length": 256, "batch_size": 64}
    elif parameters < MIDDLE:
        shape = {"experts": 32, "head_dim": 64, "batch_size": 256}
    elif parameters < LARGE:
        shape = {"experts": 64, "head_dim": 128, "batch_size": 512}
    else:
        shape = {"experts": 64, "head_dim": 128, "batch_size": 1024}
    try:
        return checked(Target, {"parameters": parameters, "vocab_size": VOCABULARY, **shape})
    except BrokenRules as broken:
        raise broken.as_error(InvalidSpec) from None


def parse_target(text: str | bytes) -> Target:
    """Returns the target in YAML or JSON text.

    Raises:
        InvalidSpec: names every field that breaks a rule, and the line.
    """
    lines: Mapping[str, int] = {}
    try:
        read = read_yaml(text)
        data, lines = read.data, read.lines
        return checked(Target, data)
    except YamlProblem as error:
        raise InvalidSpec(f"the target is not YAML: {error}") from None
    except BrokenRules as broken:
        raise broken.as_error(InvalidSpec, lines) from None
