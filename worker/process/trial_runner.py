"""What a slot asks of whatever runs its trials: one process here, or one on each of its hosts."""

from __future__ import annotations

from abc import ABC, abstractmethod

from brainformer.search.trials.lease_messages import Lease, Result
from brainformer.search.trials.trial import Outcome

PREEMPTION_SECONDS = 8.0  # for a trial that was interrupted to save itself


class TrialRunner(ABC):
    """Runs one lease at a time."""

    @abstractmethod
    def ready(self, timeout: float) -> bool:
        """Returns whether a lease may be begun, now or within `timeout` seconds."""

    @abstractmethod
    def begin(self, lease: Lease) -> None:
        """Begins a lease."""

    @abstractmethod
    def result(self, timeout: float) -> Result | None:
        """Returns the lease's result if it comes within `timeout` seconds."""

    @abstractmethod
    def interrupt(self) -> None:
        """Asks the running trial to save itself and end."""

    @abstractmethod
    def kill(self) -> None:
        """Ends what runs at once; the next lease finds it started afresh."""

    def preempt(self) -> Result:
        """Returns the preempted trial's result; what takes too long to save itself is killed."""
        self.interrupt()
        result = self.result(PREEMPTION_SECONDS)
        if result is None:
            self.kill()
            result = Result(outcome=Outcome.PREEMPTED, message="killed while it saved itself")
        return result
