"""A state machine over the store, with a clock of its own: what may a worker or an operator do?

The model knows which leases hold their trial and what was recorded. After every step the store
must agree with it, and with everything that can be recomputed from the trials alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from brainformer.search.errors import IllegalTransition, LeaseLost
from brainformer.search.status import SEARCH_TRANSITIONS, SearchStatus
from brainformer.search.store.records import TrialRecord
from brainformer.search.trials.lease_id import LeaseId
from brainformer.search.trials.lease_messages import (
    Lease,
    Progress,
    Receipt,
    Result,
)
from brainformer.search.trials.trial import (
    TRIAL_TRANSITIONS,
    Outcome,
    TrialKind,
    TrialStatus,
)
from tests.search.store.audit import all_trials, check_everything
from tests.search.store.site import (
    ME,
    Site,
    completed,
    failed,
    point,
)

POOLS = ("cpu", "h200")
BREAKS = (
    Outcome.PREEMPTED,
    Outcome.TIMED_OUT,
    Outcome.ERROR,
    Outcome.CANCELLED,
    Outcome.DIVERGED,
    Outcome.OUT_OF_MEMORY,
    Outcome.PRUNED,
    Outcome.INFEASIBLE,
)
FINAL = frozenset(status for status, later in TRIAL_TRANSITIONS.items() if not later)
WANTED = (
    SearchStatus.PAUSED,
    SearchStatus.RUNNING,
    SearchStatus.STOPPING,
    SearchStatus.CANCELLED,
)
LIMIT = 8
LEASE_SECONDS = 60.0
HOUR = 3600.0


@dataclass
class Held:
    """A lease that holds its trial."""

    lease: Lease
    expires: float


class StoreMachine(RuleBasedStateMachine):
    """Workers and an operator, each doing whatever comes to mind."""

    make_site: ClassVar[Callable[[], Site]]
    end_site: ClassVar[Callable[[Site], None]]
    steps = 0  # over all runs, for the benchmark

    def __init__(self) -> None:
        super().__init__()
        self.site = type(self).make_site()
        self.held: dict[str, Held] = {}
        self.reported: dict[str, tuple[Result, Receipt]] = {}
        self.granted: list[Lease] = []
        self.searches: list[str] = []
        self.before: dict[tuple[str, int], TrialRecord] = {}
        self.serving_since = self.site.clock.now

    @property
    def now(self) -> float:
        return self.site.clock.now

    # What workers do

    @rule(count=st.integers(1, 4), worker=st.sampled_from("abc"), pool=st.sampled_from(POOLS))
    def claim(self, count: int, worker: str, pool: str) -> None:
        self._lapse()
        for lease in self.site.claim(count, worker=worker, pool=pool):
            assert lease.lease_id not in {one.lease_id for one in self.granted}
            assert self.site.status(lease.search_id) is SearchStatus.RUNNING
            if lease.kind is not TrialKind.BASELINE:
                pools = {one.pool: one for one in self.site.store.baselines(lease.search_id)}
                assert pools[pool].repeats == pools[pool].needed, "candidates wait for baselines"
            self.granted.append(lease)
            self.held[lease.lease_id] = Held(lease, self.now + LEASE_SECONDS)

    @precondition(lambda self: self.granted)
    @rule(which=st.integers(0), with_point=st.booleans(), fraction=st.floats(0, 1))
    def heartbeat(self, which: int, with_point: bool, fraction: float) -> None:
        lease = self._any(which)
        report = Progress(point=point(fraction, 2.0) if with_point else None)
        held = self.held.get(lease.lease_id)
        cancelled = self._is_cancelled(lease)
        try:
            directive = self.site.store.progress(lease.lease_id, report)
        except LeaseLost:
            assert held is None, "a heartbeat in time was refused"
            return
        if held is None:
            assert cancelled
            assert (directive.action, directive.outcome) == ("stop", Outcome.CANCELLED)
        else:
            held.expires = self.now + LEASE_SECONDS

    @precondition(lambda self: self.granted)
    @rule(which=st.integers(0), loss=st.floats(0.5, 4.0))
    def complete(self, which: int, loss: float) -> None:
        self._report(self._any(which), completed(loss))

    @precondition(lambda self: self.granted)
    @rule(which=st.integers(0), outcome=st.sampled_from(BREAKS))
    def break_off(self, which: int, outcome: Outcome) -> None:
        self._report(self._any(which), failed(outcome))

    @precondition(lambda self: self.reported)
    @rule(which=st.integers(0))
    def repeat(self, which: int) -> None:
        lease_id = sorted(self.reported)[which % len(self.reported)]
        result, receipt = self.reported[lease_id]
        again = self.site.store.result(lease_id, result)
        assert again == receipt.model_copy(update={"duplicate": True})

    @precondition(lambda self: self.granted)
    @rule(which=st.integers(0))
    def release(self, which: int) -> None:
        lease = self._any(which)
        held = self.held.pop(lease.lease_id, None)
        try:
            self.site.store.release(lease.lease_id)
        except LeaseLost:
            assert held is None

    # What time and operators do

    @rule(seconds=st.sampled_from((1.0, 20.0, 59.0, 61.0, 200.0)))
    def wait(self, seconds: float) -> None:
        self.site.clock.advance(seconds)

    @rule()
    def set_clock_back(self) -> None:
        self.site.clock.advance(-HOUR)

    @rule()
    def reap(self) -> None:
        due = self._lapse()
        assert self.site.store.reap() == due

    @precondition(lambda self: self.site.kept)
    @rule()
    def restart(self) -> None:
        self.site.restart()
        self.serving_since = self.now

    @precondition(lambda self: len(self.searches) < 3)
    @rule(repeats=st.integers(1, 2), confirmations=st.integers(0, 2))
    def create(self, repeats: int, confirmations: int) -> None:
        self.searches.append(
            self.site.create(
                name=f"s{len(self.searches)}",
                baseline_repeats=repeats,
                confirmations=confirmations,
                confirmation_repeats=1,
                population_size=3,
                limits={"trials": LIMIT},
                step_time_slack=None,
            )
        )

    @initialize()
    def begin(self) -> None:
        self.create(1, 1)

    @rule(which=st.integers(0), wanted=st.sampled_from(WANTED))
    def change_status(self, which: int, wanted: SearchStatus) -> None:
        search_id = self.searches[which % len(self.searches)]
        before = self.site.status(search_id)
        try:
            after = self.site.store.change_status(search_id, wanted, actor=ME).status
        except IllegalTransition:
            assert wanted not in SEARCH_TRANSITIONS[before]
            return
        assert after is before or after is wanted or after.ended

    # What must hold

    @invariant()
    def the_store_agrees_with_the_model_and_with_itself(self) -> None:
        type(self).steps += 1
        running = set()
        for search_id in self.searches:
            check_everything(self.site.store, search_id)
            for trial in all_trials(self.site.store, search_id):
                self._check_history(trial)
                if trial.status is TrialStatus.RUNNING:
                    running.add((trial.id, trial.attempt))
        self._forget_cancelled()
        held = {LeaseId.parse(lease_id)[:2] for lease_id in self.held}
        assert running == held, "the leases that hold their trials"

    def teardown(self) -> None:
        """No trial is stuck: with workers and time, every search comes to its end."""
        try:
            self._drain()  # many steps at once: only what had ended before is compared
            self.before = {key: one for key, one in self.before.items() if one.status in FINAL}
            self.the_store_agrees_with_the_model_and_with_itself()
        finally:
            type(self).end_site(self.site)

    def _drain(self) -> None:
        for search_id in self.searches:
            if self.site.status(search_id) is SearchStatus.PAUSED:
                self.site.store.change_status(search_id, SearchStatus.RUNNING, actor=ME)
        for _ in range(40):
            for pool in POOLS:
                self.claim(4, "z", pool)
            for held in list(self.held.values()):
                self._report(held.lease, completed(2.0))
            self.site.clock.advance(LEASE_SECONDS + 1)
            if all(self.site.status(one).ended for one in self.searches):
                return
        raise AssertionError("a search did not come to its end")

    def _any(self, which: int) -> Lease:
        return self.granted[which % len(self.granted)]

    def _report(self, lease: Lease, result: Result) -> None:
        held = self.held.get(lease.lease_id)
        known = self.reported.get(lease.lease_id)
        same = known is not None and known[0] == result
        try:
            receipt = self.site.store.result(lease.lease_id, result)
        except LeaseLost:
            assert held is None, "a result in time was refused"
            assert not same, "an identical repeat was refused"
            return
        assert (held is not None) != receipt.duplicate
        assert receipt.duplicate == same
        if held is not None:
            del self.held[lease.lease_id]
            self.reported[lease.lease_id] = result, receipt

    def _lapse(self) -> int:
        """Takes out of the model what the next look at the leases must take; returns how many."""
        self.serving_since = min(self.serving_since, self.now)  # the clock was set back
        served = self.now - self.serving_since >= LEASE_SECONDS
        for held in self.held.values():
            if held.expires > self.now + LEASE_SECONDS + 1:
                held.expires = self.now + LEASE_SECONDS
        due = [one for one, held in self.held.items() if held.expires < self.now and served]
        for lease_id in due:
            del self.held[lease_id]
        return len(due)

    def _is_cancelled(self, lease: Lease) -> bool:
        trial = self.site.trial(lease)
        return trial.status is TrialStatus.CANCELLED and trial.attempt == lease.attempt

    def _forget_cancelled(self) -> None:
        for lease_id, held in list(self.held.items()):
            if self._is_cancelled(held.lease):
                del self.held[lease_id]

    def _check_history(self, trial: TrialRecord) -> None:
        """Legal transitions only; what has ended never changes again."""
        key = (trial.search_id, trial.number)
        before = self.before.get(key)
        self.before[key] = trial
        if before is None:
            return
        assert trial.attempt >= before.attempt
        if before.status in FINAL:
            same = trial.model_copy(update={"in_population": before.in_population})
            assert same == before, "what has ended never changes"
        elif trial.status is not before.status:
            reached = set(TRIAL_TRANSITIONS[before.status])
            if before.status is TrialStatus.QUEUED or TrialStatus.QUEUED in reached:
                reached |= {TrialStatus.RUNNING} | TRIAL_TRANSITIONS[TrialStatus.QUEUED]
            assert trial.status in reached
