"""SIGTERM that waits: it is not lost, and what starts meanwhile does not inherit it."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator

import pytest

from brainformer.worker.tune.held_sigterm import HeldSigterm

SIGTERM_BIT = 1 << (signal.SIGTERM - 1)


@pytest.fixture
def arrived() -> Iterator[list[int]]:
    found: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _frame: found.append(number))
    yield found
    signal.signal(signal.SIGTERM, before)


def blocked_in_a_child() -> bool:
    """Returns whether a child, started as Ray starts its own, has SIGTERM blocked."""
    read = "import pathlib; print(pathlib.Path('/proc/self/status').read_text())"
    status = subprocess.run(
        ["python3", "-S", "-c", read],
        preexec_fn=lambda: None,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    (mask,) = [line.split()[1] for line in status.splitlines() if line.startswith("SigBlk")]
    return bool(int(mask, 16) & SIGTERM_BIT)


def test_it_arrives_once_it_is_let_through(arrived: list[int]) -> None:
    with HeldSigterm(hold=True) as held:
        signal.raise_signal(signal.SIGTERM)
        assert arrived == []
        held.let_through()
        assert arrived == [signal.SIGTERM]
        signal.raise_signal(signal.SIGTERM)
        assert len(arrived) == 2


def test_it_arrives_at_the_end_at_the_latest(arrived: list[int]) -> None:
    with HeldSigterm(hold=True):
        signal.raise_signal(signal.SIGTERM)
        assert arrived == []
    assert arrived == [signal.SIGTERM]


def test_it_is_not_held_where_nobody_wants_it(arrived: list[int]) -> None:
    with HeldSigterm(hold=False):
        signal.raise_signal(signal.SIGTERM)
        assert arrived == [signal.SIGTERM]


def test_what_starts_meanwhile_can_be_ended_by_it(arrived: list[int]) -> None:
    with HeldSigterm(hold=True):
        assert not blocked_in_a_child()
    assert not blocked_in_a_child()
    assert arrived == []
