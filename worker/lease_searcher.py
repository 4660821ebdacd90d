"""Tune's Searcher over a stock of leases: the dispatcher's side of a Tune run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ray.tune import Stopper
from ray.tune.search import Searcher

from search.lease import Lease
from worker.lease_stock import LeaseStock
from worker.settings import WorkerSettings


class LeaseSearcher(Searcher):  # type: ignore[misc]
    """Suggests leases until it is told to end or the run has had its share of trials.

    Args:
        stock: Where leases come from.
        settings: Handed to every trial.
        ended: Returns whether no more trials shall start.
        on_error: Told of a lease whose actor died.
    """

    def __init__(
        self,
        stock: LeaseStock,
        settings: WorkerSettings,
        *,
        ended: Callable[[], bool],
        on_error: Callable[[Lease], None],
    ) -> None:
        super().__init__()
        self._stock = stock
        self._settings_json = settings.model_dump_json()
        self._left = settings.run_trials
        self._ended = ended
        self._on_error = on_error
        self._leases: dict[str, Lease] = {}

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Returns the next lease, None while there is none, FINISHED at the end."""
        if self._ended() or self._left <= 0:
            return str(Searcher.FINISHED)
        lease = self._stock.take()
        if lease is None:
            return None
        self._left -= 1
        self._leases[trial_id] = lease
        return {"lease": lease.model_dump_json(), "settings": self._settings_json}

    def on_trial_complete(
        self,
        trial_id: str,
        result: dict[str, Any] | None = None,  # noqa: ARG002 (the controller has it already)
        error: bool = False,
    ) -> None:
        """Forgets a lease; one whose actor died is reported."""
        lease = self._leases.pop(trial_id, None)
        if error and lease is not None:
            self._on_error(lease)

    def save(self, checkpoint_path: str) -> None:
        """Saves nothing: the controller's database is the truth."""

    def restore(self, checkpoint_path: str) -> None:
        """Restores nothing, for the same reason."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class Drained(Stopper):  # type: ignore[misc]
    """Stops every trial of the run once the dispatcher ends.

    Args:
        ended: Returns whether it does.
    """

    def __init__(self, ended: Callable[[], bool]) -> None:
        self._ended = ended

    def __call__(self, _trial_id: str, _result: dict[str, Any]) -> bool:
        """Returns whether this trial alone is over; never."""
        return False

    def stop_all(self) -> bool:
        """Returns whether the run is over."""
        return self._ended()

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune writes down what it is given; nothing here is ever restored
