"""The dispatcher: one per Ray cluster, a Tune run fed by leases, bounded and then begun anew."""

from __future__ import annotations

import logging
import os
import signal
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from search.errors import BrainformerError, EnvironmentProblem
from search.lease import Lease, Result
from search.trial import Outcome
from worker.client import LeaseClient
from worker.data import list_datasets, open_dataset
from worker.lease_stock import LeaseStock
from worker.outbox import Outbox
from worker.settings import WorkerSettings

log = logging.getLogger(__name__)
OBJECT_STORE_BYTES = 100 * 2**20
LOGGERS = {
    "tensorboard": ("tensorboardX", "ray.tune.logger", "TBXLoggerCallback"),
    "mlflow": ("mlflow", "ray.air.integrations.mlflow", "MLflowLoggerCallback"),
    "wandb": ("wandb", "ray.air.integrations.wandb", "WandbLoggerCallback"),
}


def run_dispatcher(settings: WorkerSettings) -> int:
    """Runs leases until SIGTERM or SIGINT; returns 0 after a clean drain.

    Draining hands unstarted leases back; running trials save themselves and come back as
    preempted within ten seconds.

    Raises:
        EnvironmentProblem: Ray is not installed or does not start, or a folder is not writable.
    """
    settings.make_folders()
    callbacks = _logger_callbacks(settings)
    ended = threading.Event()
    with _Signals(ended):
        ray = _start_ray(settings)
        client = LeaseClient(settings.url, settings.token)
        outbox = Outbox(settings.outbox_folder, client)
        stock = LeaseStock(settings, client, lambda: _dataset_hashes(settings.data_folder))
        try:
            while not ended.is_set():
                _run(settings, stock, outbox, ended, callbacks)
        finally:
            stock.close()
            outbox.close()
            client.close()
            ray.shutdown()
    return 0


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
    stock: LeaseStock,
    outbox: Outbox,
    ended: threading.Event,
    callbacks: list[Any],
) -> None:
    """Runs one bounded Tune run."""
    from ray import tune

    from worker.lease_searcher import Drained, LeaseSearcher
    from worker.trainable import LeaseTrainable

    def report_death(lease: Lease) -> None:
        message = "the trial's actor died; see the worker's log"
        outbox.put(lease.lease_id, Result(outcome=Outcome.ERROR, message=message))

    searcher = LeaseSearcher(stock, settings, ended=ended.is_set, on_error=report_death)
    with tempfile.TemporaryDirectory(prefix="brainformer-tune-") as folder:
        tuner = tune.Tuner(
            tune.with_resources(LeaseTrainable, _resources(settings)),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                num_samples=-1,
                max_concurrent_trials=settings.slots,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name="leases",
                storage_path=folder,
                stop=Drained(ended.is_set),
                callbacks=callbacks,
                verbose=0,
                log_to_file=False,
            ),
        )
        tuner.fit()


def _resources(settings: WorkerSettings) -> dict[str, float]:
    """Returns what Ray reserves for one trial."""
    resources: dict[str, float] = {"cpu": settings.cores}
    if settings.platform == "gpu":
        resources["gpu"] = settings.accelerators
    if settings.platform == "tpu":
        resources["TPU"] = settings.accelerators
    if settings.accelerator_type:
        resources[f"accelerator_type:{settings.accelerator_type}"] = 0.001
    return resources


def _start_ray(settings: WorkerSettings) -> Any:
    """Returns the ray module, joined to a cluster or with one started on this machine."""
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    os.environ.setdefault("TUNE_MAX_PENDING_TRIALS_PG", str(settings.slots))
    try:
        import ray
    except ImportError:
        raise EnvironmentProblem(
            "Ray is not installed", "install the worker's packages: brainformer-search[cpu]"
        ) from None
    local: dict[str, Any] = {}
    if settings.ray_address is None:
        local = {
            "num_cpus": settings.slots * settings.cores,
            "include_dashboard": False,
            "object_store_memory": OBJECT_STORE_BYTES,
        }
    try:
        ray.init(
            address=settings.ray_address or "local",
            log_to_driver=False,
            logging_level=logging.ERROR,
            **local,
        )
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise EnvironmentProblem(
            f"Ray does not start: {str(error).strip().splitlines()[0]}",
            "check --ray-address, or leave it out to start Ray on this machine",
        ) from None
    return ray


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


def _dataset_hashes(folder: Path | None) -> dict[str, str]:
    """Returns the hash of every data set at hand; the built-in one is made at first use."""
    try:
        open_dataset("python-stdlib", folder, verify=False)
        return {manifest.id: manifest.hash for manifest in list_datasets(folder)}
    except BrainformerError as error:
        log.warning("%s", error.message)
        return {}
