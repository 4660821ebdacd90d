"""Genomes: the one definition of a block, used by SQL, REST, leases and export.

A block is an ordered list of sub-layers (arXiv:2306.00008, Table 1 and equation 3).
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError, from_json

from brainformer.search.errors import InvalidGenome
from brainformer.search.validation import BrokenRules, checked

MAX_LAYERS = 64
MAX_WIDTH = 65_536

Activation: TypeAlias = Literal["relu", "gelu", "gated_relu", "gated_gelu", "squared_relu"]
Gating: TypeAlias = Literal["top_1", "top_2", "expert_choice"]
Norm: TypeAlias = Literal["rms_norm", "layer_norm"]
NormPosition: TypeAlias = Literal["pre", "post"]
Width = Annotated[int, Field(ge=1, le=MAX_WIDTH)]


class SubLayer(BaseModel):
    """What every sub-layer has: a residual branch with its own normalisation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    norm: Norm = "rms_norm"
    norm_position: NormPosition = "pre"


class Attention(SubLayer):
    """Causal multi-head self-attention.

    `heads` x the proxy's head dim is the projection's width; it need not equal the model dim.
    `conv_width` > 0 adds Primer's depthwise causal convolution after the projections
    (arXiv:2109.08668).
    """

    kind: Literal["attention"] = "attention"
    heads: Annotated[int, Field(ge=1, le=1024)]
    conv_width: Annotated[int, Field(ge=0, le=16)] = 0


class FeedForward(SubLayer):
    """A dense feed-forward layer; gated activations have three matrices, others two.

    `rank` > 0 factorises each matrix into two of that inner width.
    """

    kind: Literal["feed_forward"] = "feed_forward"
    hidden_dim: Width
    activation: Activation
    rank: Annotated[int, Field(ge=0, le=MAX_WIDTH)] = 0


class MoE(SubLayer):
    """A sparsely gated feed-forward layer: a router and experts of `hidden_dim`.

    `capacity_factor` is the average number of experts per token under expert choice; for top-k,
    an expert's capacity is `capacity_factor` x tokens / experts, and 0 means dropless.
    """

    kind: Literal["moe"] = "moe"
    hidden_dim: Width
    activation: Activation
    gating: Gating
    capacity_factor: Annotated[float, Field(ge=0, le=64, allow_inf_nan=False)] = 1


Layer = Annotated[Attention | FeedForward | MoE, Field(discriminator="kind")]
LAYER_KINDS: dict[str, type[Attention | FeedForward | MoE]] = {
    "attention": Attention,
    "feed_forward": FeedForward,
    "moe": MoE,
}


TEXT = "_canonical_text"  # kept beside a genome's fields: it is asked for several times


class Genome(BaseModel):
    """One block: model dim and an ordered list of sub-layers.

    Optional fields that keep their default are left out of the canonical JSON, so
    a new optional field never changes the digest of an old genome.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    model_dim: Width
    layers: Annotated[tuple[Layer, ...], Field(min_length=1, max_length=MAX_LAYERS)]

    @model_validator(mode="after")
    def _fits_together(self) -> Genome:
        for index, layer in enumerate(self.layers):
            if isinstance(layer, FeedForward):
                limit = min(self.model_dim, layer.hidden_dim)
                if layer.rank > limit:
                    rule = f"must be at most min(model_dim, hidden_dim) = {limit}"
                    raise _broken(index, "rank", rule, layer.rank)
            elif (
                isinstance(layer, MoE)
                and layer.gating == "expert_choice"
                and layer.capacity_factor <= 0
            ):
                rule = "must be above 0 under expert_choice"
                raise _broken(index, "capacity_factor", rule, layer.capacity_factor)
        return self

    def canonical(self) -> dict[str, Any]:
        """Returns plain JSON data: required fields always, optional ones if not the default."""
        layers = [
            {"kind": layer.kind, **layer.model_dump(exclude_defaults=True, exclude={"kind"})}
            for layer in self.layers
        ]
        for plain, layer in zip(layers, self.layers, strict=True):
            if isinstance(layer, MoE):
                plain["capacity_factor"] = _whole(layer.capacity_factor)
        return {
            "schema_version": self.schema_version,
            "model_dim": self.model_dim,
            "layers": layers,
        }

    def canonical_json(self) -> str:
        """Returns the canonical JSON text: sorted keys, no white space."""
        known = self.__dict__.get(TEXT)
        # A copy with other fields takes the text along; what it is the text of tells.
        if known is not None and known[0] is self.layers and known[1] == self.model_dim:
            return str(known[2])
        text = json.dumps(self.canonical(), sort_keys=True, separators=(",", ":"))
        self.__dict__[TEXT] = self.layers, self.model_dim, text
        return text

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON, in hex; equal genomes have equal digests."""
        return digest_of(self.canonical_json())


def digest_of(canonical: str) -> str:
    """Returns the digest of the genome that a canonical JSON text holds."""
    return hashlib.sha256(canonical.encode()).hexdigest()


def parse_genome(data: object) -> Genome:
    """Returns the genome in JSON text or in plain JSON data.

    Raises:
        InvalidGenome: names every field that breaks a rule, its value and the rule.
    """
    try:
        if isinstance(data, str | bytes):
            data = from_json(data)
        return checked(Genome, data)
    except BrokenRules as broken:
        raise broken.as_error(InvalidGenome) from None
    except ValueError as error:
        raise InvalidGenome(f"a genome must be a JSON object: {error}") from None


def _broken(index: int, field: str, rule: str, value: float) -> ValidationError:
    """Returns the error of a sub-layer's field that breaks a rule, with its location."""
    problem = PydanticCustomError("value_error", f"{field} {rule}")
    place = InitErrorDetails(type=problem, loc=("layers", index, field), input=value)
    return ValidationError.from_exception_data(Genome.__name__, [place])


def _whole(number: float) -> float | int:
    """Returns 1 for 1.0, so that equal capacity factors are written alike."""
    return int(number) if float(number).is_integer() else number
