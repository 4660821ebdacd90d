"""Adding a kind of sub-layer is one module and one row in each table: which rows are missing."""

from __future__ import annotations

import re
from collections.abc import Callable, Container
from typing import Any

import numpy as np
import pytest

from brainformer.model.block import MODULES
from brainformer.model.sharding import PARTITION_RULES, SPLIT_FIELDS
from brainformer.search.cost.cost import COSTS
from brainformer.search.cost.trainable import RULES
from brainformer.search.evolution.mutation import OPERATORS
from brainformer.search.space.coded_genome import GenomeCoder
from brainformer.search.space.genome import LAYER_KINDS, Genome
from brainformer.search.space.space import Space, load_preset, preset_names
from tests.model.naive import REFERENCES
from tests.repository import REPOSITORY


def mutated_kinds(space: Space) -> set[str]:
    """Returns the kinds that mutation both turns other kinds into and changes a field of."""
    blocks = [
        Genome(model_dim=space.model_dim[0], layers=(space.layers_of(kind)[0],))
        for kind in space.layers
    ]
    rng, coder = np.random.default_rng(0), GenomeCoder(space)
    coded = [coder.encode(block) for block in blocks]
    changes = [OPERATORS["change_kind"](one, coder) for one in coded]
    steps = [make(at, rng) for count, make in changes for at in range(count)]
    reached = {coder.kind_of[step.coded.codes[0]] for step in steps}
    able = [one for one in coded if OPERATORS["change_field"](one, coder)[0]]
    return reached & {coder.kind_of[one.codes[0]] for one in able}


def named_in(path: str, pattern: str) -> set[str]:
    """Returns the keys of a table that is no Python of ours: a template, a script."""
    text = (REPOSITORY / path).read_text("utf-8")
    table = re.search(pattern, text, re.DOTALL)
    assert table, path
    return {"".join(key) for key in re.findall(r'^  (\w+): \{|"(\w+)": ', table[1], re.MULTILINE)}


Rows = Callable[[], Container[str]]
OWN: dict[str, dict[str, Any]] = {
    "model/block.py: MODULES": MODULES,
    "model/sharding.py: PARTITION_RULES": PARTITION_RULES,
    "model/sharding.py: SPLIT_FIELDS": SPLIT_FIELDS,
    "search/cost/cost.py: COSTS": COSTS,
    "search/cost/trainable.py: RULES": RULES,
    "tests/model/naive.py: REFERENCES": REFERENCES,
}
TABLES: dict[str, Rows] = {
    **{name: lambda table=table: table for name, table in OWN.items()},
    **{
        f"search/space/presets/{name}.yaml: choices to draw": lambda n=name: load_preset(n).layers
        for name in preset_names()
    },
    **{
        f"search/space/presets/{name}.yaml: fields to mutate": lambda n=name: mutated_kinds(
            load_preset(n)
        )
        for name in preset_names()
    },
    "search/export/templates/flax_model.py.tmpl: LAYERS": lambda: named_in(
        "search/export/templates/flax_model.py.tmpl", r"\nLAYERS = \{(.*?)\}"
    ),
    "api/dashboard/page/trial/block_diagram.js: DRAWINGS": lambda: named_in(
        "api/dashboard/page/trial/block_diagram.js", r"const DRAWINGS = \{(.*?)\n\};"
    ),
}


def missing_rows(kinds: Container[str]) -> list[str]:
    """Returns a line for each table and each kind that has no row in it."""
    return [
        f"{table} lacks a row for {kind}"
        for table, rows in TABLES.items()
        for kind in sorted(kinds)
        if kind not in rows()
    ]


def test_every_kind_of_sub_layer_has_a_row_in_every_table():
    assert missing_rows(LAYER_KINDS) == []


def test_a_new_kind_is_told_each_row_that_it_lacks():
    told = missing_rows(["state_space"])

    assert told == [f"{table} lacks a row for state_space" for table in TABLES]


@pytest.mark.parametrize("kind", LAYER_KINDS)
def test_a_row_that_is_taken_out_is_named(kind, monkeypatch):
    for table in OWN.values():
        monkeypatch.delitem(table, kind)

    assert missing_rows(LAYER_KINDS) == [f"{table} lacks a row for {kind}" for table in OWN]
