"""Reports that come together are written together, and nobody pays for somebody else's."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest

from brainformer.api.live.point_batches import GATHER_SECONDS, MOST_POINTS, PointBatches
from brainformer.search.errors import LeaseLost, NotFound
from brainformer.search.storage_errors import StorageFull, StorageHeld
from brainformer.search.store.patience import patience
from brainformer.search.trials.lease_messages import GO_ON, Directive, Progress

REPORT = Progress(phase="training")


class Store:
    """Answers as it is told, and remembers what it was asked."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.alone: list[str] = []
        self.answers: dict[str, Directive | Exception] = {}
        self.fails: Exception | None = None
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def points(self, reports: Sequence[tuple[str, Progress]]) -> list[Any]:
        self.may_go_on.wait(10)
        self.batches.append([lease_id for lease_id, _ in reports])
        if self.fails is not None:
            raise self.fails
        return [self.answers.get(lease_id, GO_ON) for lease_id, _ in reports]

    def progress(self, lease_id: str, report: Progress) -> Directive:
        self.alone.append(lease_id)
        answer = self.answers.get(lease_id, GO_ON)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def store() -> Store:
    return Store()


def told(store: Store, *names: str) -> list[Any]:
    """What callers that come at one time are told."""

    async def run() -> list[Any]:
        batches = PointBatches(store)  # type: ignore[arg-type]
        asked = [batches.tell(name, REPORT) for name in names]
        return await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 10)

    return asyncio.run(run())


def test_those_that_come_together_are_written_together(store: Store) -> None:
    assert told(store, *"abcdef") == [GO_ON] * 6
    assert store.batches == [list("abcdef")]


def test_no_batch_is_larger_than_one_may_be(store: Store) -> None:
    names = [str(number) for number in range(2 * MOST_POINTS + 3)]
    assert told(store, *names) == [GO_ON] * len(names)
    assert [len(batch) for batch in store.batches] == [MOST_POINTS, MOST_POINTS, 3]
    assert [one for batch in store.batches for one in batch] == names


def test_one_that_comes_alone_does_not_wait(store: Store) -> None:
    async def run() -> list[float]:
        batches, took = PointBatches(store), []  # type: ignore[arg-type]
        for _ in range(3):
            await asyncio.sleep(1.5 * GATHER_SECONDS)
            began = time.monotonic()
            await batches.tell("a", REPORT)
            took.append(time.monotonic() - began)
        return took

    assert min(asyncio.run(run())) < GATHER_SECONDS / 2


def test_those_that_come_during_a_batch_are_the_next_one(store: Store) -> None:
    async def run() -> None:
        batches = PointBatches(store)  # type: ignore[arg-type]
        store.may_go_on.clear()
        first = asyncio.create_task(batches.tell("first", REPORT))
        await asyncio.sleep(0.02)
        later = [asyncio.create_task(batches.tell(name, REPORT)) for name in "abc"]
        await asyncio.sleep(0.02)
        store.may_go_on.set()
        await asyncio.gather(first, *later)

    asyncio.run(run())
    assert store.batches == [["first"], ["a", "b", "c"]]


def test_each_gets_its_own_answer(store: Store) -> None:
    stop = Directive(action="stop", reason="hurdle")
    lost, missing = LeaseLost(1, 1, "it is completed"), NotFound("trial", 7)
    store.answers |= {"b": stop, "c": lost, "d": missing}
    assert told(store, *"abcd") == [GO_ON, stop, lost, missing]


def test_one_that_breaks_the_batch_breaks_for_itself_alone(store: Store) -> None:
    store.fails = store.answers["b"] = ValueError("of this one")
    assert told(store, *"abc") == [GO_ON, store.fails, GO_ON]
    assert store.alone == list("abc")


def test_an_outage_is_told_to_all_and_not_tried_for_each(store: Store) -> None:
    store.fails = StorageFull("the disk is full")
    assert told(store, *"abc") == [store.fails] * 3
    assert not store.alone
    store.fails = None
    assert told(store, "a") == [GO_ON]


def test_who_has_waited_too_long_is_refused_before_the_work_begins(store: Store) -> None:
    async def run() -> list[Any]:
        batches = PointBatches(store)  # type: ignore[arg-type]
        store.may_go_on.clear()
        asyncio.get_running_loop().call_later(0.35, store.may_go_on.set)

        async def ask(name: str, seconds: float) -> Directive:
            with patience(seconds):
                return await batches.tell(name, REPORT)

        first = asyncio.create_task(ask("first", 5))
        await asyncio.sleep(0.02)
        others = [asyncio.create_task(ask(*one)) for one in (("hasty", 0.4), ("patient", 5))]
        return await asyncio.gather(first, *others, return_exceptions=True)

    first, hasty, patient = asyncio.run(run())
    assert (first, patient) == (GO_ON, GO_ON)
    assert isinstance(hasty, StorageHeld)
    assert store.batches == [["first"], ["patient"]]


def test_a_caller_that_leaves_costs_nobody_else_their_answer(store: Store) -> None:
    async def run() -> Directive:
        batches = PointBatches(store)  # type: ignore[arg-type]
        store.may_go_on.clear()
        leaves = asyncio.create_task(batches.tell("leaves", REPORT))
        stays = asyncio.create_task(batches.tell("stays", REPORT))
        await asyncio.sleep(0.02)
        leaves.cancel()
        await asyncio.sleep(0)
        store.may_go_on.set()
        return await stays

    assert asyncio.run(run()) == GO_ON


def test_the_first_callers_patience_is_not_the_others(store: Store) -> None:
    async def run() -> list[Any]:
        batches, found = PointBatches(store), []  # type: ignore[arg-type]
        with patience(0.0):
            found.append(await asyncio.gather(batches.tell("late", REPORT), return_exceptions=True))
        found.append(await batches.tell("in time", REPORT))
        return found

    ((late,), in_time) = asyncio.run(run())
    assert isinstance(late, StorageHeld)
    assert in_time == GO_ON
