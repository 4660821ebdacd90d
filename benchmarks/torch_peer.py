"""The benchmarks' models in PyTorch, written as one would by hand, with its own kernels.

Same parameters, same layout of matrices, same rule of routing as `model/`: the benchmark checks
that both have the same loss before it takes times. Attention is PyTorch's own fused kernel and
Adam its fused one, the fastest that eager mode offers; `torch.compile` is a choice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn import functional

EPSILON = 1e-6


class TorchModel:
    """Leaves of the JAX model by path, and the forward pass over them."""

    def __init__(
        self,
        leaves: dict[str, np.ndarray],
        layers: list[dict[str, Any]],
        *,
        blocks: int,
        head_dim: int,
        rope_base: float,
        router_z_weight: float,
        load_balance_weight: float = 0.0,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.leaves = {
            name: torch.tensor(value, requires_grad=True, device=device)
            for name, value in leaves.items()
        }
        self.layers = layers
        self.blocks = blocks
        self.head_dim, self.rope_base = head_dim, rope_base
        self.router_z_weight = router_z_weight
        self.load_balance_weight = load_balance_weight
        self.dtype = dtype

    def loss(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns what is minimised of a batch [B, S + 1], and the cross-entropy in it."""
        batch = tokens.shape[0]
        x = functional.embedding(tokens[:, :-1].reshape(-1), self.leaves["embedding"])
        x = x.to(self.dtype)
        auxiliary = x.new_zeros((), dtype=torch.float32)
        for block in range(self.blocks):
            for index, layer in enumerate(self.layers):
                prefix = f"blocks.{block}.layers.{index}."
                normed = _rms_norm(x, self.leaves[prefix + "norm.scale"])
                if layer["kind"] == "moe":
                    branch, weighted = self._moe(normed, prefix + "inner.", layer, batch)
                    auxiliary = auxiliary + weighted
                elif layer["kind"] == "attention":
                    branch = self._attention(normed, prefix + "inner.", layer, batch)
                else:
                    branch = self._feed_forward(normed, prefix + "inner.", layer)
                x = x + branch
        x = _rms_norm(x, self.leaves["norm.scale"])
        logits = (x @ self.leaves["unembedding"].to(self.dtype)).float()
        loss = functional.cross_entropy(logits, tokens[:, 1:].reshape(-1))
        return loss + auxiliary, loss

    def _attention(
        self, x: torch.Tensor, prefix: str, layer: dict[str, Any], batch: int
    ) -> torch.Tensor:
        qkv = x @ self.leaves[prefix + "qkv"].to(self.dtype)
        qkv = qkv.view(batch, -1, 3, layer["heads"], self.head_dim).permute(2, 0, 3, 1, 4)
        cosines, sines = _rotary(qkv.shape[3], self.head_dim, self.rope_base, x.device)
        query, key = (_rotate(t, cosines, sines) for t in (qkv[0], qkv[1]))
        mixed = functional.scaled_dot_product_attention(query, key, qkv[2], is_causal=True)
        flat = mixed.transpose(1, 2).reshape(x.shape[0], -1)
        return flat @ self.leaves[prefix + "out"].to(self.dtype)

    def _feed_forward(self, x: torch.Tensor, prefix: str, layer: dict[str, Any]) -> torch.Tensor:
        hidden = x @ self.leaves[prefix + "up.matrices.0"].to(self.dtype)
        gate = prefix + "gate.matrices.0"
        active = _activate(layer["activation"], hidden)
        if gate in self.leaves:
            active = active * (x @ self.leaves[gate].to(self.dtype))
        return active @ self.leaves[prefix + "down.matrices.0"].to(self.dtype)

    def _moe(
        self, x: torch.Tensor, prefix: str, layer: dict[str, Any], batch: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns the experts' output and the weighted auxiliary losses."""
        logits = x.float() @ self.leaves[prefix + "router"]
        probabilities = torch.softmax(logits, dim=-1)
        rule = _expert_choice if layer["gating"] == "expert_choice" else _top_k
        tokens, weights, balance = rule(probabilities, layer, batch)
        hidden = torch.bmm(x[tokens], self.leaves[prefix + "up"].to(self.dtype))
        active = _activate(layer["activation"], hidden)
        if prefix + "gate" in self.leaves:
            active = active * torch.bmm(x[tokens], self.leaves[prefix + "gate"].to(self.dtype))
        out = torch.bmm(active, self.leaves[prefix + "down"].to(self.dtype))
        weighted = (out * weights[..., None].to(self.dtype)).view(-1, x.shape[1])
        total = torch.zeros_like(x).index_add(0, tokens.reshape(-1), weighted)
        z_loss = torch.logsumexp(logits, dim=-1).square().mean()
        return total, self.router_z_weight * z_loss + self.load_balance_weight * balance


Placed = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def _expert_choice(probabilities: torch.Tensor, layer: dict[str, Any], batch: int) -> Placed:
    """Returns tokens and weights [experts, places] and the balance loss: none.

    Expert choice across the batch at one position, as `brainformer.model.experts.routing` has it.
    """
    experts = probabilities.shape[1]
    length = probabilities.shape[0] // batch
    rows = int(layer["capacity_factor"] * batch / experts + 1e-6)
    scores = probabilities.detach().view(batch, length, experts)
    row = torch.topk(scores, rows, dim=0).indices  # (rows, S, E)
    positions = torch.arange(length, device=row.device)[None, :, None]
    tokens = (row * length + positions).permute(2, 1, 0).reshape(experts, -1)
    return tokens, torch.gather(probabilities.t(), 1, tokens), probabilities.new_zeros(())


def _top_k(probabilities: torch.Tensor, layer: dict[str, Any], batch: int) -> Placed:
    """Returns the same of token choice; a capacity accrues with the position."""
    count, experts = probabilities.shape
    length, k = count // batch, {"top_1": 1, "top_2": 2}[layer["gating"]]
    values, chosen = torch.topk(probabilities, k, dim=1)
    gates = values / values.sum(dim=1, keepdim=True) if k > 1 else values
    # Turns are taken by position, then first choices before second ones, then by row.
    order = chosen.view(batch, length, k).permute(1, 2, 0).reshape(length, k * batch)
    wanted = functional.one_hot(order, experts)  # (S, kB, E)
    demand = wanted.sum(dim=1).cumsum(dim=0)
    share = layer["capacity_factor"] * batch / experts
    steps = torch.arange(1, length + 1, device=order.device)
    capacity = (share * steps + 1e-4).floor().long().clamp(max=count)[:, None]
    taken = demand + (capacity - demand).cummin(dim=0).values.clamp(max=0)
    before = functional.pad(taken[:-1], (0, 0, 1, 0))
    turn = (wanted.cumsum(dim=1) - wanted + before[:, None]).gather(2, order[..., None])[..., 0]
    kept = turn < capacity
    places = max(1, min(count, int(share * length + 1e-4)))
    place = torch.where(kept, order * places + turn, experts * places).reshape(-1)
    row = torch.arange(batch, device=order.device) * length
    token = (row[None, None] + steps[:, None, None] - 1).expand(length, k, batch).reshape(-1)
    tokens = order.new_zeros(experts * places + 1).index_put((place,), token)[:-1]
    gate = gates.view(batch, length, k).permute(1, 2, 0).reshape(-1)
    weights = gate.new_zeros(experts * places + 1).index_put((place,), gate)[:-1]
    choices = functional.one_hot(chosen, experts).sum(dim=1).float().mean(dim=0) / k
    balance = experts * (choices * probabilities.mean(dim=0)).sum()
    return tokens.view(experts, places), weights.view(experts, places), balance


def training_step(
    model: TorchModel,
    *,
    learning_rate: float,
    betas: tuple[float, float],
    epsilon: float,
    compiled: bool = False,
) -> Callable[[np.ndarray], torch.Tensor]:
    """Returns a function that takes one Adam step on a batch and returns its cross-entropy.

    On a GPU it may still be under way.

    Args:
        model: Leaves and forward pass.
        learning_rate: Of Adam.
        betas: Of its two moments.
        epsilon: Added to the root of the second.
        compiled: Whether `torch.compile` compiles forward and backward pass.
    """
    loss = torch.compile(model.loss) if compiled else model.loss
    optimizer = torch.optim.Adam(
        list(model.leaves.values()), lr=learning_rate, betas=betas, eps=epsilon, fused=True
    )
    device = next(iter(model.leaves.values())).device

    def step(tokens: np.ndarray) -> torch.Tensor:
        optimizer.zero_grad(set_to_none=True)
        total, cross_entropy = loss(torch.from_numpy(tokens).to(device))
        total.backward()
        optimizer.step()
        return cross_entropy.detach()

    return step


def _rms_norm(x: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    return functional.rms_norm(x, (x.shape[-1],), scale.to(x.dtype), EPSILON)


def _activate(name: str, hidden: torch.Tensor) -> torch.Tensor:
    kind = name.removeprefix("gated_")
    if kind == "gelu":
        return functional.gelu(hidden, approximate="tanh")
    active = functional.relu(hidden)
    return active.square() if kind == "squared_relu" else active


def _rotary(
    length: int, head_dim: int, base: float, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    half = head_dim // 2
    frequencies = base ** (-torch.arange(half, device=device) / half)
    angles = torch.arange(length, device=device)[:, None] * frequencies
    return torch.cos(angles), torch.sin(angles)


def _rotate(x: torch.Tensor, cosines: torch.Tensor, sines: torch.Tensor) -> torch.Tensor:
    first, second = x.chunk(2, dim=-1)
    turned = (first * cosines - second * sines, second * cosines + first * sines)
    return torch.cat(turned, dim=-1).to(x.dtype)
