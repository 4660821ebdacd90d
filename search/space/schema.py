"""The JSON schema of a space's genomes, for editors and other languages to check against."""

from __future__ import annotations

from typing import Any

from brainformer.search.space.genome import LAYER_KINDS
from brainformer.search.space.space import Choice, Space

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def genome_schema(space: Space) -> dict[str, Any]:
    """Returns a JSON schema that exactly the space's genomes satisfy, as canonical JSON."""
    return {
        "$schema": DIALECT,
        "title": f"Genome of the space {space.name}",
        "type": "object",
        "additionalProperties": False,
        "required": ["schema_version", "model_dim", "layers"],
        "properties": {
            "schema_version": {"const": 1},
            "model_dim": {"enum": list(space.model_dim)},
            "layers": {
                "type": "array",
                "minItems": space.min_layers,
                "maxItems": space.max_layers,
                "items": {"oneOf": [_layer(kind, fields) for kind, fields in space.layers.items()]},
            },
        },
    }


def _layer(kind: str, fields: dict[str, tuple[Choice, ...]]) -> dict[str, Any]:
    """Returns the schema of one kind of sub-layer: optional fields may be left at their default."""
    required = ["kind"]
    for name, choices in fields.items():
        info = LAYER_KINDS[kind].model_fields[name]
        if info.is_required() or info.default not in choices:
            required.append(name)
    return {
        "type": "object",
        "additionalProperties": False,
        "required": required,
        "properties": {
            "kind": {"const": kind},
            **{name: {"enum": list(choices)} for name, choices in fields.items()},
        },
    }
