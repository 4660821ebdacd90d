"""One host of a trial that several share: its training process, as the first host looks after it.

No call waits for anything but this machine, so that one host that is lost holds up nobody.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from brainformer.search.errors import EnvironmentProblem
from brainformer.search.trials.lease_messages import GO_ON, Directive, Lease, Progress, Result
from brainformer.worker.devices.joining import Membership
from brainformer.worker.process.isolation import TrainingProcess
from brainformer.worker.process.shared_folder import not_shared, sees
from brainformer.worker.settings import WorkerSettings

NEVER = 2**31  # all hosts take fresh processes at once, so none does by itself


@dataclass(frozen=True)
class HostState:
    """How a host stands.

    Attributes:
        ready: Whether its process has joined the others and waits for leases.
        lost: Why the host can no longer take part; "" as long as it can.
        lease_id: Of the result.
        result: Of the lease that was begun last, once it is there.
        words: The last that its process wrote, where it is lost.
    """

    ready: bool = False
    lost: str = ""
    lease_id: str = ""
    result: Result | None = None
    words: str = ""


class Host(ABC):
    """A host's training process, here or elsewhere."""

    @abstractmethod
    def start(self, member: Membership, mark: Path) -> None:
        """Starts a fresh process that joins the others, if this host sees the mark."""

    @abstractmethod
    def begin(self, lease: Lease) -> None:
        """Begins a lease; all hosts of a trial do."""

    @abstractmethod
    def state(self) -> HostState:
        """Returns the latest that is known."""

    @abstractmethod
    def interrupt(self) -> None:
        """Asks the running trial to save itself and end."""

    @abstractmethod
    def kill(self) -> None:
        """Ends the process at once."""


class HostProcess(Host):
    """The process of this very host.

    Args:
        settings: Platform, cores, folders.
        on_progress: Answers the trial's reports; the first host's alone are made.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        on_progress: Callable[[Progress], Directive] = lambda _: GO_ON,
    ) -> None:
        self._settings = settings.model_copy(update={"recycle_after": NEVER})
        self._on_progress = on_progress
        self._process: TrainingProcess | None = None
        self._lost = ""
        self._running = ""
        self._result: Result | None = None

    def start(self, member: Membership, mark: Path) -> None:
        """Starts the process; why it cannot be is told as the host's state."""
        self.kill()
        self._lost = "" if sees(mark) else not_shared(mark.parent)
        if self._lost:
            return
        self._process = TrainingProcess(self._settings, self._on_progress, member=member)
        try:
            self._process.start()
        except (OSError, EnvironmentProblem) as error:
            self._lost = str(error)

    def begin(self, lease: Lease) -> None:
        """Begins a lease."""
        self._running, self._result = lease.lease_id, None
        if self._process is not None:
            self._process.begin(lease)

    def state(self) -> HostState:
        """Returns how the process stands now."""
        process = self._process
        if process is None:
            return HostState(lost=self._lost)
        if self._running and self._result is None:
            self._result = process.result(0.0)
        died = process.death
        if died and not self._lost:
            self._lost = f"its training process ended with {died}"
        return HostState(
            ready=process.waits,
            lost=self._lost,
            lease_id=self._running,
            result=self._result,
            words=self._words(process) if self._lost else "",
        )

    def _words(self, process: TrainingProcess) -> str:
        """Returns the last that the process wrote; its result has kept what a trial's wrote."""
        kept = None if self._result is None else self._result.traceback
        return kept or process.last_words()

    def interrupt(self) -> None:
        """Asks the running trial to save itself and end."""
        if self._process is not None:
            self._process.interrupt()

    def kill(self) -> None:
        """Ends the process; nothing of its trial is known afterwards."""
        if self._process is not None:
            self._process.kill()
        self._process, self._lost, self._running, self._result = None, "", "", None
