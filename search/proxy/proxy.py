"""The proxy: what all trials of a search share besides the genome.

Three stacked blocks in arXiv:2306.00008, section 3.4.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Proxy(BaseModel):
    """What all trials of a search share besides the genome.

    Attributes:
        blocks: How often the block is stacked (three in arXiv:2306.00008, section 3.4).
        experts: Experts in every MoE sub-layer.
        head_dim: Width of one attention head; a constant, since 12, 16 and 20 do not divide d.
        batch_size: Sequences per step.
        clock: `wall` stops when the measured training seconds reach the budget; `calibrated`
            turns the budget into a number of steps; `auto` is calibrated on a CPU, else wall.
        routing: `causal`; `paper` reproduces the paper's rule, which leaks future tokens.
        peak_learning_rate: Of the schedule over the fraction of the budget spent.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    blocks: Annotated[int, Field(ge=1, le=256)] = 3
    experts: Annotated[int, Field(ge=1, le=1024)] = 32
    head_dim: Annotated[int, Field(ge=2, le=512, multiple_of=2)] = 64
    vocab_size: Annotated[int, Field(ge=2, le=1_000_000)] = 256
    sequence_length: Annotated[int, Field(ge=2, le=131_072)] = 1024
    batch_size: Annotated[int, Field(ge=1, le=65_536)] = 32
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    optimizer: Literal["adam", "adafactor"] = "adafactor"
    peak_learning_rate: PositiveFloat = 0.01
    warmup_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.05
    schedule: Literal["cosine", "inverse_sqrt", "linear", "constant"] = "cosine"
    gradient_clip: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    load_balance_weight: Annotated[float, Field(ge=0, le=10)] = 0.01
    router_z_weight: Annotated[float, Field(ge=0, le=10)] = 0.001
    dataset: Name = "python-stdlib"
    dataset_hash: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    validation_tokens: Annotated[int, Field(ge=1, le=2**40)] = 65_536
    budget_seconds: Annotated[float, Field(gt=0, le=30 * 24 * 3600)] = 600
    clock: Literal["auto", "wall", "calibrated"] = "auto"
    routing: Literal["causal", "paper"] = "causal"
