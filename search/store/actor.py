"""Who asks a store for a change."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Actor:
    """Who asks, for the audit trail; never holds a secret."""

    name: str
    request_id: str = ""
