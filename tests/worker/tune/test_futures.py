from collections import defaultdict
from types import SimpleNamespace

import pytest
from ray.air.execution._internal.actor_manager import RayActorManager
from ray.air.execution._internal.event_manager import RayEventManager

from brainformer.worker.tune.futures import let_go_of_resolved_futures


@pytest.fixture
def manager(monkeypatch):
    # Put back what the test replaces, then replace it.
    monkeypatch.setattr(
        RayActorManager, "_actor_task_resolved", RayActorManager._actor_task_resolved
    )
    let_go_of_resolved_futures()
    made = RayActorManager.__new__(RayActorManager)
    made._actor_task_events = RayEventManager()
    made._tracked_actors_to_task_futures = defaultdict(set)
    return made


def resolve(manager, actor, told):
    task = SimpleNamespace(
        _tracked_actor=actor, _on_result=lambda *arguments: told.append(arguments)
    )
    manager._actor_task_resolved(tracked_actor_task=task, result={"done": False})


def test_a_step_that_is_over_is_let_go_and_one_that_runs_is_kept(manager):
    manager._tracked_actors_to_task_futures["slot"] = {"over", "running"}
    manager._actor_task_events.track_future("running")
    told = []
    resolve(manager, "slot", told)
    assert manager._tracked_actors_to_task_futures == {"slot": {"running"}}
    assert told == [("slot", {"done": False})]


def test_an_actor_that_has_gone_is_not_remembered_again(manager):
    resolve(manager, "gone", [])
    assert "gone" not in manager._tracked_actors_to_task_futures


def test_to_ask_twice_changes_nothing_more(manager):
    replaced = RayActorManager._actor_task_resolved
    let_go_of_resolved_futures()
    assert RayActorManager._actor_task_resolved is replaced
