"""The dispatcher: one per Ray cluster, a Tune run fed by leases, bounded and then started again."""

from __future__ import annotations

import logging
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import FrameType
from typing import Any

from brainformer.search.counted import counted
from brainformer.search.errors import (
    Conflict,
    EnvironmentProblem,
    NotAuthorised,
)
from brainformer.search.trials.lease_messages import Result
from brainformer.search.trials.trial import Outcome
from brainformer.worker.settings import WorkerSettings
from brainformer.worker.slot.controller_client import LeaseClient
from brainformer.worker.slot.first_contact import meet_controller
from brainformer.worker.slot.outbox import Outbox
from brainformer.worker.timing.calibration import cores
from brainformer.worker.timing.clock import SystemClock
from brainformer.worker.tune.cleanup import discard_old_checkpoints, prune_compiled
from brainformer.worker.tune.console import Console
from brainformer.worker.tune.held_sigterm import HeldSigterm
from brainformer.worker.tune.pulse import Pulse
from brainformer.worker.tune.ray_session import (
    check_accelerators,
    slot_resources,
    start_ray,
)

log = logging.getLogger(__name__)
LOGGERS = {
    "tensorboard": ("tensorboardX", "ray.tune.logger", "TBXLoggerCallback"),
    "mlflow": ("mlflow", "ray.air.integrations.mlflow", "MLflowLoggerCallback"),
    "wandb": ("wandb", "ray.air.integrations.wandb", "WandbLoggerCallback"),
}


def run_dispatcher(settings: WorkerSettings, tell: Callable[[str], None] = log.info) -> int:
    """Runs leases until SIGTERM or SIGINT; returns 0 after a clean drain.

    Draining hands unstarted leases back; running trials save themselves and come back as
    preempted within ten seconds.

    Args:
        settings: Of the worker.
        tell: Told, sentence by sentence, what this worker does.

    Raises:
        EnvironmentProblem: Ray is not installed or does not start, a folder is not writable, the
            slots need more cores or accelerators than there are, or a trial's hosts are not there.
        InvalidInput: there is no controller at that address.
        NotAuthorised: the controller refuses the token, at the start or later.
        Conflict: the controller gives the pool no work any more, or is of another minor version,
            at the start or later.
    """
    _check_cores(settings)
    settings.make_folders()
    callbacks = _logger_callbacks(settings)
    stop = Stop()
    client = LeaseClient(settings.url, settings.token)
    try:
        with _Signals(stop.event):
            meet_controller(client, stop.event, tell)
        if stop.event.is_set():
            return 0
        client.check_version()
        # A cluster that is joined may keep us waiting for longer than anybody who ends this.
        with HeldSigterm(hold=settings.ray_address is None) as sigterm:
            tell(f"starting {counted(settings.slots, 'slot')} for pool {settings.pool} ...")
            ray = start_ray(settings)
            try:
                # From here on: Ray takes SIGTERM for itself when it starts.
                with _Signals(stop.event):
                    sigterm.let_through()
                    check_accelerators(settings, ray.cluster_resources())
                    from brainformer.worker.tune.muster import muster, slices_wanted

                    with slices_wanted(settings):
                        muster(settings, stop.event, tell)
                        _run_until(stop, settings, client, callbacks, Console(tell))
            finally:
                ray.shutdown()
    finally:
        client.close()
    stop.complain()
    tell("drained; nothing runs here any more")
    return 0


class Stop:
    """Whether the dispatcher ends, and why if it is not because somebody asked it to."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self._refusal: tuple[str, str] | None = None

    def refuse(self, code: str, why: str) -> None:
        """Ends the dispatcher since the controller refuses it, by an error of that code."""
        self._refusal = self._refusal or (code, why)
        self.event.set()

    def complain(self) -> None:
        """Raises NotAuthorised or Conflict if the controller has refused this worker."""
        if self._refusal is None:
            return
        code, why = self._refusal
        raise NotAuthorised(why) if code == NotAuthorised.code else Conflict(why)


def _run_until(
    stop: Stop,
    settings: WorkerSettings,
    client: LeaseClient,
    callbacks: list[Any],
    console: Console,
) -> None:
    outbox = Outbox(settings.outbox_folder, client, inherits=True)
    try:
        while not stop.event.is_set():
            discard_old_checkpoints(settings.checkpoints_folder)
            prune_compiled(settings.cache_folder)
            _run(settings, outbox, stop, callbacks, console)
    finally:
        outbox.close()


def _check_cores(settings: WorkerSettings) -> None:
    """Raises EnvironmentProblem if timed trials would have to share a core."""
    if settings.ray_address or settings.platform != "cpu" or settings.runner != "train":
        return
    wanted, there = settings.slots * settings.slot_cores, cores()
    if wanted > there:
        raise EnvironmentProblem(
            f"{settings.slots} slots of {settings.slot_cores} cores need {wanted} cores, there "
            f"are {there}",
            "choose fewer slots or cores: two timed trials must not share one",
        )


class _Signals:
    """While inside, SIGTERM and SIGINT set an event instead of ending the process."""

    def __init__(self, event: threading.Event) -> None:
        self._event = event
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> None:
        # Tune would take SIGINT for itself.
        os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"
        for number in (signal.SIGTERM, signal.SIGINT):
            self._before[number] = signal.signal(number, self._set)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _set(self, _number: int, _frame: FrameType | None) -> None:
        self._event.set()


def _run(
    settings: WorkerSettings,
    outbox: Outbox,
    stop: Stop,
    callbacks: list[Any],
    console: Console,
) -> None:
    """Runs one bounded Tune run."""
    from ray import tune

    from brainformer.worker.tune.futures import let_go_of_resolved_futures
    from brainformer.worker.tune.trainable import LeaseTrainable
    from brainformer.worker.tune.turn_searcher import Drained, TurnSearcher

    let_go_of_resolved_futures()

    # A host that is lost is nothing that the genome did, whichever of several it is.
    died_as = Outcome.ERROR if settings.hosts == 1 else Outcome.PREEMPTED

    def report_death(search_id: str, lease_id: str) -> None:
        message = "the trial's actor died; see the worker's log"
        result = Result(outcome=died_as, message=message)
        outbox.put(lease_id, search_id, result, wait=False)

    pulse = Pulse(settings.pulse_file, SystemClock())

    def over() -> bool:
        pulse.beat()
        return stop.event.is_set()

    end = time.monotonic() + settings.run_seconds
    searcher = TurnSearcher(
        left=lambda: 0.0 if stop.event.is_set() else end - time.monotonic(),
        on_death=report_death,
        tell=console.tell,
        refuse=stop.refuse,
    )
    trainable = tune.with_parameters(LeaseTrainable, settings=settings)
    with _storage(settings) as folder:
        tuner = tune.Tuner(
            tune.with_resources(trainable, slot_resources(settings)),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                num_samples=-1,
                # Tune keeps an actor for reuse only while another turn waits for one.
                max_concurrent_trials=settings.slots * (2 if settings.loggers else 1),
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name=f"{settings.pool}-{datetime.now(UTC):%Y%m%d-%H%M%S}",
                storage_path=folder,
                stop=Drained(over),
                callbacks=callbacks,
                verbose=0,
                log_to_file=False,
            ),
        )
        tuner.fit()


def _logger_callbacks(settings: WorkerSettings) -> list[Any]:
    """Returns Tune's own loggers that were asked for.

    Raises:
        EnvironmentProblem: the package behind one is not installed.
    """
    from importlib import import_module
    from importlib.util import find_spec

    callbacks = []
    for name in settings.loggers:
        package, module, attribute = LOGGERS[name]
        if find_spec(package) is None:
            raise EnvironmentProblem(
                f"{package} is not installed", f"pip install {package}, or leave out {name}"
            )
        make: Callable[..., Any] = getattr(import_module(module), attribute)
        callbacks.append(make(project="brainformer") if name == "wandb" else make())
    return callbacks


@contextmanager
def _storage(settings: WorkerSettings) -> Iterator[str]:
    """Yields where Tune writes: a folder that goes, unless loggers want it kept."""
    if settings.loggers:
        settings.tune_folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        yield str(settings.tune_folder)
        return
    with tempfile.TemporaryDirectory(prefix="brainformer-tune-") as folder:
        yield folder
