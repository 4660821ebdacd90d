"""Events of a search on the terminal: one line each, or one line of JSON."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from brainformer.api.cli.terminal.output import print_json, print_line
from brainformer.search.status import SearchStatus
from brainformer.search.trials.events import EventKind

# Of an event, said elsewhere on its line or of use to programs alone.
UNTOLD = frozenset({"seq", "search_id", "at", "attempt"})


def ends_search(event: dict[str, Any]) -> bool:
    """Returns whether an event says that its search has ended."""
    return (
        event.get("event") == EventKind.SEARCH_STATUS
        and SearchStatus(event["data"]["status"]).ended
    )


def print_event(event: dict[str, Any], *, as_json: bool) -> None:
    """Writes one event to stdout."""
    data = event["data"]
    if as_json:
        print_json({"id": event.get("id"), "event": event.get("event"), "data": data})
        return
    print_line(event_line(event))


def event_line(event: dict[str, Any]) -> str:
    """Returns one event in words, with the time of day."""
    data = event["data"]
    at = datetime.fromisoformat(data["at"]).astimezone()
    told = {name: value for name, value in data.items() if name not in UNTOLD}
    words = " ".join(f"{name}={_short(value)}" for name, value in told.items() if value is not None)
    kind = event.get("event", "event")
    return f"{at:%H:%M:%S}  {kind:<18} {words}"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value).replace("\n", "\\n")
