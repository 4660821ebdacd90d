"""What Ray Tune keeps of steps that are over: nothing, after this.

Ray 2.60 keeps the reference to every step's result until the actor ends
(`RayActorManager._tracked_actors_to_task_futures`), and with it the result: about 2 KB a step, so
half a gigabyte an hour with 64 slots whose turns last for hours (docs/performance/worker.md).
"""

from __future__ import annotations

from typing import Any


def let_go_of_resolved_futures() -> None:
    """Makes Ray's actor manager drop an actor's results once they have been handled.

    With a Ray whose manager looks different nothing is changed.
    """
    from ray.air.execution._internal.actor_manager import RayActorManager

    resolve = getattr(RayActorManager, "_actor_task_resolved", None)
    if resolve is None or hasattr(resolve, "lets_go"):
        return

    def resolve_and_let_go(manager: Any, tracked_actor_task: Any, result: Any) -> None:
        futures = getattr(manager, "_tracked_actors_to_task_futures", {})
        events = getattr(manager, "_actor_task_events", None)
        kept = futures.get(getattr(tracked_actor_task, "_tracked_actor", None))
        if kept and events is not None:
            kept &= events.get_futures()  # those that are still awaited
        resolve(manager, tracked_actor_task=tracked_actor_task, result=result)

    resolve_and_let_go.lets_go = True  # type: ignore[attr-defined]
    RayActorManager._actor_task_resolved = resolve_and_let_go
