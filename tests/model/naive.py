"""Every sub-layer a second time: one token, one head and one expert at a time, in float64.

Nothing here is shared with `model/` but the names of the parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

EPSILON = 1e-6
Parameters = dict[str, np.ndarray]


def norm(kind: str, p: Parameters, x: np.ndarray) -> np.ndarray:
    out = np.empty_like(x)
    for t, token in enumerate(x):
        mean = token.mean() if kind == "layer_norm" else 0.0
        spread = np.sqrt(np.mean((token - mean) ** 2) + EPSILON)
        out[t] = (token - mean) / spread * p["norm.scale"] + p.get("norm.bias", 0.0)
    return out


def activate(name: str, hidden: np.ndarray, gate: np.ndarray | None) -> np.ndarray:
    kind = name.removeprefix("gated_")
    if kind == "gelu":
        inner = np.sqrt(2 / np.pi) * (hidden + 0.044715 * hidden**3)
        active = 0.5 * hidden * (1 + np.tanh(inner))
    else:
        active = np.where(hidden > 0, hidden, 0.0) ** (2 if kind == "squared_relu" else 1)
    return active if gate is None else active * gate


def rotated(x: np.ndarray, position: int, base: float) -> np.ndarray:
    """Returns one head's channels, each pair (i, i + half) a complex number that is turned."""
    half = len(x) // 2
    angles = position * base ** (-np.arange(half) / half)
    turned = (x[:half] + 1j * x[half:]) * np.exp(1j * angles)
    return np.concatenate([turned.real, turned.imag])


def attention(
    layer: Any,
    p: Parameters,
    x: np.ndarray,
    *,
    batch: int,
    head_dim: int,
    rope_base: float,
    **_: Any,
) -> tuple[np.ndarray, float]:
    out = np.zeros_like(x)
    for row in np.split(np.arange(len(x)), batch):
        projected = x[row] @ p["inner.qkv"]
        if layer.conv_width:
            projected = convolved(projected, p["inner.kernel"])
        query, key, value = np.split(projected, 3, axis=1)
        for head in range(layer.heads):
            own = slice(head * head_dim, (head + 1) * head_dim)
            for t in range(len(row)):
                turned = rotated(query[t, own], t, rope_base)
                scores = [turned @ rotated(key[s, own], s, rope_base) for s in range(t + 1)]
                weights = softmax(np.array(scores) / np.sqrt(head_dim))
                out[row[t]] += weights @ value[: t + 1, own] @ p["inner.out"][own]
    return out, 0.0


def convolved(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Returns, per channel, the last positions weighted; what lies before the row is nothing."""
    out = np.zeros_like(x)
    for t in range(len(x)):
        for tap in range(len(kernel)):
            before = t - (len(kernel) - 1 - tap)
            if before >= 0:
                out[t] += kernel[tap] * x[before]
    return out


def feed_forward(layer: Any, p: Parameters, x: np.ndarray, **_: Any) -> tuple[np.ndarray, float]:
    def matrix(name: str) -> np.ndarray:
        first = p[f"inner.{name}.matrices.0"]
        return first @ p[f"inner.{name}.matrices.1"] if layer.rank else first

    out = np.empty_like(x)
    for t, token in enumerate(x):
        gate = token @ matrix("gate") if "inner.gate.matrices.0" in p else None
        out[t] = activate(layer.activation, token @ matrix("up"), gate) @ matrix("down")
    return out, 0.0


def moe(
    layer: Any, p: Parameters, x: np.ndarray, *, batch: int, training: bool, **_: Any
) -> tuple[np.ndarray, float]:
    """Returns the output, and the sum of both auxiliary losses."""
    logits = x @ p["inner.router"]
    probabilities = np.array([softmax(row) for row in logits])
    z_loss = np.mean([np.log(np.exp(row).sum()) ** 2 for row in logits])
    out = np.zeros_like(x)
    gates, balance = gates_of(layer, p, probabilities, batch, training)
    for t, e in zip(*np.nonzero(gates), strict=True):
        gate = x[t] @ p["inner.gate"][e] if "inner.gate" in p else None
        hidden = activate(layer.activation, x[t] @ p["inner.up"][e], gate)
        out[t] += gates[t, e] * (hidden @ p["inner.down"][e])
    return out, balance + z_loss


def gates_of(
    layer: Any, p: Parameters, probabilities: np.ndarray, batch: int, training: bool
) -> tuple[np.ndarray, float]:
    """Returns each token's weight for each expert, 0 where it does not compute it; the balance."""
    tokens, experts = probabilities.shape
    length = tokens // batch
    if layer.gating == "expert_choice":
        if not training:
            return np.where(probabilities > p["inner.cutoff"], probabilities, 0.0), 0.0
        gates = np.zeros_like(probabilities)
        for position in range(length):
            at = np.arange(batch) * length + position
            for e in range(experts):
                best = np.argsort(-probabilities[at, e], kind="stable")
                chosen = at[best[: int(layer.capacity_factor * batch / experts + 1e-6)]]
                gates[chosen, e] = probabilities[chosen, e]
        return gates, 0.0
    k = {"top_1": 1, "top_2": 2}[layer.gating]
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :k]
    gates = np.zeros_like(probabilities)
    taken = np.zeros(experts)
    for position in range(length):
        room = layer.capacity_factor * batch * (position + 1) / experts + 1e-4
        for choice in range(k):
            for row in range(batch):
                t = row * length + position
                e = order[t, choice]
                if taken[e] < int(room) or not (training and layer.capacity_factor):
                    taken[e] += 1
                    whole = probabilities[t, order[t]].sum() if k > 1 else 1.0
                    gates[t, e] = probabilities[t, e] / whole
    share = np.bincount(order.reshape(-1), minlength=experts) / order.size
    return gates, float(experts * share @ probabilities.mean(axis=0))


def softmax(scores: np.ndarray) -> np.ndarray:
    weights: np.ndarray = np.exp(scores) / np.exp(scores).sum()
    return weights


# One row per kind of sub-layer: (layer, parameters, x) to output and auxiliary losses.
REFERENCES: dict[str, Callable[..., tuple[np.ndarray, float]]] = {
    "attention": attention,
    "feed_forward": feed_forward,
    "moe": moe,
}


def branch(layer: Any, p: Parameters, x: np.ndarray, **shapes: Any) -> tuple[np.ndarray, float]:
    """Returns the residual stream after a sub-layer, and its auxiliary losses."""
    inner = REFERENCES[layer.kind]
    if layer.norm_position == "post":
        out, loss = inner(layer, p, x, **shapes)
        return norm(layer.norm, p, x + out), loss
    out, loss = inner(layer, p, norm(layer.norm, p, x), **shapes)
    return x + out, loss


def decoder_logits(config: Any, p: Parameters, tokens: np.ndarray) -> np.ndarray:
    """Returns the logits of a whole model under the rule of evaluation."""
    batch = len(tokens)
    x = p["embedding"][tokens.reshape(-1)]
    shapes = {"batch": batch, "head_dim": config.head_dim, "rope_base": config.rope_base}
    for block in range(config.blocks):
        for index, layer in enumerate(config.genome.layers):
            start = f"blocks.{block}.layers.{index}."
            own = {n.removeprefix(start): v for n, v in p.items() if n.startswith(start)}
            x, _ = branch(layer, own, x, training=False, **shapes)
    logits = norm("rms_norm", p, x) @ p["unembedding"]
    return logits.reshape(*tokens.shape, -1)


def cross_entropy(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    return np.array([-np.log(softmax(row)[t]) for row, t in zip(logits, targets, strict=True)])
