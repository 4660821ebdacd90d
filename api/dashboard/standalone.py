"""The page's modules and style sheets as text, for a file that needs no server."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache

from brainformer.api.dashboard.files import page_files
from brainformer.api.dashboard.joining import joined

# What would end the element that holds a script, or begin a comment in it.
UNSAFE = re.compile(r"</script|<!--", re.IGNORECASE)


@cache
def script(entry: str) -> str:
    """Returns a module with all that it imports as one script.

    Args:
        entry: Its path within api/dashboard/page/.

    Raises:
        ValueError: a module is written in a way that is not understood, or imports itself.
    """
    sources = {name: one.body.decode() for name, one in page_files().items()}
    written = joined(entry, sources)
    if UNSAFE.search(written):
        raise ValueError(f"{entry} holds text that would end its script element")
    return written


def content_hash(text: str) -> str:
    """Returns the source expression by which a content security policy allows a script."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


@cache
def styles(*names: str) -> str:
    """Returns style sheets of the page, one after another."""
    return "\n".join(page_files()[f"css/{name}.css"].body.decode() for name in names)
