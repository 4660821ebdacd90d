"""How long what is only looked back at is kept."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Retention:
    """Days for which rows are kept; 0 is for ever.

    Searches and trials are never forgotten. Neither are events without a search, which say which
    pools are drained, nor the last worker of each pool, which says that there is one.

    Attributes:
        event_days: Of events.
        worker_days: Of workers, since they were last heard of.
        audit_days: Of the audit trail.
    """

    event_days: float = 0.0
    worker_days: float = 0.0
    audit_days: float = 0.0
