"""Text of others as it may be shown: what would move the cursor or hide a letter is spelled out."""

from __future__ import annotations

import re

# Control characters but the newline, and those that reorder or break lines (U+202E, U+2028 ...).
UNSEEN = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)


def visible(text: str) -> str:
    r"""Returns the text with such characters as escapes: an ESC becomes `\x1b`."""
    return UNSEEN.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)
