"""Analytic costs of a genome under a proxy: parameters, FLOPs, memory, and what cannot train.

Counts follow the one reading that fits Table 2 of arXiv:2306.00008: gated dense layers have three
matrices, experts as many as their activation asks for, top-2 activates two of them, embeddings
stand apart. `cost_analysis()` of a compiler counts the body of a scan once, so FLOPs are ours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from brainformer.search.proxy.mesh import ONE_DEVICE, MeshAxes
from brainformer.search.proxy.proxy import Proxy
from brainformer.search.space.genome import (
    Attention,
    FeedForward,
    Genome,
    MoE,
    SubLayer,
)

TOP_K = {"top_1": 1, "top_2": 2}
FLOAT32_BYTES = 4
# Adam keeps two moments; Adafactor's factored second moment is rows + columns, about nothing.
OPTIMIZER_FLOATS = {"adam": 2.0, "adafactor": 0.02}
# A gradient step holds every gradient once, on accelerators in the dtype of its matrix product. On
# CPU Adam works on one vector of all parameters, a second copy of them.
VECTOR_FLOATS = {"adam": 1.0, "adafactor": 0.0}
# Kept for the backward pass, per hidden unit: measured from the compiler's account of the step
# (docs/experiments/model.md). Experts fuse more of it away.
SAVED_PER_HIDDEN = {
    "relu": 2.0,
    "squared_relu": 2.0,
    "gelu": 3.0,
    "gated_relu": 3.0,
    "gated_gelu": 5.0,
}
SAVED_PER_EXPERT_HIDDEN = {
    "relu": 1.5,
    "squared_relu": 1.5,
    "gelu": 2.5,
    "gated_relu": 2.25,
    "gated_gelu": 4.25,
}
# The same on a GPU, of dense layers and experts alike: what each matrix that widens gives, what the
# last one takes, and some of their gradient. What relu gave tells where it is flat.
SAVED_PER_HIDDEN_GPU = {
    "relu": 1.0,
    "squared_relu": 2.5,
    "gelu": 2.5,
    "gated_relu": 2.5,
    "gated_gelu": 3.5,
}
# The same on a TPU, whose compiler keeps what the matrices that widen give and nothing else
# (benchmarks/tpu_compile.py).
SAVED_PER_HIDDEN_TPU = {
    "relu": 1.0,
    "squared_relu": 1.0,
    "gelu": 1.0,
    "gated_relu": 2.0,
    "gated_gelu": 2.0,
}
# Behind a gate, a narrow matrix's operand is not computed again: v5p keeps it, v6e does not.
SAVED_BEFORE_RANK_TPU = 1.0
# Per head and pair of positions: exponentials, and some of their gradient while it is computed.
SAVED_PER_SCORE = 1.25
SAVED_PER_SCORE_TPU = 1.0
# Of a block that is computed again, gradients of what it keeps, by the accounts of GLaM's block on
# one v6e and eight v5p.
GRADIENTS_OF_KEPT = 0.5
# Queries of attention from which two halves are faster than one span (model/attention.py).
SHORTEST_IN_HALVES = 128
# Places in a block of one expert's tokens, without a capacity; the model computes by it on CPU.
DROPLESS_BLOCK = 64


@dataclass(frozen=True)
class LayerCost:
    """Cost of one sub-layer.

    Attributes:
        parameters: Matrices, router, convolutions and the norm.
        activated: Of these, what one token meets.
        forward_flops: A token, in the forward pass of a training step.
        saved_floats: A token, kept from the forward pass for the backward pass.
        saved_floats_gpu: The same in bfloat16 on a GPU, whose attention is one kernel and whose
            activations are computed again.
        saved_floats_tpu: The same in bfloat16 on a TPU.
        expert_parameters: Of the parameters those that an expert axis splits.
        whole_floats: Of the saved floats those that a model axis does not split.
    """

    parameters: int
    activated: int
    forward_flops: float
    saved_floats: float
    saved_floats_gpu: float
    saved_floats_tpu: float
    expert_parameters: int = 0
    whole_floats: float = 0.0


def is_gated(activation: str) -> bool:
    """Returns whether an activation has a third matrix that multiplies it."""
    return activation.startswith("gated_")


def matrix_count(activation: str) -> int:
    """Returns the number of matrices of a feed-forward layer with that activation."""
    return 3 if is_gated(activation) else 2


def experts_per_token(layer: MoE, experts: int) -> float:
    """Returns how many experts compute a token on average in training.

    A capacity factor below k leaves top-k fewer slots than choices: the rest are dropped.
    """
    if layer.gating == "expert_choice":
        return min(layer.capacity_factor, experts)
    k = min(TOP_K[layer.gating], experts)
    return min(k, layer.capacity_factor) if layer.capacity_factor > 0 else k


def norm_parameters(layer: SubLayer, model_dim: int) -> int:
    """Returns the parameters of a sub-layer's norm: a scale, for layer norm also a shift."""
    return model_dim * (2 if layer.norm == "layer_norm" else 1)


def query_spans(length: int) -> list[tuple[int, int]]:
    """Returns the spans of queries that attention takes at once, each with the keys up to its end.

    Of two halves the first never meets the second's keys: a quarter of the pairs is not computed.
    """
    if length < SHORTEST_IN_HALVES:
        return [(0, length)]
    return [(0, length // 2), (length // 2, length)]


def _attention(layer: Attention, dim: int, proxy: Proxy) -> LayerCost:
    width = layer.heads * proxy.head_dim
    matrices = 4 * dim * width
    convolution = 3 * layer.conv_width * width
    parameters = matrices + convolution + norm_parameters(layer, dim)
    # Causal attention looks at half the sequence on average, in scores and in values.
    flops = 2.0 * (matrices + convolution) + 2.0 * proxy.sequence_length * width
    saved = 3.0 * dim + 4 * width + (9 * width if layer.conv_width else 0)
    pairs = sum((end - first) * end for first, end in query_spans(proxy.sequence_length))
    scores = layer.heads * pairs / proxy.sequence_length
    return LayerCost(
        parameters=parameters,
        activated=parameters,
        forward_flops=flops,
        saved_floats=saved + SAVED_PER_SCORE * scores,
        saved_floats_gpu=saved,
        saved_floats_tpu=saved + SAVED_PER_SCORE_TPU * scores,
        whole_floats=3.0 * dim,
    )


def _feed_forward(layer: FeedForward, dim: int, proxy: Proxy) -> LayerCost:
    del proxy
    count = matrix_count(layer.activation)
    rank = layer.rank
    matrix = rank * (dim + layer.hidden_dim) if rank else dim * layer.hidden_dim
    parameters = count * matrix + norm_parameters(layer, dim)
    saved = float(3 * dim + (count + 1) * rank)
    per_hidden_tpu = SAVED_PER_HIDDEN_TPU[layer.activation]
    if rank and is_gated(layer.activation):
        per_hidden_tpu += SAVED_BEFORE_RANK_TPU
    return LayerCost(
        parameters=parameters,
        activated=parameters,
        forward_flops=2.0 * count * matrix,
        saved_floats=saved + SAVED_PER_HIDDEN[layer.activation] * layer.hidden_dim,
        saved_floats_gpu=saved + SAVED_PER_HIDDEN_GPU[layer.activation] * layer.hidden_dim,
        saved_floats_tpu=saved + per_hidden_tpu * layer.hidden_dim,
        whole_floats=saved,
    )


def _moe(layer: MoE, dim: int, proxy: Proxy) -> LayerCost:
    experts = proxy.experts
    count = matrix_count(layer.activation)
    expert = count * dim * layer.hidden_dim
    router = dim * experts
    shared = router + norm_parameters(layer, dim)
    k = TOP_K.get(layer.gating)
    nominal = min(k or layer.capacity_factor, experts)
    computed = experts_per_token(layer, experts)
    tokens = proxy.batch_size * proxy.sequence_length
    slots, copied = float(min(layer.capacity_factor, experts)), 0.0
    if not layer.capacity_factor:
        block = min(DROPLESS_BLOCK, tokens)
        slots = computed + experts * block / tokens
        copied = slots / block * expert  # every block has its expert's matrices
    hidden = slots * layer.hidden_dim
    shared_floats = 2.0 * dim + 3 * experts
    saved = shared_floats + slots * 3 * dim + copied
    return LayerCost(
        parameters=experts * expert + shared,
        activated=round(nominal * expert) + shared,
        forward_flops=2.0 * (router + computed * expert),
        saved_floats=saved + SAVED_PER_EXPERT_HIDDEN[layer.activation] * hidden,
        saved_floats_gpu=saved + SAVED_PER_HIDDEN_GPU[layer.activation] * hidden,
        saved_floats_tpu=shared_floats
        + slots * dim
        + copied
        + SAVED_PER_HIDDEN_TPU[layer.activation] * hidden,
        expert_parameters=experts * expert,
        whole_floats=shared_floats + slots * dim,
    )


COSTS: dict[str, Callable[[Any, int, Proxy], LayerCost]] = {
    "attention": _attention,
    "feed_forward": _feed_forward,
    "moe": _moe,
}


def layer_costs(genome: Genome, proxy: Proxy) -> list[LayerCost]:
    """Returns the cost of each sub-layer of one block, in order."""
    return [COSTS[layer.kind](layer, genome.model_dim, proxy) for layer in genome.layers]


def embedding_parameters(genome: Genome, proxy: Proxy) -> int:
    """Returns the parameters of the token embedding and of the output projection."""
    return 2 * proxy.vocab_size * genome.model_dim


def stacked_parameters(genome: Genome, proxy: Proxy) -> tuple[int, int]:
    """Returns the parameters of the stacked blocks and of the last norm: all, and those activated.

    Activated are those that one token meets, embeddings apart (Table 2's reading): top-k activates
    k experts whatever is dropped, expert choice its capacity factor on average.
    """
    costs, last_norm = layer_costs(genome, proxy), genome.model_dim
    every = sum([cost.parameters for cost in costs])
    activated = sum([cost.activated for cost in costs])
    return proxy.blocks * every + last_norm, proxy.blocks * activated + last_norm


def non_embedding_parameters(genome: Genome, proxy: Proxy) -> int:
    """Returns the parameters of the stacked blocks and of the last norm."""
    return stacked_parameters(genome, proxy)[0]


def parameters(genome: Genome, proxy: Proxy) -> int:
    """Returns all parameters, embeddings too."""
    return non_embedding_parameters(genome, proxy) + embedding_parameters(genome, proxy)


def activated_parameters(genome: Genome, proxy: Proxy) -> int:
    """Returns the parameters that one token meets, embeddings apart."""
    return stacked_parameters(genome, proxy)[1]


def flops_per_token(genome: Genome, proxy: Proxy) -> float:
    """Returns the useful FLOPs a token of one training step, forward and backward.

    Backward counts twice the forward pass; causal attention counts half of S x S; slots that
    padding fills and recomputation count nothing.
    """
    block = sum(cost.forward_flops for cost in layer_costs(genome, proxy))
    forward = proxy.blocks * block + 2.0 * proxy.vocab_size * genome.model_dim
    return 3.0 * forward


def memory_bytes(
    genome: Genome,
    proxy: Proxy,
    *,
    platform: str = "cpu",
    mesh: MeshAxes = ONE_DEVICE,
    remat: bool = False,
) -> int:
    """Returns the peak bytes of a training step: parameters, optimiser, gradients, activations.

    Every block is unrolled and, unless `remat`, nothing is computed again. Measured on CPU
    (benchmarks/memory_estimate.py) and on one GPU (benchmarks/gpu_step.py, gpu_search.py); on TPUs
    it follows the compiler's account (benchmarks/tpu_compile.py).

    Args:
        genome: The block.
        proxy: What all trials share.
        platform: `cpu` computes in float32 under precision `auto`, accelerators in bfloat16.
        mesh: Of the devices; the bytes are those of one.
        remat: Whether every block is computed again in the backward pass: then its input alone is
            kept, and of one block at a time the rest, beside its gradients.
    """
    tokens = proxy.batch_size * proxy.sequence_length / mesh.shards
    half = proxy.precision == "bfloat16" or (proxy.precision == "auto" and platform != "cpu")
    activation_bytes = 2 if half else FLOAT32_BYTES
    costs = layer_costs(genome, proxy)
    kept = sum(_kept(cost, platform if half else "cpu", mesh.model) for cost in costs)
    floats = 1.0 + OPTIMIZER_FLOATS[proxy.optimizer]
    floats += VECTOR_FLOATS[proxy.optimizer] if platform == "cpu" else 0.0
    gradient_bytes = FLOAT32_BYTES if platform == "cpu" else activation_bytes
    state = _parameters_on_one(genome, proxy, mesh) * (floats * FLOAT32_BYTES + gradient_bytes)
    logits = proxy.vocab_size * (FLOAT32_BYTES + activation_bytes)  # and their gradient
    ends = 3.0 * genome.model_dim * activation_bytes + logits
    if mesh.shards > 1 and proxy.routing_groups == 1 and any(c.expert_parameters for c in costs):
        # All tokens and what they become meet on each device (model/experts/expert_parallel.py).
        ends += 2.0 * mesh.shards * genome.model_dim * activation_bytes
    stacked = proxy.blocks * kept
    if remat:
        stacked = (1.0 + GRADIENTS_OF_KEPT) * kept + (proxy.blocks - 1) * genome.model_dim
    return int(state + tokens * (stacked * activation_bytes + ends))


def _kept(cost: LayerCost, platform: str, model: int) -> float:
    """Returns the floats a token that a sub-layer keeps where `model` devices split its widths."""
    by_platform = {"gpu": cost.saved_floats_gpu, "tpu": cost.saved_floats_tpu}
    kept = by_platform.get(platform, cost.saved_floats)
    whole = min(kept, cost.whole_floats)
    return whole + (kept - whole) / model


def _parameters_on_one(genome: Genome, proxy: Proxy, mesh: MeshAxes) -> float:
    """Returns the parameters on one device: experts, heads and widths are split over its mesh."""
    block = sum(
        (cost.parameters - cost.expert_parameters + cost.expert_parameters / mesh.expert)
        / mesh.model
        for cost in layer_costs(genome, proxy)
    )
    return proxy.blocks * block + genome.model_dim + embedding_parameters(genome, proxy)
