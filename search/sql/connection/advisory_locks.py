"""This project's advisory locks on PostgreSQL, each held until its transaction ends."""

from __future__ import annotations

from enum import IntEnum


class AdvisoryLock(IntEnum):
    """What is done by one controller at a time."""

    MIGRATION = 0x62726E64
    CREATION = 0x62726E65
    EVENTS = 0x62726E66
