"""Text of others as it may be shown: what would move the cursor or hide a letter is spelled out."""

from __future__ import annotations

from brainformer.api.logs import one_line


def visible(text: str) -> str:
    r"""Returns the text with such characters as escapes, its lines kept: an ESC becomes `\x1b`."""
    return "\n".join(one_line(line) for line in text.split("\n"))
