"""Numbers of things, as sentences tell them."""

from __future__ import annotations


def counted(count: int, noun: str) -> str:
    """Returns a number of things: 1 shard, 1,200 shards."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
