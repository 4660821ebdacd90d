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
    key = np.stack([status[at], outcome[at], reason[at]], axis=1)
    distinct, group = np.unique(key, axis=0, return_inverse=True)
    counts = np.bincount(group)
    found = []
    for index in np.argsort(-counts, kind="stable")[:MOST_GROUPS].tolist():
        inside = at[group == index]
        its_status, its_outcome, its_reason = distinct[index].tolist()
        pools = np.unique(columns.whole("pool")[inside]).tolist()
        found.append(
            FailureGroup(
                status=STATUSES[its_status],
                outcome="" if its_outcome == NOBODY else columns.outcomes.known[its_outcome],
                reason="" if its_reason == NOBODY else columns.reasons.known[its_reason],
                count=len(inside),
                newest=int(inside[-1]),
                pools=[columns.pools.known[pool] for pool in pools if pool != NOBODY],
            )
        )
    return found
