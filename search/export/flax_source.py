"""An exported block as one file of source that needs jax and flax alone.

The file is a template with the block's data filled in: it is made to be read and changed, and
tests hold its logits equal to the model that the search trained.
"""

from __future__ import annotations

import json
from importlib.resources import files
from string import Template

from brainformer.search.export.genome_file import GenomeExport
from brainformer.search.export.provenance import Provenance
from brainformer.search.proxy.proxy import Proxy
from brainformer.search.space.genome import Genome

PROXY_FIELDS = (
    "blocks",
    "experts",
    "head_dim",
    "rope_base",
    "vocab_size",
    "load_balance_weight",
    "router_z_weight",
)


def flax_source(export: GenomeExport) -> str:
    """Returns the source of a module with `CONFIG`, `Model` and `next_token_loss`."""
    title = f"The block of trial {export.trial_number} of the search {export.search_name!r}."
    origin = f"{_measured(export)}\nGenome {export.digest}."
    return _source(export.genome, export.proxy, title=title, origin=origin)


def flax_model_source(genome: Genome, proxy: Proxy, told: Provenance) -> str:
    """Returns the same for a block with weights, which the module's `load` reads."""
    title = "A searched transformer block."
    if told.search_name is not None:
        title = f"The block of trial {told.trial_number} of the search {told.search_name!r}."
    weights = "Trained weights" if told.origin == "trained" else "Untrained weights"
    origin = f"{weights} lie beside this file: load('model.safetensors').\nGenome {genome.digest}."
    return _source(genome, proxy, title=title, origin=origin)


def _source(genome: Genome, proxy: Proxy, *, title: str, origin: str) -> str:
    place = files("brainformer.search.export") / "templates" / "flax_model.py.tmpl"
    template = Template(place.read_text("utf-8"))
    return template.substitute(title=title, origin=origin, config=_literal(genome, proxy))


def _literal(genome: Genome, proxy: Proxy) -> str:
    """Returns what the model is built from as a Python literal, a sub-layer a line."""
    canonical = genome.canonical()
    shared = {name: getattr(proxy, name) for name in PROXY_FIELDS}
    fields = {"model_dim": canonical["model_dim"], **shared}
    lines = [f'    "{name}": {json.dumps(value)},' for name, value in fields.items()]
    layers = [f"        {json.dumps(layer)}," for layer in canonical["layers"]]
    return "\n".join(["{", *lines, '    "layers": [', *layers, "    ],", "}"])


def _measured(export: GenomeExport) -> str:
    if export.scaled_from:
        return "Scaled up from the block that the search measured; not trained at this size."
    loss = export.measurements.validation_loss
    if loss is None or export.fitness is None:
        return "Not measured."
    return (
        f"Validation loss {loss:.4f} nats a token, fitness {export.fitness:+.4f} (nats better than "
        "the baseline)."
    )
