"""The hosts of a slot: their processes start together, run each lease together and end together.

The first host is this one; it speaks with the controller, and its result is the trial's. One
that is lost, however, ends the attempt on all of them: jax cannot go on without it.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from brainformer.search.errors import EnvironmentProblem
from brainformer.search.trials.lease_messages import Lease, Result
from brainformer.search.trials.trial import Outcome
from brainformer.worker.devices.joining import JOIN_SECONDS, Membership
from brainformer.worker.process.host import Host, HostState
from brainformer.worker.process.shared_folder import leave_mark
from brainformer.worker.process.trial_runner import TrialRunner
from brainformer.worker.settings import WorkerSettings
from brainformer.worker.training.failures import SOUND_OUTCOMES

log = logging.getLogger(__name__)
LOOK_SECONDS = 0.1  # between looks at the hosts
TOGETHER_SECONDS = JOIN_SECONDS + 60.0  # from a process's start until all have joined
SETTLE_SECONDS = 20.0  # from the first host's end of a lease to the last one's, or to its loss
LOST_SETTLE_SECONDS = 5.0  # the same once one is lost: those that hang need not be waited for
ABORTED = "SIGABRT"
FIRST_PAUSE_SECONDS = 1.0  # before hosts that have not come together are tried again
LONGEST_PAUSE_SECONDS = 60.0


class HostGroup(TrialRunner):
    """The hosts of a slot, as the first one leads them.

    Args:
        settings: Of the worker.
        hosts: The first one is this very host.
        address: Of this host, as the others reach it.
        tell: Told each time that hosts do not come together, and why.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        hosts: Sequence[Host],
        *,
        address: str,
        tell: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._hosts = hosts
        self._address = address
        self._tell = tell
        self._mark: Path | None = None
        self._started_at: float | None = None
        self._pause = 0.0
        self._retry_at = 0.0
        self._lease_id = ""
        self._ended: dict[int, HostState] = {}
        self._first_end = 0.0
        self._served = 0
        self._idle = threading.Event()  # never set: a wait that is no sleep

    def ready(self, timeout: float) -> bool:
        """Returns whether all hosts wait for a lease, or do within `timeout` seconds.

        They are started where they are not, and started again, after a pause that doubles, where
        they do not come together: no lease is claimed for hosts that are not there.
        """
        end = time.monotonic() + timeout
        while True:
            if self._started_at is None and time.monotonic() >= self._retry_at:
                self._start()
            if self._started_at is not None and self._all_wait():
                return True
            left = end - time.monotonic()
            if left <= 0:
                return False
            self._idle.wait(min(LOOK_SECONDS, left))

    def begin(self, lease: Lease) -> None:
        """Hands the lease to all hosts."""
        self._lease_id, self._ended = lease.lease_id, {}
        self._first_end = time.monotonic()
        for host in self._hosts:
            host.begin(lease)

    def result(self, timeout: float) -> Result | None:
        """Returns the trial's result if it comes within `timeout` seconds.

        After anything but a sound end on every host, and otherwise by policy, all processes are
        killed, and the next lease gets fresh ones.
        """
        end = time.monotonic() + timeout
        while (result := self._result()) is None:
            left = end - time.monotonic()
            if left <= 0:
                return None
            self._idle.wait(min(LOOK_SECONDS, left))
        self._served += 1
        if not self._sound or self._served >= self._settings.recycle_after:
            self.kill()
        return result

    def interrupt(self) -> None:
        """Asks the trial to save itself and end; it does so on all hosts at the same step."""
        for host in self._hosts:
            host.interrupt()

    def kill(self) -> None:
        """Ends the processes of all hosts."""
        for host in self._hosts:
            host.kill()
        self._remove_mark()
        self._started_at, self._served = None, 0

    def _start(self) -> None:
        """Starts a process on each host; the others are told where the first one is."""
        self._started_at = time.monotonic()
        coordinator, count = f"{self._address}:{_free_port()}", len(self._hosts)
        try:
            self._mark = leave_mark(self._settings.checkpoints_folder)
        except EnvironmentProblem as error:
            self._give_up(error.message)
            return
        for number, host in enumerate(self._hosts):
            host.start(Membership(coordinator, count, number), self._mark)

    def _all_wait(self) -> bool:
        """Returns whether all hosts wait for a lease; gives them up if one cannot."""
        states = dict(enumerate(host.state() for host in self._hosts))
        lost = _lost(states)
        missing = [str(number) for number, state in states.items() if not state.ready]
        if lost is not None:
            self._give_up(self._words(lost, states[lost]))
        elif not missing:
            self._remove_mark()
            self._pause = 0.0
            return True
        elif time.monotonic() - (self._started_at or 0.0) > TOGETHER_SECONDS:
            self._give_up(f"host {', '.join(missing)} has not come in {TOGETHER_SECONDS:.0f} s")
        return False

    def _give_up(self, why: str) -> None:
        """Ends what has started, tells why, and tries again after a pause."""
        self._tell(f"the {len(self._hosts)} hosts of a slot have not come together: {why}")
        self.kill()
        self._pause = min(LONGEST_PAUSE_SECONDS, 2 * self._pause or FIRST_PAUSE_SECONDS)
        self._retry_at = time.monotonic() + self._pause

    def _remove_mark(self) -> None:
        if self._mark is not None:
            self._mark.unlink(missing_ok=True)
            self._mark = None

    def _result(self) -> Result | None:
        """Returns the result once every host has ended the lease, or has had time to."""
        for number, host in enumerate(self._hosts):
            if number not in self._ended:
                state = host.state()
                if state.lost or (state.result and state.lease_id == self._lease_id):
                    self._ended[number] = state
        if not self._ended:
            self._first_end = time.monotonic()
            return None
        given = SETTLE_SECONDS if _lost(self._ended) is None else LOST_SETTLE_SECONDS
        settled = time.monotonic() - self._first_end >= given
        return self._judged() if settled or len(self._ended) == len(self._hosts) else None

    def _judged(self) -> Result | None:
        """Returns what the hosts' ends mean for the trial; None while the first one may go on.

        A host that is lost takes others with it, which end in errors of all kinds: these say
        nothing about the genome.
        """
        first, lost = self._ended.get(0), _lost(self._ended)
        ours = None if first is None or first.lost else first.result
        if ours is not None and (lost is None or ours.outcome is not Outcome.ERROR):
            return ours
        if lost is not None:
            return Result(
                outcome=Outcome.PREEMPTED,
                message=self._words(lost, self._ended[lost])[:2000],
                traceback=self._ended[lost].words,
            )
        for number, state in self._ended.items():
            if state.result is not None and state.result.outcome not in SOUND_OUTCOMES:
                told = f"host {number} of {len(self._hosts)}: {state.result.message}"
                return state.result.model_copy(update={"message": told[:2000]})
        return None

    @property
    def _sound(self) -> bool:
        """Whether every host has ended the lease so that it may begin another."""
        results = [state.result for state in self._ended.values() if not state.lost]
        sound = [one is not None and one.outcome in SOUND_OUTCOMES for one in results]
        return len(sound) == len(self._hosts) and all(sound)

    def _words(self, number: int, state: HostState) -> str:
        """Returns the sentence about a host that is lost."""
        last = state.words.strip().rpartition("\n")[2]
        return f"host {number} of {len(self._hosts)} was lost: {state.lost}" + (
            f" ({last[:300]})" if last else ""
        )


def _lost(states: Mapping[int, HostState]) -> int | None:
    """Returns the number of the host that was lost first, as far as can be told.

    jax aborts the processes that are left, which is a loss only where there is no other.
    """
    lost = [number for number, state in states.items() if state.lost]
    return min(lost, key=lambda number: ABORTED in states[number].lost, default=None)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("", 0))
        return int(free.getsockname()[1])
