"""What a process remembers of pools: followed once, in order, and without waiting in line."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

from brainformer.search.sql.connection.database import Transaction
from brainformer.search.sql.pools import NEWEST, PoolDecisions
from brainformer.search.sql.rows.table_rows import EventRow
from brainformer.search.trials.events import EventKind


def event(seq: int, kind: EventKind, pool: str = "cpu") -> EventRow:
    return EventRow(seq, None, kind.value, float(seq), f'{{"pool": "{pool}"}}')


class SlowTransaction:
    """Knows some events; waits to be let go when it is asked for the newest."""

    def __init__(self, *known: EventRow, waits: bool = False) -> None:
        self._known = known
        self.asked = threading.Event()
        self.let_go = threading.Event()
        if not waits:
            self.let_go.set()

    def run(self, statement: object, _values: object = None) -> Any:
        assert statement is NEWEST
        self.asked.set()
        assert self.let_go.wait(20)
        return self

    def scalar_one(self) -> int | None:
        return max((one.seq for one in self._known), default=None)

    def all(self, _kind: object, _statement: object, values: dict[str, int]) -> list[EventRow]:
        return [one for one in self._known if one.seq > values["after"]]


def out_of(decisions: PoolDecisions, tx: SlowTransaction) -> set[str]:
    return decisions.now(cast("Transaction", tx)).names


def test_one_claim_that_waits_for_the_database_holds_up_no_other():
    decisions = PoolDecisions()
    slow = SlowTransaction(waits=True)
    with ThreadPoolExecutor(2) as threads:
        stuck = threads.submit(out_of, decisions, slow)
        assert slow.asked.wait(20)
        try:
            quick = SlowTransaction(event(1, EventKind.POOL_DRAINED))
            assert threads.submit(out_of, decisions, quick).result(20) == {"cpu"}
        finally:
            slow.let_go.set()
        # What it has read is older than what is known by now.
        assert stuck.result(20) == {"cpu"}


def test_news_that_comes_late_undoes_nothing():
    decisions = PoolDecisions()
    drained = event(1, EventKind.POOL_DRAINED)
    slow = SlowTransaction(drained, waits=True)
    with ThreadPoolExecutor(1) as threads:
        stuck = threads.submit(out_of, decisions, slow)
        assert slow.asked.wait(20)
        both = SlowTransaction(drained, event(2, EventKind.POOL_RESUMED))
        assert out_of(decisions, both) == set()
        slow.let_go.set()
        assert stuck.result(20) == set()
    assert out_of(decisions, SlowTransaction(drained, event(2, EventKind.POOL_RESUMED))) == set()
