"""Configuration of a searched block, stacked: a genome and the shapes that it leaves open."""

from typing import Any, ClassVar

from transformers import PreTrainedConfig


class BrainformerConfig(PreTrainedConfig):
    """Shapes of a decoder-only language model of one block stacked `blocks` times.

    Attributes:
        genome: The block: `model_dim` and its sub-layers in order.
        blocks: How often the block is stacked.
        experts: Experts in every mixture-of-experts sub-layer.
        head_dim: Width of an attention head.
        max_position_embeddings: The length that it was trained at; positions are rotary.
        num_hidden_layers: Attention sub-layers, for these alone have a cache.
        num_attention_heads: Of the attention sub-layer that has most.
    """

    model_type = "brainformer"
    base_model_tp_plan: ClassVar[dict[str, Any] | None] = {
        "layers.*.inner.q_proj": "colwise",
        "layers.*.inner.k_proj": "colwise",
        "layers.*.inner.v_proj": "colwise",
        "layers.*.inner.o_proj": "rowwise",
        "layers.*.inner.up_proj": "colwise",
        "layers.*.inner.gate_proj": "colwise",
        "layers.*.inner.down_proj": "rowwise",
        "layers.*.inner.experts.gate_up_proj": "packed_colwise",
        "layers.*.inner.experts.up_proj": "colwise",
        "layers.*.inner.experts.down_proj": "rowwise",
        "layers.*.inner.experts": "moe_tp_experts",
    }

    genome: dict | None = None
    blocks: int = 1
    experts: int = 1
    head_dim: int = 64
    vocab_size: int = 256
    hidden_size: int = 0
    num_hidden_layers: int = 0
    num_attention_heads: int = 1
    num_key_value_heads: int = 1
    max_position_embeddings: int = 1024
    norm_epsilon: float = 1e-6
    rope_theta: float = 10_000.0
    initializer_range: float = 0.02
    use_cache: bool = True
    tie_word_embeddings: bool = False
    pad_token_id: int | None = None
    bos_token_id: int | None = None
    eos_token_id: int | None = None

    def sub_layers(self):
        """Returns the sub-layers of all blocks in order, each with its number in the cache."""
        found, cached = [], 0
        for layer in (self.genome or {"layers": []})["layers"] * self.blocks:
            found.append((layer, cached))
            cached += layer["kind"] == "attention"
        return found
