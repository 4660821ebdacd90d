"""What a model is built from: the genome and the proxy's shapes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from jax.sharding import PartitionSpec

from brainformer.search.cost.trainable import check_trainable
from brainformer.search.proxy.proxy import Proxy
from brainformer.search.space.genome import Genome

# Axes of a device mesh. Rows of a batch are split over data x expert.
DATA_AXIS = "data"
EXPERT_AXIS = "expert"
MODEL_AXIS = "model"


def partition_spec(*axes: str | tuple[str, ...] | None) -> PartitionSpec:
    """Returns the spec of an array whose dimensions are split over these axes of a mesh."""
    spec: PartitionSpec = PartitionSpec(*axes)  # type: ignore[no-untyped-call]
    return spec


@dataclass(frozen=True)
class ModelConfig:
    """Shapes and rules of one stacked model.

    Attributes:
        rope_base: Of the rotary positions' frequencies.
        compute_dtype: Of matrix products; parameters, router and loss stay float32.
        routing: `causal`, or the paper's leaking rule as a labelled reproduction mode.
        expert_groups: Groups of rows in which training routes apart, each with its share of an
            expert's places. Routing depends on it, and nothing depends on the mesh.
        scan: Whether the stacked blocks are scanned rather than unrolled.
        remat: Whether each block is recomputed in the backward pass.
    """

    genome: Genome
    blocks: int
    experts: int
    head_dim: int
    vocab_size: int
    sequence_length: int
    batch_size: int
    rope_base: float = 10_000.0
    compute_dtype: Literal["float32", "bfloat16"] = "float32"
    routing: Literal["causal", "paper"] = "causal"
    load_balance_weight: float = 0.01
    router_z_weight: float = 0.001
    expert_groups: int = 1
    scan: bool = False
    remat: bool = False

    @classmethod
    def of_proxy(cls, genome: Genome, proxy: Proxy, *, platform: str) -> ModelConfig:
        """Returns the config of a trial; precision `auto` is float32 on CPU, else bfloat16.

        Raises:
            InvalidGenome: a shape cannot work; names the field, its value and the rule.
        """
        check_trainable(genome, proxy)
        auto = "float32" if platform == "cpu" else "bfloat16"
        return cls(
            genome=genome,
            blocks=proxy.blocks,
            experts=proxy.experts,
            head_dim=proxy.head_dim,
            vocab_size=proxy.vocab_size,
            sequence_length=proxy.sequence_length,
            batch_size=proxy.batch_size,
            rope_base=proxy.rope_base,
            compute_dtype=auto if proxy.precision == "auto" else proxy.precision,  # type: ignore[arg-type]
            routing=proxy.routing,
            expert_groups=proxy.routing_groups,
            load_balance_weight=proxy.load_balance_weight,
            router_z_weight=proxy.router_z_weight,
        )
