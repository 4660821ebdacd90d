"""The process that trains: reads leases from a pipe, one JSON object a line, and answers results.

It is started by `worker/isolation.py` with its environment and cores already set; jax is imported
with the first lease. SIGTERM asks the running trial to save itself and come back as preempted.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import IO, Any

from search.lease import Directive, Lease, Progress, Result
from search.trial import Measurements, Outcome
from worker.failures import failed_result

PR_SET_PDEATHSIG = 1


class Channel:
    """JSON lines to and from the process that started this one."""

    def __init__(self, reader: IO[str], writer: IO[str]) -> None:
        self._reader = reader
        self._writer = writer

    def receive(self) -> dict[str, Any] | None:
        """Returns the next message; None when the other side has gone."""
        line = self._reader.readline()
        message: dict[str, Any] | None = json.loads(line) if line else None
        return message

    def send(self, kind: str, body: str) -> None:
        """Sends a message whose body is JSON text."""
        self._writer.write(f'{{"kind":"{kind}","body":{body}}}\n')
        self._writer.flush()

    def report(self, progress: Progress) -> Directive:
        """Sends progress and returns the directive that answers it."""
        self.send("progress", progress.model_dump_json())
        answer = self.receive()
        if answer is None:
            raise SystemExit(0)
        return Directive.model_validate(answer["body"])


def main() -> None:
    """Serves leases until the other side closes the pipe."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    # Whatever a library prints must not look like a message.
    writer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    channel = Channel(sys.stdin, writer)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda _number, _frame: stop.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while (message := channel.receive()) is not None:
        stop.clear()
        body = message["body"]
        run = {"train": _train, "sleep": _sleep}[body["runner"]]
        lease = Lease.model_validate(body["lease"])
        try:
            result = run(lease, body, channel, stop)
        except Exception as error:  # noqa: BLE001 (a failed candidate is data)
            result = failed_result(error)
        channel.send("result", result.model_dump_json())


def _train(lease: Lease, body: dict[str, Any], channel: Channel, stop: threading.Event) -> Result:
    """Trains the lease's genome."""
    import jax

    from worker.data import open_dataset
    from worker.proxy_training import train_proxy

    platform = jax.devices()[0].platform
    if platform != body["platform"]:
        return Result(
            outcome=Outcome.ERROR,
            message=f"this worker promised {body['platform']}, but jax found {platform}",
        )
    folder = Path(body["data_folder"]) if body["data_folder"] else None
    return train_proxy(
        lease,
        on_progress=channel.report,
        data=open_dataset(lease.proxy.dataset, folder, verify=False),
        cache_folder=Path(body["cache_folder"]),
        checkpoint_folder=Path(body["checkpoint_folder"]),
        stop=stop,
    )


def _sleep(lease: Lease, _body: dict[str, Any], _channel: Channel, stop: threading.Event) -> Result:
    """Holds the slot for the budget and invents a loss: for measuring the dispatcher alone."""
    started = time.monotonic()
    preempted = stop.wait(lease.proxy.budget_seconds)
    seconds = time.monotonic() - started
    if preempted:
        return Result(outcome=Outcome.PREEMPTED, message="asked to stop")
    loss = 2.0 + (int(lease.genome.digest[:8], 16) % 1000) / 1000
    measured = Measurements(
        validation_loss=loss,
        step_time_ms=1.0,
        steps=1,
        training_seconds=seconds,
        occupied_seconds=seconds,
    )
    return Result(outcome=Outcome.COMPLETED, measurements=measured)


if __name__ == "__main__":
    main()
