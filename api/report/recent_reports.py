"""Reports of long searches that run: written every few seconds, not for everybody who asks.

A report holds what all charts of a search are drawn from. That of 100,000 trials takes a sixth of a
second of processor time whenever a result has come in, and would make everybody else wait.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock

from brainformer.api.dashboard.compressed import Compressed
from brainformer.api.report.report import read_findings, report_html
from brainformer.search.status import SearchStatus
from brainformer.search.store.contract import SearchStore
from brainformer.search.store.patience import patience

KEPT_SECONDS = 10.0
RENEWED_AFTER_SECONDS = 5.0  # written once more when somebody asks, who need not wait for it
LONG_SEARCH_TRIALS = 2_000
MOST_KEPT = 4
WRITERS = 2


@dataclass(frozen=True)
class WrittenReport(Compressed):
    """A report as it is sent: one HTML file.

    Attributes:
        search_id: Whose it is.
        began: When its writing began, by the monotonic clock: what it tells is no older.
    """

    level = 1

    search_id: str
    began: float


class RecentReports:
    """Gives reports: new ones, but of a long search that runs one at most ten seconds old.

    Args:
        store: What they tell of.
        clock: Monotonic, in seconds.
    """

    def __init__(self, store: SearchStore, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._lock = Lock()
        self._kept: OrderedDict[str, WrittenReport] = OrderedDict()
        self._underway: dict[str, Future[WrittenReport]] = {}
        self._writers = ThreadPoolExecutor(WRITERS, thread_name_prefix="report")

    def get(self, search: str) -> WrittenReport:
        """Returns the report of a search.

        Args:
            search: Its id or name.

        Raises:
            NotFound: there is no such search.
            StorageError: the database cannot be read.
        """
        found = self._store.get_search(search)
        trials = sum(found.counts.values())
        if found.status is not SearchStatus.RUNNING or trials < LONG_SEARCH_TRIALS:
            return self._written(found.id)
        with self._lock:
            kept = self._kept.get(found.id)
            age = float("inf") if kept is None else self._clock() - kept.began
            if kept is not None and age <= RENEWED_AFTER_SECONDS:
                return kept
            if found.id not in self._underway:
                self._underway[found.id] = self._writers.submit(self._renew, found.id)
            underway = self._underway[found.id]
        return kept if kept is not None and age <= KEPT_SECONDS else underway.result()

    def close(self) -> None:
        """Waits for what is being written."""
        self._writers.shutdown(cancel_futures=True)

    def _renew(self, search_id: str) -> WrittenReport:
        """Returns a new report, which is kept; several who wait for one get the same."""
        try:
            with patience():
                report = self._written(search_id)
            with self._lock:
                self._kept[search_id] = report
                self._kept.move_to_end(search_id)
                while len(self._kept) > MOST_KEPT:
                    self._kept.popitem(last=False)
            return report
        finally:
            with self._lock:
                del self._underway[search_id]

    def _written(self, search_id: str) -> WrittenReport:
        began = self._clock()
        html = report_html(read_findings(self._store, search_id))
        return WrittenReport(html.encode(), search_id, began)
