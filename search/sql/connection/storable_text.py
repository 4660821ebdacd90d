"""Text as both databases keep it."""

from __future__ import annotations


def storable(text: str) -> str:
    """Returns the text without NUL characters, which PostgreSQL does not keep."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")
