"""A searched block, stacked: a decoder-only language model for transformers.

- Sub-layers in the order of the genome, each a residual branch with its own norm.
- Attention goes through transformers' attention functions, experts through its expert functions.
- Positions are rotary; only attention sub-layers have a cache.
- Experts that choose tokens have a threshold each, learned in training and stored with the weights:
  a token's experts depend on that token alone, so nothing depends on later tokens or other rows.
"""

import dataclasses

import torch
import torch.nn.functional as F
from torch import nn
from transformers import GenerationMixin, PreTrainedModel
from transformers import initialization as init
from transformers.cache_utils import DynamicCache
from transformers.integrations import use_experts_implementation
from transformers.masking_utils import create_causal_mask
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast

from .configuration_brainformer import BrainformerConfig
from .layers_brainformer import NORMS, Attention, FeedForward, RMSNorm, activation_of, rotary_table

TOP_K = {"top_1": 1, "top_2": 2}
# `past_key_values` became `cache` in transformers 5.24; a model that answers by the other name is
# generated from without its cache, and without an error.
OUTPUT_FIELDS = {field.name for field in dataclasses.fields(CausalLMOutputWithPast)}
CACHE_NAME = "cache" if "cache" in OUTPUT_FIELDS else "past_key_values"


class Router(nn.Module):
    """Which experts compute a token and with what weight: always in float32."""

    def __init__(self, layer, config):
        super().__init__()
        self.experts, self.gating = config.experts, layer["gating"]
        self.weight = nn.Parameter(torch.zeros(config.experts, config.hidden_size))
        if self.gating == "expert_choice":
            self.register_buffer("threshold", torch.full((config.experts,), 1 / config.experts))

    def forward(self, x):
        """Returns experts [tokens, k] and their weights; one that is not needed has weight 0."""
        scores = F.linear(x.float(), self.weight.float()).softmax(dim=-1)
        if self.gating == "expert_choice":
            return self.above_threshold(scores)
        k, left, chosen = TOP_K[self.gating], scores, []
        for _ in range(k):  # of equal scores the first expert is taken, as in training
            best = left.argmax(dim=-1, keepdim=True)
            chosen.append(best)
            left = left.scatter(-1, best, -1.0)
        index = torch.cat(chosen, dim=-1)
        weight = scores.gather(-1, index)
        return index, (weight if k == 1 else weight / weight.sum(dim=-1, keepdim=True))

    def above_threshold(self, scores):
        """Returns the experts whose threshold a token's score exceeds (arXiv:2603.11535)."""
        weight = torch.where(scores > self.threshold.float(), scores, 0.0)
        most = self.experts
        if not (torch.compiler.is_compiling() or torch.jit.is_tracing()):
            most = max(1, int((weight > 0).sum(dim=-1).amax())) if weight.numel() else 1
        weight, index = weight.topk(most, dim=-1)
        return index, weight


class _Experts(nn.Module):
    """Packed experts, looped over; the weights' names and layouts are those of transformers."""

    def __init__(self, layer, config):
        super().__init__()
        self.num_experts = config.experts
        self.act_fn = activation_of(layer)
        self.down_proj = nn.Parameter(
            torch.empty(config.experts, config.hidden_size, layer["hidden_dim"])
        )

    def loop(self, x, index, weight, inner):
        """Sums weight x down(inner(token, expert)), expert by expert."""
        out = torch.zeros_like(x)
        for expert in torch.unique(index[weight > 0]).tolist():
            token, place = torch.where((index == expert) & (weight > 0))
            hidden = F.linear(inner(x[token], expert), self.down_proj[expert])
            part = hidden * weight[token, place, None].to(x.dtype)
            out.index_add_(0, token, part.to(out.dtype))
        return out


@use_experts_implementation
class GatedExperts(_Experts):
    """Experts of three matrices; the activated one of a pair comes first."""

    def __init__(self, config, layer):
        super().__init__(layer, config)
        shape = (config.experts, 2 * layer["hidden_dim"], config.hidden_size)
        self.gate_up_proj = nn.Parameter(torch.empty(shape))

    def forward(self, hidden_states, top_k_index, top_k_weights):
        def inner(x, expert):
            active, linear = F.linear(x, self.gate_up_proj[expert]).chunk(2, dim=-1)
            return self.act_fn(active) * linear

        return self.loop(hidden_states, top_k_index, top_k_weights, inner)


@use_experts_implementation(has_gate=False)
class PlainExperts(_Experts):
    """Experts of two matrices."""

    def __init__(self, config, layer):
        super().__init__(layer, config)
        shape = (config.experts, layer["hidden_dim"], config.hidden_size)
        self.up_proj = nn.Parameter(torch.empty(shape))

    def forward(self, hidden_states, top_k_index, top_k_weights):
        def inner(x, expert):
            return self.act_fn(F.linear(x, self.up_proj[expert]))

        return self.loop(hidden_states, top_k_index, top_k_weights, inner)


class MoE(nn.Module):
    """A router and experts."""

    def __init__(self, layer, config, layer_idx):
        super().__init__()
        gated = layer["activation"].startswith("gated_")
        self.router = Router(layer, config)
        self.experts = (GatedExperts if gated else PlainExperts)(config, layer)

    def forward(self, x, **kwargs):
        rows = x.reshape(-1, x.shape[-1])
        index, weight = self.router(rows)
        return self.experts(rows, index, weight.to(x.dtype)).reshape(x.shape)


LAYERS = {"attention": Attention, "feed_forward": FeedForward, "moe": MoE}


class SubLayer(GradientCheckpointingLayer):
    """A residual branch: x + layer(norm(x)), or norm(x + layer(x)) with a post-norm."""

    def __init__(self, layer, config, layer_idx):
        super().__init__()
        self.post = layer.get("norm_position", "pre") == "post"
        norm = NORMS[layer.get("norm", "rms_norm")]
        self.norm = norm(config.hidden_size, config.norm_epsilon)
        self.inner = LAYERS[layer["kind"]](layer, config, layer_idx)

    def forward(self, x, **kwargs):
        if self.post:
            return self.norm(x + self.inner(x, **kwargs))
        return x + self.inner(self.norm(x), **kwargs)


class BrainformerPreTrainedModel(PreTrainedModel):
    """What the models share: how transformers may load, place and run them."""

    config_class = BrainformerConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _no_split_modules = ["SubLayer"]
    _keep_in_fp32_modules_strict = ["router"]
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True

    def _init_weights(self, module):
        super()._init_weights(module)
        if isinstance(module, (_Experts, Router)):
            for value in module.parameters(recurse=False):
                init.normal_(value, std=self.config.initializer_range)
        if isinstance(module, Router) and module.gating == "expert_choice":
            init.constant_(module.threshold, 1 / module.experts)
        if isinstance(module, Attention) and module.taps:
            for taps in (module.q_taps, module.k_taps, module.v_taps):
                init.zeros_(taps)
                init.ones_(taps[-1])


class BrainformerModel(BrainformerPreTrainedModel):
    """The block, stacked, from tokens to the last residual stream."""

    def __init__(self, config):
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(
            [SubLayer(layer, config, layer_idx) for layer, layer_idx in config.sub_layers()]
        )
        self.norm = RMSNorm(config.hidden_size, config.norm_epsilon)
        self.gradient_checkpointing = False
        self.post_init()

    def forward(
        self,
        input_ids=None,
        attention_mask=None,
        position_ids=None,
        past_key_values=None,
        cache=None,
        inputs_embeds=None,
        use_cache=None,
        **kwargs,
    ):
        """Returns the last hidden state [batch, length, model dim], and the cache."""
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give either input_ids or inputs_embeds")
        x = self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        cache = cache if cache is not None else past_key_values
        use_cache = self.config.use_cache if use_cache is None else use_cache
        if use_cache and cache is None:
            cache = DynamicCache(config=self.config)
        shared = self._attention_inputs(x, attention_mask, position_ids, cache)
        for layer in self.layers:
            x = layer(x, cache=cache, **shared, **kwargs)
        fields = {"last_hidden_state": self.norm(x), CACHE_NAME: cache if use_cache else None}
        return BaseModelOutputWithPast(**fields)

    def _attention_inputs(self, x, attention_mask, position_ids, cache):
        """Returns what all attention sub-layers share: mask, rotary table and what is padding."""
        length = x.shape[1]
        past = cache.get_seq_length() if cache is not None else 0
        if position_ids is None:
            position_ids = torch.arange(past, past + length, device=x.device)[None]
        real = None
        if attention_mask is not None:
            # Of a prepared mask, the last query's row: it sees all that is not padding.
            seen = attention_mask if attention_mask.dim() == 2 else attention_mask[:, 0, -1]
            real = seen[:, past : past + length]
            real = (real == 0 if real.is_floating_point() else real != 0).to(x.dtype)
        # The cache's argument has a name of its own in each version, its place is the same.
        mask = None
        if self.config.num_hidden_layers:
            mask = create_causal_mask(
                self.config, x, attention_mask, cache, position_ids=position_ids
            )
        rotary = rotary_table(position_ids, self.config.head_dim, self.config.rope_theta)
        return {"attention_mask": mask, "rotary": rotary, "real": real}


class BrainformerForCausalLM(BrainformerPreTrainedModel, GenerationMixin):
    """The language model: next-token logits."""

    def __init__(self, config):
        super().__init__(config)
        self.model = BrainformerModel(config)
        self.vocab_size = config.vocab_size
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def forward(
        self,
        input_ids=None,
        attention_mask=None,
        position_ids=None,
        past_key_values=None,
        cache=None,
        inputs_embeds=None,
        labels=None,
        use_cache=None,
        logits_to_keep=0,
        **kwargs,
    ):
        """Returns logits [batch, length, vocabulary], and the loss where there are labels.

        The loss is the cross-entropy alone; routers' auxiliary losses are left out.
        """
        outputs = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            cache=cache if cache is not None else past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            **kwargs,
        )
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(outputs.last_hidden_state[:, kept])
        loss = None
        if labels is not None:
            loss = self.loss_function(logits, labels, vocab_size=self.config.vocab_size, **kwargs)
        fields = {"loss": loss, "logits": logits, CACHE_NAME: getattr(outputs, CACHE_NAME)}
        return CausalLMOutputWithPast(**fields)
