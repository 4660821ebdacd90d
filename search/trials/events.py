"""The kinds of events: what a search's stream, its dashboard and the metrics are told."""

from __future__ import annotations

from enum import StrEnum


class EventKind(StrEnum):
    """What happened; the words are those of the stream and of the table `events`."""

    SEARCH_CREATED = "search.created"
    SEARCH_STATUS = "search.status"
    SEARCH_LIMITS = "search.limits"
    SEARCH_EXHAUSTED = "search.exhausted"
    SEARCH_DELETED = "search.deleted"
    TRIAL_CREATED = "trial.created"
    TRIAL_STARTED = "trial.started"
    TRIAL_PROGRESS = "trial.progress"
    TRIAL_REQUEUED = "trial.requeued"
    TRIAL_FINISHED = "trial.finished"
    TRIAL_REFUSED = "trial.refused"
    TRIALS_IMPORTED = "trials.imported"
    BASELINE_CHOSEN = "baseline.chosen"
    BASELINE_READY = "baseline.ready"
    POOL_FAILED = "pool.failed"
    POOL_DRAINED = "pool.drained"
    POOL_RESUMED = "pool.resumed"
    POOL_RETIRED = "pool.retired"
    POOL_RETURNED = "pool.returned"
    WORKER_REFUSED = "worker.refused"


MEANINGS: dict[EventKind, str] = {
    EventKind.SEARCH_CREATED: "A search was created, under this `name`.",
    EventKind.SEARCH_STATUS: "A search has a new `status`, and the `reason` for it.",
    EventKind.SEARCH_LIMITS: "The limits of a search were changed to these `trials` and `hours`.",
    EventKind.SEARCH_EXHAUSTED: "No untried genome is left within reach.",
    EventKind.SEARCH_DELETED: "The search of this `id` was deleted with all that belongs to it.",
    EventKind.TRIAL_CREATED: "A trial was queued.",
    EventKind.TRIAL_STARTED: "An attempt of a trial began on a `pool`.",
    EventKind.TRIAL_PROGRESS: "A running trial reported a point of its learning curve.",
    EventKind.TRIAL_REQUEUED: "An attempt ended and the trial waits for the next one; without an "
    "`outcome`, the lease was handed back unstarted.",
    EventKind.TRIAL_FINISHED: "A trial ended, with this `status`, `outcome` and `fitness`.",
    EventKind.TRIAL_REFUSED: "A report came too late and was kept for audit alone.",
    EventKind.TRIALS_IMPORTED: "A search began with so many `candidates` that others evaluated.",
    EventKind.BASELINE_CHOSEN: "On a `pool` trial `number` is the best of the baseline's family.",
    EventKind.BASELINE_READY: "The baseline of a `pool` is complete: its candidates may run.",
    EventKind.POOL_FAILED: "The baseline cannot run on a `pool`, which takes no further part.",
    EventKind.POOL_DRAINED: "An operator lets no further trial start on a `pool`.",
    EventKind.POOL_RESUMED: "An operator lets trials start on a `pool` again.",
    EventKind.POOL_RETIRED: "A `pool` will not come back. In a search's stream: how many "
    "candidates were `put_back`, trials `given_up` and confirmations `moved` to pool `to`.",
    EventKind.POOL_RETURNED: "A retired `pool` is back.",
    EventKind.WORKER_REFUSED: "A worker's copy of the data set is not the one that was recorded.",
}
