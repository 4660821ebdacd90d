"""A search on a terminal while it is watched: how far, how good, how long, by whom."""

from __future__ import annotations

import time
from collections import deque
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from brainformer.api.cli.searches.best import best_fitness
from brainformer.api.cli.searches.events import event_line
from brainformer.api.cli.terminal.output import stdout
from brainformer.api.cli.terminal.plain_text import visible
from brainformer.search.errors import ControllerUnreachable
from brainformer.search.status import SearchStatus
from brainformer.search.trials.events import EventKind

if TYPE_CHECKING:
    from brainformer.api.cli.terminal.controller_client import ControllerClient

LINES = 6  # of the latest events
ASK_SECONDS = 1.0  # between two readings of the search
NOT_SHOWN = frozenset({EventKind.TRIAL_PROGRESS.value, EventKind.TRIAL_CREATED.value})


class LiveView:
    """Draws a search in place; a context manager.

    Args:
        client: Of the controller.
        record: The search, as it is now.
    """

    def __init__(self, client: ControllerClient, record: dict[str, Any]) -> None:
        self._client = client
        self._record = record
        self._began = time.monotonic()
        self._last_result = self._began
        self._done_before = record["candidates_finished"]
        self._asked = 0.0
        self._stale = False
        self._workers = ""
        self._events: deque[str] = deque(maxlen=LINES)
        self._live = Live(get_renderable=self._drawn, console=stdout(), refresh_per_second=2)

    def __enter__(self) -> Self:
        self._ask()
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self._ask()
        finally:
            self._live.stop()

    def tell(self, event: dict[str, Any]) -> None:
        """Shows an event, and soon where the search stands after it."""
        if event.get("event") not in NOT_SHOWN:
            self._events.append(event_line(event))
        self._stale = True

    def _ask(self) -> None:
        self._asked = time.monotonic()
        self._stale = False
        finished = self._record["candidates_finished"]
        self._record = self._client.get(f"/searches/{self._record['id']}")
        if self._record["candidates_finished"] > finished:
            self._last_result = self._asked
        pools = self._client.get("/pools")["items"]
        wanted = self._record["spec"]["pools"]
        alive = [one for one in pools if one["workers"] and (not wanted or one["pool"] in wanted)]
        running = self._record["counts"].get("running", 0)
        told = ", ".join(f"{one['workers']} in {one['pool']}" for one in alive)
        self._workers = f"{told or 'none'}; {running} trials running"

    def _drawn(self) -> Group:
        """Returns the picture; it is asked for twice a second, so events in a burst share one."""
        if self._stale and time.monotonic() - self._asked >= ASK_SECONDS:
            with suppress(ControllerUnreachable):  # the stream drops too, and says so
                self._ask()
        record = self._record
        reason = f" ({record['reason']})" if record["reason"] else ""
        grid = Table.grid(padding=(0, 2))
        grid.add_row("search", visible(f"{record['name']}: {record['status']}{reason}"))
        grid.add_row("candidates", self._progress())
        grid.add_row("best", best_fitness(record))
        grid.add_row("time left", self._time_left())
        grid.add_row("workers", visible(self._workers))
        lines = [Text(visible(line), overflow="ellipsis", no_wrap=True) for line in self._events]
        return Group(grid, Text(""), *lines)

    def _progress(self) -> Table:
        done, limit = self._record["candidates_finished"], self._record["spec"]["limits"]["trials"]
        row = Table.grid(padding=(0, 1))
        if limit is None:
            row.add_row(str(done))
        else:
            bar = ProgressBar(total=limit, completed=min(done, limit), width=30)
            row.add_row(bar, f"{done}/{limit}")
        return row

    def _time_left(self) -> str:
        record = self._record
        status = SearchStatus(record["status"])
        if status.ended or status is SearchStatus.PAUSED:
            return "-"
        limits = record["spec"]["limits"]
        if limits["trials"] is not None and record["candidates_finished"] >= limits["trials"]:
            return "the best are run again with fresh seeds"
        estimates = []
        done = record["candidates_finished"] - self._done_before
        if limits["trials"] is not None and done > 0:
            each = (self._last_result - self._began) / done
            since = time.monotonic() - self._last_result
            left = limits["trials"] - record["candidates_finished"]
            estimates.append(left * each - since)
        if limits["hours"] is not None:
            ends = datetime.fromisoformat(record["created_at"]) + timedelta(hours=limits["hours"])
            estimates.append((ends - datetime.now(UTC)).total_seconds())
        if not estimates:
            return "known after the next result"
        seconds = max(0, round(min(estimates)))
        return f"about {timedelta(seconds=seconds)}, and fresh runs of the best"
