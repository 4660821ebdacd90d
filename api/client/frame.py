"""Trials as a pandas frame: one a row, what people plot and compare in columns."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from brainformer.search.errors import EnvironmentProblem
from brainformer.search.store.records import TrialRecord

if TYPE_CHECKING:
    import pandas as pd

# Lists and nested figures, which a column holds badly: `Search.trial` has them.
NESTED = frozenset({"genome", "measurements"})


def frame_of(trials: Iterable[TrialRecord]) -> pd.DataFrame:
    """Returns the trials by number: fields of the record, then its plain measurements.

    Genomes stand in the column `genome` as they are. Names are those of REST, units in them.

    Raises:
        EnvironmentProblem: pandas is not installed.
    """
    try:
        import pandas
    except ImportError:
        raise EnvironmentProblem(
            "pandas is not installed", "pip install 'brainformer-search[pandas]'"
        ) from None

    rows = [_row(trial) for trial in trials]
    names = [name for name in TrialRecord.model_fields if name != "measurements"]
    columns = list(dict.fromkeys([*names, *(name for row in rows for name in row)]))
    return pandas.DataFrame(rows, columns=columns).set_index("number")


def _row(trial: TrialRecord) -> dict[str, Any]:
    plain = {name: getattr(trial, name) for name in TrialRecord.model_fields if name not in NESTED}
    measured = {
        name: value
        for name, value in trial.measurements.model_dump().items()
        if isinstance(value, int | float | str) and name not in plain
    }
    return {**plain, "genome": trial.genome, **measured}
