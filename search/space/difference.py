"""What differs between a parent's genome and its child's, readable by people."""

from __future__ import annotations

import json
from difflib import SequenceMatcher
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from brainformer.search.space.genome import Genome


class Change(BaseModel):
    """One difference between a genome and its parent's.

    `path` is a JSON pointer into the child's canonical form, for `remove` into the parent's.
    """

    model_config = ConfigDict(frozen=True)

    op: Literal["replace", "add", "remove"]
    path: str
    before: Any = None
    after: Any = None


def difference(parent: Genome, child: Genome) -> tuple[Change, ...]:
    """Returns the changes that turn `parent` into `child`; sub-layers are aligned first."""
    old, new = parent.canonical(), child.canonical()
    changes: list[Change] = []
    if old["model_dim"] != new["model_dim"]:
        changes.append(_replaced("/model_dim", old["model_dim"], new["model_dim"]))
    a, b = (
        [json.dumps(layer, sort_keys=True) for layer in plain["layers"]] for plain in (old, new)
    )
    for op, i, i_end, j, j_end in SequenceMatcher(a=a, b=b, autojunk=False).get_opcodes():
        if op != "equal":
            changes += _layers(old["layers"][i:i_end], new["layers"][j:j_end], i, j)
    return tuple(changes)


def _layers(old: list[dict[str, Any]], new: list[dict[str, Any]], i: int, j: int) -> list[Change]:
    """Returns the changes between two runs of sub-layers that start at `i` and `j`."""
    both = min(len(old), len(new))
    changes: list[Change] = []
    for offset in range(both):
        changes += _layer(f"/layers/{j + offset}", old[offset], new[offset])
    for offset in range(both, len(old)):
        changes.append(Change(op="remove", path=f"/layers/{i + offset}", before=old[offset]))
    for offset in range(both, len(new)):
        changes.append(Change(op="add", path=f"/layers/{j + offset}", after=new[offset]))
    return changes


def _layer(path: str, old: dict[str, Any], new: dict[str, Any]) -> list[Change]:
    if old["kind"] != new["kind"]:
        return [_replaced(path, old, new)]
    names = [*old, *(name for name in new if name not in old)]
    return [
        _replaced(f"{path}/{name}", old.get(name), new.get(name))
        for name in names
        if old.get(name) != new.get(name)
    ]


def _replaced(path: str, before: Any, after: Any) -> Change:
    return Change(op="replace", path=path, before=before, after=after)
