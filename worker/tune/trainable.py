"""The Tune trainable: a slot's turn, in an actor that Tune reuses for the next one.

A step waits at most a second, so that Tune can stop the turn at any time.
"""

from __future__ import annotations

from typing import Any

import ray
from ray import tune

from brainformer.worker.settings import WorkerSettings
from brainformer.worker.slot.slot import Slot
from brainformer.worker.tune.hosts import other_hosts

STEP_SECONDS = 1.0


class LeaseTrainable(tune.Trainable):  # type: ignore[misc]
    """Lends a Ray actor's resources to a slot."""

    def setup(self, config: dict[str, Any], settings: WorkerSettings) -> None:
        """Makes the slot.

        The settings hold the token, so they do not come with the config, which loggers write down.
        Nothing is claimed before the first step: Tune may yet give the turn to another actor.
        """
        settings.make_folders()  # this may be another machine than the dispatcher's
        if settings.hosts == 1:
            self._slot = Slot(settings)
        else:
            self._slot = Slot(
                settings, other_hosts(settings), address=ray.util.get_node_ip_address()
            )
        self._turn_seconds: float | None = config["turn_seconds"]

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Takes the next turn in the same actor."""
        self._turn_seconds = new_config["turn_seconds"]
        return True

    def step(self) -> dict[str, Any]:
        """Returns the latest of the running trial, and whether the turn is over."""
        if self._turn_seconds is not None:
            self._slot.begin_turn(self._turn_seconds)
            self._turn_seconds = None
        over, told = self._slot.wait(STEP_SECONDS)
        return {**told, "done": over}

    def cleanup(self) -> None:
        """Ends a trial that still runs as preempted and lets go of everything."""
        self._slot.close()

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Saves nothing: a trial's own checkpoint is made on preemption."""
