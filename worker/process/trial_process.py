"""The process that trains: leases come in on a pipe, one JSON object a line; results go out.

Its first line says that it is ready: jax is loaded and what does not depend on the lease is done.

It is started by `isolation.py` with its environment set; it takes its cores before jax is imported.
Two things end a running trial early, and both make it save itself and come back as preempted: the
message `stop`, and SIGTERM, after which the process ends too.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import faulthandler
import gc
import json
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from brainformer.search.trials.lease_messages import (
    Directive,
    Lease,
    Progress,
    Result,
)
from brainformer.search.trials.trial import Measurements, Outcome
from brainformer.worker.devices.joining import join
from brainformer.worker.process.environment import COLLECT_AFTER
from brainformer.worker.training.failures import failed_result

PR_SET_PDEATHSIG = 1
FORGET_EVERY = 10  # trials; more often would load the operations of the start again each time
LAST_SECONDS = 10.0  # from SIGTERM to the end, whatever the trial does


class Channel:
    """JSON lines to and from the process that started this one.

    A thread reads them, so that `stop` arrives while the main thread trains.

    Attributes:
        stop: Set while the running trial should save itself and end.
        ending: Set once the process should end, after the running trial.
    """

    def __init__(self, reader: IO[str], writer: IO[str]) -> None:
        self.stop = threading.Event()
        self.ending = threading.Event()
        self._reader = reader
        self._writer = writer
        self._leases: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._directives: queue.Queue[dict[str, Any] | None] = queue.Queue()
        threading.Thread(target=self._read, name="channel", daemon=True).start()

    def end(self) -> None:
        """Ends the running trial, and the process after it."""
        self.ending.set()
        self.stop.set()
        self._directives.put(None)
        self._leases.put(None)

    def next_lease(self) -> dict[str, Any] | None:
        """Returns the next lease with what goes with it; None when the other side has gone."""
        return self._leases.get()

    def send(self, kind: str, body: str) -> None:
        """Sends a message whose body is JSON text."""
        self._writer.write(f'{{"kind":"{kind}","body":{body}}}\n')
        self._writer.flush()

    def report(self, progress: Progress) -> Directive:
        """Sends progress and returns the directive that answers it."""
        self.send("progress", progress.model_dump_json())
        answer = self._directives.get()
        if answer is None:
            return Directive.stop(Outcome.CANCELLED, "cancelled: the worker has gone")
        return Directive.model_validate(answer)

    def _read(self) -> None:
        running = None
        try:
            for line in self._reader:
                message = json.loads(line)
                if message["kind"] == "lease":
                    running = message["body"]["lease"]["lease_id"]
                    if not self.ending.is_set():
                        self.stop.clear()
                    self._leases.put(message["body"])
                elif message["kind"] == "directive":
                    self._directives.put(message["body"])
                elif message["body"] == running:  # a late `stop` means a lease that is over
                    self.stop.set()
        finally:
            self.end()


def main() -> None:
    """Serves leases until the other side closes the pipe, or SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cores", default="", help="comma-separated; empty for any")
    parser.add_argument("--runner", default="train", choices=list(RUNNERS))
    parser.add_argument("--cache-folder", type=Path, help="of compiled programs")
    parser.add_argument("--coordinator", help="HOST:PORT of the first of several hosts")
    parser.add_argument("--hosts", type=int, default=1, help="that share each trial")
    parser.add_argument("--host", type=int, default=0, help="the number of this one")
    options = parser.parse_args()
    if options.cores:
        os.sched_setaffinity(0, {int(core) for core in options.cores.split(",")})
    faulthandler.enable()
    gc.set_threshold(COLLECT_AFTER)
    # Whatever a library prints must not look like a message.
    writer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    channel = Channel(sys.stdin, writer)
    _obey_signals(channel)
    if options.runner != "sleep":
        if options.hosts > 1:
            join(options.coordinator, options.hosts, options.host, remedy="see the other hosts")
        with contextlib.suppress(Exception):  # the first lease meets it too, and can tell
            _prepare(options.cache_folder)
    channel.send("ready", "null")
    served = 0
    while not channel.ending.is_set() and (body := channel.next_lease()) is not None:
        try:
            run = RUNNERS[body["runner"]]
            result = run(Lease.model_validate(body["lease"]), body, channel)
        except Exception as error:  # noqa: BLE001 (a failed candidate is data)
            result = failed_result(error)
        try:
            channel.send("result", result.model_dump_json())
        except BrokenPipeError:
            return
        served += 1
        if served % FORGET_EVERY == 0:
            _forget()
        else:
            gc.collect()  # before another trial needs the memory
        if served == 1:
            gc.freeze()  # what is there by now stays, and need not be looked at again


def _prepare(cache_folder: Path | None) -> None:
    """Does what every first trial needs, before a lease is held for it."""
    import jax
    from flax import nnx

    from brainformer.model.initial import normal
    from brainformer.worker.devices.compiler_options import dispatch_in_order, use_compilation_cache
    from brainformer.worker.timing.calibration import reference_kernel
    from brainformer.worker.training import proxy_training  # noqa: F401 (with all that it imports)

    dispatch_in_order()
    if cache_folder is not None:
        use_compilation_cache(cache_folder)
    normal(nnx.Rngs(0), (1,), scale=1.0)
    if jax.devices()[0].platform == "cpu":
        reference_kernel()


def _forget() -> None:
    """Lets go of what jax remembers of earlier genomes: traces and programs, about 1 MB each.

    What they leave in pieces goes back to the system: the heap would creep up by another genome's
    worth now and then.
    """
    if "jax" in sys.modules:
        import jax

        from brainformer.worker.training.heap import give_back

        pieces = sys.modules.get("brainformer.worker.training.evaluation_program")
        if pieces is not None:
            pieces.forget_pieces()
        jax.clear_caches()  # type: ignore[no-untyped-call]
        gc.collect()
        give_back()


def _obey_signals(channel: Channel) -> None:
    """SIGTERM, from anybody or for the death of the parent, saves the trial and ends the process.

    The last seconds are watched by a thread, since no handler runs while XLA compiles.
    """
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    arrived, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda _number, _frame: None)

    def watch() -> None:
        while signal.SIGTERM not in os.read(arrived, 64):
            continue
        channel.end()
        time.sleep(LAST_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, name="last-seconds", daemon=True).start()


def _train(lease: Lease, body: dict[str, Any], channel: Channel) -> Result:
    """Trains the lease's genome."""
    import jax

    from brainformer.worker.datasets.catalogue import open_dataset
    from brainformer.worker.training.proxy_training import train_proxy

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
        stop=channel.stop,
        already_occupied_seconds=time.monotonic() - body["begun"],
        save_every_seconds=body["save_every_seconds"],
    )


def _compile(lease: Lease, body: dict[str, Any], _channel: Channel) -> Result:
    """Fills the compilation cache with what the lease's training will ask for."""
    from brainformer.worker.training.proxy_training import compile_lease

    program = compile_lease(lease, cache_folder=Path(body["cache_folder"]))
    program.initial()
    measured = Measurements(compile_seconds=program.compile_seconds)
    return Result(outcome=Outcome.COMPLETED, measurements=measured)


def _sleep(lease: Lease, _body: dict[str, Any], channel: Channel) -> Result:
    """Holds the slot for the budget and invents a loss: for measuring the dispatcher alone."""
    started = time.monotonic()
    preempted = channel.stop.wait(lease.proxy.budget_seconds)
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


RUNNERS: dict[str, Callable[[Lease, dict[str, Any], Channel], Result]] = {
    "train": _train,
    "compile": _compile,
    "sleep": _sleep,
}


if __name__ == "__main__":
    main()
