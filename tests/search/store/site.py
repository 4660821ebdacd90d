"""A store with a clock of its own, and the moves of a worker upon it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from brainformer.search.spec import SearchSpec
from brainformer.search.sql.store import SqlStore, open_store
from brainformer.search.status import SearchStatus
from brainformer.search.store.actor import Actor
from brainformer.search.store.contract import TrialFilter
from brainformer.search.store.records import SearchRecord, TrialRecord
from brainformer.search.trials.lease_messages import (
    ClaimRequest,
    Lease,
    Progress,
    Receipt,
    Result,
)
from brainformer.search.trials.trial import (
    CurvePoint,
    Measurements,
    Outcome,
    TrialKind,
)

ME = Actor(name="ann", request_id="r-1")
SPEC: dict[str, Any] = {
    "name": "laptop",
    "space": "nano",
    "limits": {"trials": 100},
    "population_size": 4,
    "tournament_size": 2,
    "baseline_repeats": 1,
    "confirmations": 0,
    "screening": {"kind": "none"},
    "lease_seconds": 60,
    "proxy": {"experts": 8, "head_dim": 16, "sequence_length": 64, "batch_size": 16},
}
START = 1_700_000_000.0


class Clock:
    """Seconds since 1970, moved by hand."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


def spec(**changes: Any) -> SearchSpec:
    return SearchSpec.model_validate(SPEC | changes)


def measured(loss: float = 2.0, step_time_ms: float = 20.0, **more: Any) -> Measurements:
    return Measurements(validation_loss=loss, step_time_ms=step_time_ms, **more)


def completed(loss: float = 2.0, **more: Any) -> Result:
    return Result(outcome=Outcome.COMPLETED, measurements=measured(loss, **more))


def failed(outcome: Outcome, message: str = "it broke") -> Result:
    return Result(outcome=outcome, message=message)


def point(fraction: float, loss: float | None, step: int | None = None) -> CurvePoint:
    steps = round(1000 * fraction) if step is None else step
    return CurvePoint(fraction=fraction, step=steps, training_seconds=1.0, validation_loss=loss)


@dataclass
class Site:
    """A store under test and how to open it again."""

    url: str
    clock: Clock = field(default_factory=Clock)
    store: SqlStore = field(init=False)

    def __post_init__(self) -> None:
        self.store = self.open()

    @property
    def postgres(self) -> bool:
        return self.url.startswith("postgresql")

    @property
    def kept(self) -> bool:
        """Whether the database outlives the store."""
        return self.url != "sqlite://"

    def open(self) -> SqlStore:
        return open_store(self.url, clock=self.clock)

    def restart(self) -> None:
        """Closes the store and opens it again, as a controller that was restarted."""
        self.store.close()
        self.store = self.open()

    def create(self, **changes: Any) -> str:
        return self.store.create_search(spec(**changes), actor=ME).id

    def search(self, search_id: str) -> SearchRecord:
        return self.store.get_search(search_id)

    def status(self, search_id: str) -> SearchStatus:
        return self.search(search_id).status

    def claim(self, count: int = 1, *, worker: str = "w-1", pool: str = "cpu") -> list[Lease]:
        return self.store.claim(ClaimRequest(worker_id=worker, pool=pool, count=count))

    def claim_one(self, **who: str) -> Lease:
        leases = self.claim(**who)  # type: ignore[arg-type]
        assert len(leases) == 1, "a lease was expected"
        return leases[0]

    def finish(self, lease: Lease, loss: float = 2.0, **more: Any) -> Receipt:
        return self.store.result(lease.lease_id, completed(loss, **more))

    def run_baseline(self, *, pool: str = "cpu", **more: Any) -> None:
        """Claims and completes the baseline's repeats on a pool, each with loss 3."""
        while True:
            lease = self.claim_one(pool=pool)
            if lease.kind is not TrialKind.BASELINE:
                self.store.release(lease.lease_id)
                return
            self.finish(lease, 3.0, **more)

    def started(self, **changes: Any) -> str:
        """Creates a search whose baseline on pool "cpu" is complete."""
        search_id = self.create(**changes)
        for _ in range(spec(**changes).baseline_repeats):
            lease = self.claim_one()
            assert lease.kind is TrialKind.BASELINE
            self.finish(lease, 3.0)
        return search_id

    def run(self, count: int, loss: Callable[[int], float] = lambda number: 2.0) -> list[Lease]:
        """Claims and completes trials, one after another."""
        leases: list[Lease] = []
        for _ in range(count):
            lease = self.claim_one()
            self.finish(lease, loss(lease.trial_number))
            leases.append(lease)
        return leases

    def beat(self, lease: Lease) -> str:
        return self.store.progress(lease.lease_id, Progress()).action

    def trial(self, lease: Lease) -> TrialRecord:
        return self.store.get_trial(lease.search_id, lease.trial_number)

    def trials(self, search_id: str, **where: Any) -> list[TrialRecord]:
        found: list[TrialRecord] = []
        cursor = None
        while True:
            page = self.store.list_trials(search_id, where=TrialFilter(**where), cursor=cursor)
            found += page.items
            cursor = page.next_cursor
            if cursor is None:
                return found

    def kinds_of_events(self, search_id: str) -> list[str]:
        return [one.kind for one in self.store.events(search_id=search_id)]
