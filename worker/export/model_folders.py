"""Folders that hold a model with its weights: written whole, read back and checked.

| format | files beside export.json |
| --- | --- |
| weights | model.safetensors by our names, config.json |
| flax | model.safetensors by our names, block.py: source that needs only jax and flax |
| huggingface | model.safetensors in PyTorch's layout, config, code, a tokenizer, a card |
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

from brainformer.search.errors import InvalidExport
from brainformer.search.export.flax_source import flax_model_source
from brainformer.search.export.folder import write_folder
from brainformer.search.export.manifest import (
    ExportManifest,
    check_files,
    read_manifest,
)
from brainformer.worker.export.model_card import model_card
from brainformer.worker.export.safetensors_file import WEIGHTS, read_arrays, write_arrays
from brainformer.worker.export.tokenizer_files import TokenizerFiles, tokenizer_files
from brainformer.worker.export.torch_layout import jax_arrays, torch_arrays
from brainformer.worker.export.weighted_model import WeightedModel

CODE = ("configuration_brainformer.py", "layers_brainformer.py", "modeling_brainformer.py")
SHAPES = ("blocks", "experts", "head_dim", "vocab_size", "sequence_length", "rope_base")


def write_weights(folder: Path, model: WeightedModel) -> ExportManifest:
    """Writes safetensors and config; `read_model` gives the same arrays, bit for bit.

    Raises:
        EnvironmentProblem: something is in the way, or the disk is full or not writable.
    """

    def fill(part: Path) -> None:
        _write_own_arrays(part, model)
        (part / "config.json").write_text(_json(_shapes(model)), "utf-8")

    return _write(folder, model, "weights", fill)


def write_flax(folder: Path, model: WeightedModel) -> ExportManifest:
    """Writes JAX source that needs jax and flax alone, and the weights that it loads.

    Raises:
        EnvironmentProblem: something is in the way, or the disk is full or not writable.
    """

    def fill(part: Path) -> None:
        _write_own_arrays(part, model)
        source = flax_model_source(model.genome, model.proxy, model.provenance)
        (part / "block.py").write_text(source, "utf-8")

    return _write(folder, model, "flax", fill)


def write_huggingface(
    folder: Path, model: WeightedModel, *, tokenizer: str = "bytes"
) -> ExportManifest:
    """Writes a folder that transformers loads, with a tokenizer and a card.

    Args:
        folder: Where it will stand.
        model: The block with its weights.
        tokenizer: "bytes", a tokenizers .json or a SentencePiece .model: the one that the data
            was prepared with.

    Raises:
        InvalidData: the tokenizer is missing or is none.
        InvalidExport: the tokenizer does not fit the model.
        EnvironmentProblem: something is in the way, or the disk is full or not writable.
    """
    words = tokenizer_files(tokenizer, vocab_size=model.proxy.vocab_size)
    told = model.provenance
    if told.tokenizer is not None and (told.tokenizer, told.tokenizer_sha256) != (
        words.kind,
        words.sha256,
    ):
        raise InvalidExport(
            f"the model was trained with another tokenizer ({told.tokenizer} "
            f"{told.tokenizer_sha256[:12]}), not with {tokenizer}; give that one"
        )
    told = told.model_copy(update={"tokenizer": words.kind, "tokenizer_sha256": words.sha256})
    whole = WeightedModel(model.genome, model.proxy, model.arrays, told)
    return _write(folder, whole, "huggingface", partial(_fill_huggingface, whole, words))


def read_model(folder: Path) -> WeightedModel:
    """Returns the model of an exported folder of any format, every file checked.

    Raises:
        NotFound: there is no such folder.
        InvalidExport: it is not an export, a newer version wrote it, or a file of it is missing,
            truncated or changed.
    """
    manifest = read_manifest(folder)
    if WEIGHTS not in manifest.files:
        raise InvalidExport(f"the export {folder} holds no weights")
    check_files(folder, manifest)
    arrays: Any = read_arrays(folder / WEIGHTS)
    model = WeightedModel(manifest.genome, manifest.proxy, arrays, manifest.provenance)
    if manifest.format == "huggingface":
        arrays = jax_arrays(model.config, arrays)
        model = WeightedModel(manifest.genome, manifest.proxy, arrays, manifest.provenance)
    return model


def _write(
    folder: Path, model: WeightedModel, name: Any, fill: Callable[[Path], None]
) -> ExportManifest:
    manifest = ExportManifest(
        format=name,
        digest=model.genome.digest,
        genome=model.genome,
        proxy=model.proxy,
        provenance=model.provenance,
        files={},
    )
    return write_folder(folder, manifest, fill=fill)


def _write_own_arrays(part: Path, model: WeightedModel) -> None:
    metadata = {"format": "flax", "genome": model.genome.digest}
    write_arrays(part / WEIGHTS, model.arrays, metadata=metadata)


def _fill_huggingface(model: WeightedModel, words: TokenizerFiles, part: Path) -> None:
    arrays = torch_arrays(model.config, model.arrays)
    write_arrays(part / WEIGHTS, arrays, metadata={"format": "pt", "genome": model.genome.digest})
    templates = files("brainformer.worker.export") / "templates"
    texts = {
        **{name: (templates / name).read_text("utf-8") for name in CODE},
        "config.json": _json(huggingface_config(model, end=words.end)),
        "generation_config.json": _json(_generation_config(words.end)),
        "README.md": model_card(model),
        **words.texts,
    }
    for name, text in texts.items():
        (part / name).write_text(text, "utf-8")
    for name, data in words.binaries.items():
        (part / name).write_bytes(data)


def huggingface_config(model: WeightedModel, *, end: int | None) -> dict[str, Any]:
    """Returns the config.json of transformers."""
    heads = [layer.heads for layer in model.genome.layers if layer.kind == "attention"]
    shapes = _shapes(model)
    length, base = shapes.pop("sequence_length"), shapes.pop("rope_base")
    return {
        "architectures": ["BrainformerForCausalLM"],
        "auto_map": {
            "AutoConfig": "configuration_brainformer.BrainformerConfig",
            "AutoModel": "modeling_brainformer.BrainformerModel",
            "AutoModelForCausalLM": "modeling_brainformer.BrainformerForCausalLM",
        },
        "model_type": "brainformer",
        **shapes,
        "hidden_size": model.genome.model_dim,
        "max_position_embeddings": length,
        "rope_theta": base,
        "num_hidden_layers": len(heads) * model.proxy.blocks,
        "num_attention_heads": max(heads, default=1),
        "num_key_value_heads": max(heads, default=1),
        "eos_token_id": end,
        "pad_token_id": end,
        "tie_word_embeddings": False,
        "dtype": "float32",
    }


def _shapes(model: WeightedModel) -> dict[str, Any]:
    shapes = {name: getattr(model.proxy, name) for name in SHAPES}
    return {"genome": model.genome.canonical(), **shapes}


def _generation_config(end: int | None) -> dict[str, Any]:
    tokens = {} if end is None else {"eos_token_id": end, "pad_token_id": end}
    return {"do_sample": False, **tokens}


def _json(data: dict[str, Any]) -> str:
    return json.dumps(data, indent=2) + "\n"
