"""The proxy: what all trials of a search share besides the genome.

Three stacked blocks in arXiv:2306.00008, section 3.4.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from brainformer.search.proxy.mesh import MeshAxes

NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,63}$"  # of pools and data sets
Name = Annotated[str, Field(pattern=NAME_PATTERN)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
RopeBase = Annotated[float, Field(gt=1, le=1e12, allow_inf_nan=False)]


def _is_one(value: object) -> bool:
    return value == 1


def _is_auto(value: object) -> bool:
    return value == "auto"


def _is_validation(value: object) -> bool:
    return value == "validation"


class Proxy(BaseModel):
    """What all trials of a search share besides the genome.

    Attributes:
        blocks: How often the block is stacked (three in arXiv:2306.00008, section 3.4).
        experts: Experts in every MoE sub-layer.
        head_dim: Width of one attention head; a constant, since 12, 16 and 20 do not divide d.
        rope_base: Of the rotary positions' frequencies (arXiv:2104.09864), which fall from 1 to
            nearly 1 / base. 10,000 suits rows of a thousand tokens and is what proxies recorded
            before the field was there had; for `nano`'s 64, 100 leaves no pair of channels idle.
        batch_size: Sequences per step.
        clock: `wall` stops when the measured training seconds reach the budget; `calibrated`
            turns the budget into a number of steps; `auto` is calibrated on a CPU, else wall.
        routing: `causal`; `paper` reproduces the paper's rule, which leaks future tokens.
        peak_learning_rate: Of the schedule over the fraction of the budget spent.
        adam_beta2: Decay of Adam's second moment. The built-in `nano` has 0.95, which halves what
            its losses vary over seeds; 0.98 is that of arXiv:1706.03762, section 5.3, and of
            proxies recorded before the field was there.
        routing_groups: Groups of rows in which training routes apart, each with its share of an
            expert's places. More than one makes experts on many devices cheaper to reach.
        evaluation_split: What losses are measured on. A search reads `validation` alone; the
            proof of a promotion reads `test`, which no choice has seen.
        mesh: Devices along each axis; `auto` follows the rule of docs/devices.md. It changes where
            things are computed, never what. It and the three beside it are left out of JSON where
            they have their defaults, so that older readers understand it.
        remat: Whether blocks are computed again in the backward pass: `always`, so that every
            trial of the search is measured alike, or only by what would not fit otherwise.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    blocks: Annotated[int, Field(ge=1, le=256)] = 3
    experts: Annotated[int, Field(ge=1, le=1024)] = 32
    head_dim: Annotated[int, Field(ge=2, le=512, multiple_of=2)] = 64
    vocab_size: Annotated[int, Field(ge=2, le=1_000_000)] = 256
    sequence_length: Annotated[int, Field(ge=2, le=131_072)] = 1024
    rope_base: RopeBase = 10_000.0
    batch_size: Annotated[int, Field(ge=1, le=65_536)] = 32
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    optimizer: Literal["adam", "adafactor"] = "adafactor"
    peak_learning_rate: PositiveFloat = 0.01
    adam_beta2: Annotated[float, Field(gt=0, lt=1)] = 0.98
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
    evaluation_split: Annotated[Literal["validation", "test"], Field(exclude_if=_is_validation)] = (
        "validation"
    )
    routing_groups: Annotated[int, Field(ge=1, le=65_536, exclude_if=_is_one)] = 1
    mesh: Annotated[Literal["auto"] | MeshAxes, Field(exclude_if=_is_auto)] = "auto"
    remat: Annotated[Literal["auto", "always"], Field(exclude_if=_is_auto)] = "auto"

    @model_validator(mode="after")
    def _rows_can_be_split(self) -> Proxy:
        if self.batch_size % self.routing_groups:
            raise ValueError(
                f"routing_groups ({self.routing_groups}) must divide batch_size ({self.batch_size})"
            )
        if isinstance(self.mesh, MeshAxes):
            if self.batch_size % self.mesh.shards:
                raise ValueError(
                    f"the mesh's data x expert ({self.mesh.shards}) must divide batch_size "
                    f"({self.batch_size}), so that every device has as many rows"
                )
            if self.experts % self.mesh.expert:
                raise ValueError(
                    f"the mesh's expert axis ({self.mesh.expert}) must divide experts "
                    f"({self.experts})"
                )
            if self.routing_groups > 1 and self.routing_groups % self.mesh.shards:
                raise ValueError(
                    f"routing_groups ({self.routing_groups}) must be 1 or a multiple of the "
                    f"mesh's data x expert ({self.mesh.shards})"
                )
        return self

    def trained_on(self, dataset: str) -> Proxy:
        """Returns the proxy with that data; other data has no hash until a worker gives it."""
        if self.dataset == dataset:
            return self
        return self.model_copy(update={"dataset": dataset, "dataset_hash": None})
