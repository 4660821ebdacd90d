"""What the shell offers behind a command: names of searches, of the zoo and of spaces."""

from __future__ import annotations

import os

from brainformer.api.cli.terminal.address import DEFAULT_URL

MOST = 100


def search_names(incomplete: str) -> list[str]:
    """Returns the names of searches that begin as typed; none where no controller answers."""
    from brainformer.api.cli.terminal.controller_client import ControllerClient
    from brainformer.search.errors import BrainformerError

    address = os.environ.get("BRAINFORMER_URL") or DEFAULT_URL
    try:
        client = ControllerClient(address, os.environ.get("BRAINFORMER_TOKEN"))
        names = [one["name"] for one in client.get("/searches", limit=MOST)["items"]]
    except BrainformerError:
        return []  # a shell that waits for a name wants no error
    return list(dict.fromkeys(name for name in names if name.startswith(incomplete)))


def zoo_names(incomplete: str) -> list[str]:
    """Returns the zoo's names that begin as typed."""
    from brainformer.search.space.zoo import zoo_names as known

    return [name for name in known() if name.startswith(incomplete)]


def space_names(incomplete: str) -> list[str]:
    """Returns the names of built-in spaces that begin as typed."""
    from brainformer.search.space.space import preset_names

    return [name for name in preset_names() if name.startswith(incomplete)]
