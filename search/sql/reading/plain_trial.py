"""A row of the table `trials` as a listing shows it, in plain values rather than a record.

Pages of hundreds of trials go to every dashboard. Making their records only to write them as JSON
took three times as long as this, which knows the one thing that counts: the row was validated when
it was written. `plain_trial` gives what `trial_record(row, ..., lean=True)` would dump, value by
value, and a test holds it to that.
"""

from __future__ import annotations

from functools import lru_cache

from pydantic_core import from_json

from brainformer.search.sql.rows.records import plain_columns
from brainformer.search.sql.rows.table_rows import TrialRow
from brainformer.search.sql.rows.values import lean_values, read_layer
from brainformer.search.trials.trial import Measurements

NOTHING_MEASURED = Measurements().model_dump(mode="json")


def plain_trial(row: TrialRow, youngest_outside: int) -> dict[str, object]:
    """Returns one trial's fields, without learning curve and expert loads.

    Args:
        row: Of the table `trials`.
        youngest_outside: Ranks above it are in the population.
    """
    return plain_columns(row, youngest_outside) | {
        "genome": _genome(row.genome),
        "measurements": NOTHING_MEASURED | lean_values(row.measurements),
    }


def _genome(text: str) -> dict[str, object]:
    plain = from_json(text)
    layers = [_layer(layer.pop("kind"), tuple(layer.items())) for layer in plain["layers"]]
    return {**plain, "layers": layers}


@lru_cache(maxsize=8192)
def _layer(kind: str, fields: tuple[tuple[str, object], ...]) -> dict[str, object]:
    """Returns a sub-layer with its defaults, which the canonical form leaves out."""
    return read_layer(kind, fields).model_dump(mode="json")
