"""GLaM's shape in the transformers library: dense and MoE layers in turn, top-2 of all experts.

The library's experts are gated, GLaM's are not: two thirds of the hidden dim give the same number
of parameters and of FLOPs. Dropless, its fastest attention and grouped matrix products, and
parameters in the compute dtype, which is less work than keeping them in float32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM


def transformers_step(
    layers: list[dict[str, Any]], proxy: Any, *, model_dim: int, device: str, rate: float
) -> tuple[Callable[[np.ndarray], torch.Tensor], int]:
    """Returns a function that takes one Adam step on a batch [B, S + 1], and its parameters.

    Args:
        layers: GLaM's block: attention, dense, attention, MoE, and again.
        proxy: Shapes and precision.
        model_dim: Width of the residual stream.
        device: `cuda` or `cpu`.
        rate: Adam's learning rate.
    """
    dense, experts = layers[1], layers[3]
    heads = layers[0]["heads"]
    config = Qwen3MoeConfig(
        vocab_size=proxy.vocab_size,
        hidden_size=model_dim,
        intermediate_size=dense["hidden_dim"],
        moe_intermediate_size=experts["hidden_dim"] * 2 // 3,
        num_hidden_layers=proxy.blocks * len(layers) // 2,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        head_dim=proxy.head_dim,
        max_position_embeddings=proxy.sequence_length,
        decoder_sparse_step=2,
        num_experts=proxy.experts,
        num_experts_per_tok=2,
        norm_topk_prob=True,
        output_router_logits=True,
        router_aux_loss_coef=proxy.load_balance_weight,
        use_cache=False,
    )
    config._attn_implementation = "sdpa"
    config._experts_implementation = "grouped_mm"
    dtype = getattr(torch, proxy.precision)
    model = Qwen3MoeForCausalLM(config).to(device, dtype).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=rate, fused=True)

    def step(tokens: np.ndarray) -> torch.Tensor:
        batch = torch.from_numpy(tokens[:, :-1]).to(device)
        optimizer.zero_grad(set_to_none=True)
        loss = model(input_ids=batch, labels=batch).loss
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step, sum(parameter.numel() for parameter in model.parameters())
