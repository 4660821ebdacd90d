"""Background tasks go on whatever happens, and what is wrong with them is told."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from brainformer.api.live import supervision
from brainformer.api.live.supervision import Supervisor
from brainformer.search.storage_errors import StorageUnavailable
from tests.api.rest_site import client, create


@pytest.mark.parametrize("error", [StorageUnavailable("gone"), KeyError("x"), RecursionError()])
def test_a_step_that_fails_is_taken_again_and_told_meanwhile(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "FIRST_PAUSE_SECONDS", 0.01)
    failed: list[str] = []
    told: list[list[str]] = []
    done = 0

    async def main() -> None:
        recovered = asyncio.Event()
        supervisor = Supervisor(failed.append)

        async def step() -> None:
            nonlocal done
            await asyncio.sleep(0)
            if len(failed) < 3:
                told.append(supervisor.problems(loop.time()))
                raise error
            done += 1
            if done > 1:
                recovered.set()
                await asyncio.sleep(60)

        loop = asyncio.get_running_loop()
        supervisor.start("work", step)
        await asyncio.wait_for(recovered.wait(), 5)
        assert supervisor.problems(loop.time()) == []
        assert supervisor.up(loop.time()) == {"work": True}
        silent = supervisor.problems(loop.time() + 3600)
        assert silent[0].startswith("the task 'work' has not moved for 3600 s")
        await supervisor.stop()

    asyncio.run(main())
    assert failed == ["work"] * 3
    assert told[0] == []
    assert all("the task 'work' fails" in one[0] for one in told[1:])


def test_a_table_that_vanishes_for_a_while_is_told_and_streams_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "FIRST_PAUSE_SECONDS", 0.05)
    with client(tmp_path, poll_seconds=0.05) as http:
        database = http.app.state.controller.store._database
        with database.write() as tx:
            tx.connection.exec_driver_sql("ALTER TABLE events RENAME TO hidden")
        wait_for(lambda: http.get("/readyz").status_code == 503)
        answer = http.get("/readyz")
        assert "the task 'events' fails" in answer.json()["detail"]
        assert "retry-after" in answer.headers
        assert 'brainformer_task_up{task="events"} 0.0' in http.get("/metrics").text
        with database.write() as tx:
            tx.connection.exec_driver_sql("ALTER TABLE hidden RENAME TO events")
        wait_for(lambda: http.get("/readyz").status_code == 200)
        text = http.get("/metrics").text
        assert 'brainformer_task_up{task="events"} 1.0' in text
        assert 'brainformer_task_failures_total{task="events"}' in text
        create(http)
        hub = http.app.state.controller.hub
        wait_for(lambda: hub.work > 0)


def wait_for(condition: object, seconds: float = 15) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.05)
