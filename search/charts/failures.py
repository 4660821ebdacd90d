"""Why trials did not complete, grouped by reason."""

from __future__ import annotations

import numpy as np

from brainformer.search.charts.columns import NOBODY, STATUSES, Flags, TrialColumns
from brainformer.search.charts.pictures import FailureGroup
from brainformer.search.trials.trial import TrialStatus

MOST_GROUPS = 100
LOST = [
    STATUSES.index(status)
    for status in (TrialStatus.FAILED, TrialStatus.CANCELLED, TrialStatus.PRUNED)
]


def failure_groups(columns: TrialColumns, shown: Flags) -> list[FailureGroup]:
    """Returns the trials that did not complete, by status, outcome and reason, without tracebacks.

    At most 100 groups, the most frequent first.
    """
    status, outcome, reason = (columns.whole(name) for name in ("status", "outcome", "reason"))
    at = np.flatnonzero(shown & np.isin(status, LOST))
    if not at.size:
        return []
    # One number a trial: rows as keys would be sorted as bytes, ten times as slowly.
    shape = (len(STATUSES), len(columns.outcomes.known) + 1, len(columns.reasons.known) + 1)
    places = status[at], outcome[at] - NOBODY, reason[at] - NOBODY
    distinct, group, counts = np.unique(
        np.ravel_multi_index(places, shape), return_inverse=True, return_counts=True
    )
    found = []
    for index in np.argsort(-counts, kind="stable")[:MOST_GROUPS].tolist():
        inside = at[group == index]
        its_status, its_outcome, its_reason = (
            int(place) for place in np.unravel_index(distinct[index], shape)
        )
        pools = np.unique(columns.whole("pool")[inside]).tolist()
        found.append(
            FailureGroup(
                status=STATUSES[its_status],
                outcome=columns.outcomes.known[its_outcome - 1] if its_outcome else "",
                reason=columns.reasons.known[its_reason - 1] if its_reason else "",
                count=len(inside),
                newest=int(inside[-1]),
                pools=[columns.pools.known[pool] for pool in pools if pool != NOBODY],
            )
        )
    return found
