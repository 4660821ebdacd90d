"""Prometheus metrics, in a registry of their own."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from brainformer.search.storage_errors import StorageError
from brainformer.search.store.records import EventRecord
from brainformer.search.trials.events import EventKind

log = logging.getLogger("brainformer.metrics")
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60)

ENDS_OF_ATTEMPTS = frozenset({EventKind.TRIAL_FINISHED, EventKind.TRIAL_REQUEUED})
SHARES = (0.1, 0.25, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.925, 0.95, 0.975, 1)


class Metrics:
    """What the controller counts and times."""

    def __init__(self, statistics: Callable[[], Mapping[str, float]]) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(StoreStatistics(statistics))
        ProcessCollector(registry=self._registry)  # memory, processor time, open files
        GCCollector(registry=self._registry)
        self.watch(lambda: {"threads": threading.active_count()})
        self._requests = Counter(
            "brainformer_http_requests",
            "Requests answered.",
            ("method", "route", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "brainformer_http_request_seconds",
            "Time to answer a request; of a stream or a waiting claim, how long it was open.",
            ("route",),
            buckets=SECONDS,
            registry=self._registry,
        )
        self._search_seconds = Histogram(
            "brainformer_search_seconds",
            "Time of one step of the search: ask grants leases, tell records a result.",
            ("step",),
            buckets=SECONDS,
            registry=self._registry,
        )
        self._attempts = Counter(
            "brainformer_attempts",
            "Attempts ended, by outcome; every controller of a database sees all of them.",
            ("outcome",),
            registry=self._registry,
        )
        self._utilisation = Histogram(
            "brainformer_worker_utilisation",
            "Of the time for which a trial occupied its worker, the share that it trained.",
            buckets=SHARES,
            registry=self._registry,
        )
        self.streams = Gauge(
            "brainformer_event_streams", "Event streams and exports open.", registry=self._registry
        )
        self.waiting_claims = Gauge(
            "brainformer_waiting_claims", "Lease claims that wait.", registry=self._registry
        )

        self._task_failures = Counter(
            "brainformer_task_failures",
            "Steps of background tasks that failed.",
            ("task",),
            registry=self._registry,
        )

    def task_failed(self, name: str) -> None:
        """Counts a failed step of a background task."""
        self._task_failures.labels(name).inc()

    def watch_tasks(self, up: Callable[[], Mapping[str, bool]]) -> None:
        """Tells at every scrape which background tasks go well."""
        self._registry.register(TasksUp(up))

    def watch(self, figures: Callable[[], Mapping[str, float]]) -> None:
        """Tells at every scrape what `figures` returns; keys are like those of the store."""
        self._registry.register(Figures(figures))

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Counts one answered request."""
        known = method if method in {"GET", "HEAD", "POST", "PATCH", "DELETE"} else "other"
        self._requests.labels(known, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def event(self, event: EventRecord) -> None:
        """Counts the attempts that ended, whoever ended them."""
        if event.kind in ENDS_OF_ATTEMPTS:
            bare = "released" if event.kind == EventKind.TRIAL_REQUEUED else "cancelled"
            self._attempts.labels(str(event.data.get("outcome") or bare)).inc()

    def utilisation(self, share: float | None) -> None:
        """Notes what share of the time for which it occupied its worker a trial has trained."""
        if share is not None:
            self._utilisation.observe(share)

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Times a step of the search: "ask" or "tell"."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._search_seconds.labels(step).observe(time.perf_counter() - began)

    def text(self) -> bytes:
        """Returns everything in Prometheus' text format."""
        return generate_latest(self._registry)


class TasksUp(Collector):
    """Asks at every scrape which background tasks go well."""

    def __init__(self, up: Callable[[], Mapping[str, bool]]) -> None:
        self._up = up

    def describe(self) -> list[Metric]:
        """Returns nothing: the tasks are known at the scrape only."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yields 1 or 0 for each task."""
        family = GaugeMetricFamily(
            "brainformer_task_up", "Whether a background task goes well.", labels=["task"]
        )
        for name, well in sorted(self._up().items()):
            family.add_metric([name], float(well))
        yield family


class StoreStatistics(Collector):
    """Asks the store for its figures at every scrape.

    A key `name` becomes the gauge `brainformer_name`; `name{label="value"}` keeps its label.
    """

    def __init__(self, statistics: Callable[[], Mapping[str, float]]) -> None:
        self._statistics = statistics

    def describe(self) -> list[Metric]:
        """Returns nothing: the names are known at the scrape only."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yields one gauge for each name; `brainformer_database_up` says if there are any."""
        try:
            figures: Mapping[str, float] = self._statistics()
            up = 1.0
        except StorageError:
            figures, up = {}, 0.0
        yield GaugeMetricFamily(
            "brainformer_database_up", "Whether the database answers.", value=up
        )
        yield from _gauges(figures, "From the database")


class Figures(Collector):
    """Asks a part of the controller for its figures at every scrape."""

    def __init__(self, figures: Callable[[], Mapping[str, float]]) -> None:
        self._figures = figures

    def describe(self) -> list[Metric]:
        """Returns nothing: the names are known at the scrape only."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yields one gauge for each name."""
        return _gauges(self._figures(), "Of this process")


def _gauges(figures: Mapping[str, float], source: str) -> Iterator[Metric]:
    families: dict[str, GaugeMetricFamily] = {}
    for key, value in sorted(figures.items()):
        name, labels = _parsed(key)
        family = families.setdefault(
            name, GaugeMetricFamily(name, f"{source}: {name}.", labels=list(labels))
        )
        family.add_metric(list(labels.values()), value)
    yield from families.values()


def _parsed(key: str) -> tuple[str, dict[str, str]]:
    """Returns the metric's name and labels for a key of the store's statistics."""
    name, _, rest = key.partition("{")
    labels = dict(re.findall(r'(\w+)="([^"]*)"', rest))
    return "brainformer_" + re.sub(r"\W", "_", name), labels
