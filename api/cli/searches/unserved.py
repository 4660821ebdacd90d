"""Whether anybody works on a search: one that waits for a worker looks like one that runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from brainformer.api.cli.terminal.controller_client import ControllerClient


def unserved(client: ControllerClient, record: dict[str, Any]) -> str:
    """Returns, in one sentence, that no live worker serves a running search; "" if one does."""
    if record["status"] != "running":
        return ""
    alive = {one["pool"] for one in client.get("/pools")["items"] if one["workers"]}
    wanted = record["spec"]["pools"]
    if not wanted:
        return "" if alive else "no worker is here yet; start one with 'brainformer worker'"
    if alive.intersection(wanted):
        return ""
    pools = " or ".join(wanted)
    return (
        f"no worker serves pool {pools} at present; start one with "
        f"'brainformer worker --pool {wanted[0]}'"
    )
