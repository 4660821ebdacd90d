"""Where a search stands, and what may follow."""

from __future__ import annotations

from enum import StrEnum


class SearchStatus(StrEnum):
    """A search's status. Paused: no new trials. Stopping: it ends when the running ones have."""

    RUNNING = "running"
    PAUSED = "paused"
    STOPPING = "stopping"
    COMPLETED = "completed"
    STOPPED = "stopped"
    CANCELLED = "cancelled"
    FAILED = "failed"

    @property
    def ended(self) -> bool:
        """Whether the search has ended for good."""
        return not SEARCH_TRANSITIONS[self]


SEARCH_TRANSITIONS: dict[SearchStatus, frozenset[SearchStatus]] = {
    SearchStatus.RUNNING: frozenset(
        {
            SearchStatus.PAUSED,
            SearchStatus.STOPPING,
            SearchStatus.COMPLETED,
            SearchStatus.STOPPED,
            SearchStatus.CANCELLED,
            SearchStatus.FAILED,
        }
    ),
    SearchStatus.PAUSED: frozenset(
        {
            SearchStatus.RUNNING,
            SearchStatus.STOPPING,
            SearchStatus.STOPPED,
            SearchStatus.COMPLETED,
            SearchStatus.CANCELLED,
            SearchStatus.FAILED,
        }
    ),
    SearchStatus.STOPPING: frozenset(
        {SearchStatus.STOPPED, SearchStatus.COMPLETED, SearchStatus.CANCELLED}
    ),
    SearchStatus.COMPLETED: frozenset(),
    SearchStatus.STOPPED: frozenset(),
    SearchStatus.CANCELLED: frozenset(),
    SearchStatus.FAILED: frozenset(),
}
