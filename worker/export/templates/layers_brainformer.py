"""Norms, attention and dense feed-forward sub-layers of a searched block."""

import torch
import torch.nn.functional as F
from torch import nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS


class RMSNorm(nn.Module):
    """x over its root mean square, times a learned scale, computed in float32."""

    def __init__(self, dim, epsilon):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.epsilon = epsilon

    def forward(self, x):
        wide = x.float()
        inverse = torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.epsilon)
        return (wide * inverse * self.weight.float()).to(x.dtype)


class LayerNorm(nn.Module):
    """x less its mean over its standard deviation, times a scale, plus a bias, in float32."""

    def __init__(self, dim, epsilon):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))
        self.epsilon = epsilon

    def forward(self, x):
        wide = x.float()
        centred = wide - wide.mean(-1, keepdim=True)
        inverse = torch.rsqrt(centred.square().mean(-1, keepdim=True) + self.epsilon)
        return (centred * inverse * self.weight.float() + self.bias.float()).to(x.dtype)


NORMS = {"rms_norm": RMSNorm, "layer_norm": LayerNorm}


def gelu(x):
    return F.gelu(x, approximate="tanh")


def squared_relu(x):
    return F.relu(x).square()


ACTIVATIONS = {"gelu": gelu, "relu": F.relu, "squared_relu": squared_relu}


def activation_of(layer):
    """Returns the activation of a sub-layer, without the gate that it may have."""
    return ACTIVATIONS[layer["activation"].removeprefix("gated_")]


def rotary_table(positions, head_dim, base):
    """Returns cosines and sines [batch, 1, positions, half] of each position's angles, float32."""
    half = head_dim // 2
    powers = torch.arange(half, dtype=torch.float64) / half
    frequencies = (base**-powers).to(positions.device, torch.float32)
    angles = positions[:, None, :, None].float() * frequencies
    return angles.cos(), angles.sin()


def rotated(x, table):
    """Turns each pair (i, i + half) of channels by its position's angle."""
    cosines, sines = table
    first, second = x.float().chunk(2, dim=-1)
    turned = (first * cosines - second * sines, second * cosines + first * sines)
    return torch.cat(turned, dim=-1).to(x.dtype)


def eager_attention(module, query, key, value, attention_mask, scaling, dropout=0.0, **kwargs):
    """Softmax attention written out, for devices without a kernel of it."""
    scores = torch.matmul(query, key.transpose(2, 3)) * scaling
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = scores.softmax(dim=-1, dtype=torch.float32).to(query.dtype)
    weights = F.dropout(weights, p=dropout, training=module.training)
    return torch.matmul(weights, value).transpose(1, 2).contiguous(), weights


class Attention(nn.Module):
    """Causal self-attention; heads x head dim need not be the model dim.

    Primer's depthwise convolution of the projections (arXiv:2109.08668) needs them as they were
    before it, so where there is one the cache holds raw keys with raw queries beside them, and raw
    values, and the convolution is computed again at every step.
    """

    def __init__(self, layer, config, layer_idx):
        super().__init__()
        self.config, self.layer_idx = config, layer_idx
        self.heads, self.head_dim = layer["heads"], config.head_dim
        self.num_key_value_groups, self.is_causal = 1, True
        self.scaling = self.head_dim**-0.5
        self.taps = layer.get("conv_width", 0)
        width = self.heads * self.head_dim
        self.q_proj = nn.Linear(config.hidden_size, width, bias=False)
        self.k_proj = nn.Linear(config.hidden_size, width, bias=False)
        self.v_proj = nn.Linear(config.hidden_size, width, bias=False)
        self.o_proj = nn.Linear(width, config.hidden_size, bias=False)
        if self.taps:
            self.q_taps = nn.Parameter(torch.zeros(self.taps, width))
            self.k_taps = nn.Parameter(torch.zeros(self.taps, width))
            self.v_taps = nn.Parameter(torch.zeros(self.taps, width))

    def forward(self, x, *, attention_mask, rotary, real, cache, **kwargs):
        shape = (*x.shape[:-1], -1, self.head_dim)
        projections = (self.q_proj, self.k_proj, self.v_proj)
        query, key, value = (project(x).view(shape).transpose(1, 2) for project in projections)
        if self.taps:
            query, key, value = self.convolved(query, key, value, real, cache)
        else:
            query, key = rotated(query, rotary), rotated(key, rotary)
            if cache is not None:
                key, value = cache.update(key, value, self.layer_idx)
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(
            self.config._attn_implementation, eager_attention
        )
        mixed, _ = attend(
            self, query, key, value, attention_mask, dropout=0.0, scaling=self.scaling, **kwargs
        )
        return self.o_proj(mixed.reshape(*x.shape[:-1], -1).contiguous())

    def convolved(self, query, key, value, real, cache):
        """Returns convolved and rotated queries, keys and values, the latter two of all positions.

        Only distances between positions count, so places in the cache serve as positions.
        """
        if real is not None:  # what stands before a row's first token is padding, not a tap
            query, key, value = (part * real[:, None, :, None] for part in (query, key, value))
        places = torch.arange(query.shape[2], device=query.device)
        raw = torch.cat([key, query], dim=-1)
        if cache is not None:  # a new tensor: some caches count on in the one that they give
            places = places + cache.get_seq_length(self.layer_idx)
            raw, value = cache.update(raw, value, self.layer_idx)
        key, query = raw.chunk(2, dim=-1)
        query = self.filtered(query, self.q_taps)[:, :, places]
        key, value = self.filtered(key, self.k_taps), self.filtered(value, self.v_taps)
        every = torch.arange(key.shape[2], device=key.device)
        base = self.config.rope_theta
        query = rotated(query, rotary_table(places[None], self.head_dim, base))
        key = rotated(key, rotary_table(every[None], self.head_dim, base))
        return query, key, value

    def filtered(self, raw, taps):
        """Returns the depthwise causal convolution of [batch, heads, positions, head dim]."""
        taps = taps.view(self.taps, 1, self.heads, 1, self.head_dim)
        padded = F.pad(raw, (0, 0, self.taps - 1, 0))
        length = raw.shape[2]
        return sum(padded[:, :, i : i + length] * taps[i] for i in range(self.taps))


def projection(inputs, outputs, rank):
    """Returns a matrix, or two of an inner width where `rank` is above 0."""
    if not rank:
        return nn.Linear(inputs, outputs, bias=False)
    narrow = nn.Linear(inputs, rank, bias=False)
    return nn.Sequential(narrow, nn.Linear(rank, outputs, bias=False))


class FeedForward(nn.Module):
    """Up, activation, down; gated activations have a third matrix."""

    def __init__(self, layer, config, layer_idx):
        super().__init__()
        dim, hidden, rank = config.hidden_size, layer["hidden_dim"], layer.get("rank", 0)
        self.activation = activation_of(layer)
        self.up_proj = projection(dim, hidden, rank)
        gated = layer["activation"].startswith("gated_")
        self.gate_proj = projection(dim, hidden, rank) if gated else None
        self.down_proj = projection(hidden, dim, rank)

    def forward(self, x, **kwargs):
        hidden = self.activation(self.up_proj(x))
        if self.gate_proj is not None:
            hidden = hidden * self.gate_proj(x)
        return self.down_proj(hidden)
