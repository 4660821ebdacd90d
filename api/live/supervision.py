"""Background tasks that do not die silently: restarted with backoff, and told by /readyz.

A task is a step that is taken again and again. One that fails, whatever the error, is taken again
after a pause; until one succeeds, and when one does not return, the controller is not ready.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from brainformer.search.errors import BrainformerError

log = logging.getLogger("brainformer.tasks")
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 15.0
SILENT_SECONDS = 30.0  # beside what a step takes by itself
Step = Callable[[], Awaitable[None]]


@dataclass
class Task:
    """One supervised task.

    Attributes:
        step: What is done again and again.
        seconds: How long a step takes when nothing happens.
        done_at: When the last step ended well, by the loop's clock.
        failures: Steps that failed since then.
        why: The last failure.
        running: Of the event loop.
    """

    step: Step
    seconds: float
    done_at: float
    failures: int = 0
    why: str = ""
    running: asyncio.Task[None] | None = None


class Supervisor:
    """Runs the tasks of one controller.

    Args:
        on_failure: Is called with a task's name at each failure.
    """

    def __init__(self, on_failure: Callable[[str], None]) -> None:
        self._on_failure = on_failure
        self._tasks: dict[str, Task] = {}
        self._ending = False

    def start(self, name: str, step: Step, *, seconds: float = 0.0) -> None:
        """Begins to take a step again and again."""
        loop = asyncio.get_running_loop()
        task = Task(step, seconds, loop.time())
        self._tasks[name] = task
        task.running = loop.create_task(self._run(name, task), name=name)

    async def stop(self) -> None:
        """Ends all tasks."""
        self._ending = True
        running = [task.running for task in self._tasks.values() if task.running is not None]
        for one in running:
            one.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def problems(self, now: float) -> list[str]:
        """Returns what is wrong with the tasks, one sentence each; none if all go well.

        Args:
            now: By the event loop's clock.
        """
        found = []
        for name, task in self._tasks.items():
            silent = now - task.done_at
            if task.failures:
                found.append(f"the task {name!r} fails: {task.why}")
            elif silent > task.seconds + SILENT_SECONDS:
                found.append(f"the task {name!r} has not moved for {silent:.0f} s")
        return found

    def up(self, now: float) -> dict[str, bool]:
        """Returns of each task whether it goes well."""
        told = " ".join(self.problems(now))
        return {name: f"{name!r}" not in told for name in self._tasks}

    def ages(self, now: float) -> dict[str, float]:
        """Returns of each task how long ago its last step ended well, in seconds."""
        return {name: max(0.0, now - task.done_at) for name, task in self._tasks.items()}

    async def _run(self, name: str, task: Task) -> None:
        pause = FIRST_PAUSE_SECONDS
        loop = asyncio.get_running_loop()
        while not self._ending:
            try:
                await task.step()
            except Exception as error:  # noqa: BLE001 - whatever it is, the task must go on
                self._failed(name, task, error)
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            else:
                if task.failures:
                    log.info("task %s goes on after %d failures", name, task.failures)
                task.failures, task.why, task.done_at = 0, "", loop.time()
                pause = FIRST_PAUSE_SECONDS

    def _failed(self, name: str, task: Task, error: Exception) -> None:
        task.failures += 1
        ours = isinstance(error, BrainformerError)
        task.why = error.message if isinstance(error, BrainformerError) else type(error).__name__
        self._on_failure(name)
        if task.failures == 1 and not ours:
            log.error("task %s failed and is tried again", name, exc_info=error)
        else:
            log.warning("task %s failed %d times: %s", name, task.failures, task.why)
