"""The trials of one search as columns of numbers, kept in memory and brought up to date by rows.

A trial's number is its place in every column, so that a row that changed overwrites itself. Losses
are not kept: fitness is the loss relative to the baseline of the trial's own pool, and what is
relative must stay comparable across pools.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from brainformer.search.trials.trial import TrialKind, TrialStatus

KINDS = [kind.value for kind in TrialKind]
STATUSES = [status.value for status in TrialStatus]
KIND_CODES = {kind: code for code, kind in enumerate(KINDS)}
STATUS_CODES = {status: code for code, status in enumerate(STATUSES)}
CANDIDATE = KINDS.index(TrialKind.CANDIDATE)
BASELINE = KINDS.index(TrialKind.BASELINE)
QUEUED, RUNNING = STATUSES.index(TrialStatus.QUEUED), STATUSES.index(TrialStatus.RUNNING)
COMPLETED, PRUNED = STATUSES.index(TrialStatus.COMPLETED), STATUSES.index(TrialStatus.PRUNED)
NOBODY = -1
NUMBER = re.compile(r"(?<![\w.])[-+]?\d[\d,.]*(e[-+]?\d+)?", re.IGNORECASE)
REASON_CHARACTERS = 200
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]

_NUMBERS = ("seq", "kind", "status", "pool", "parent", "rank", "mutation", "outcome", "reason")
_FIGURES = ("fitness", "step_time_ms", "parameters", "started", "finished")


@lru_cache(maxsize=65_536)
def alike(message: str) -> str:
    """Returns a message's first line with its numbers made alike: equal causes read equal."""
    first = message.strip().partition("\n")[0][:REASON_CHARACTERS]
    return NUMBER.sub("…", first)


class TrialCells(NamedTuple):
    """What is kept of one trial.

    Attributes:
        fitness: In nats a token, as stored. It is kept of completed trials alone: the -1 of a
            pruned one ranks it last and is no measurement.
        rank: In order of completion, among candidates that completed or were pruned.
        mutation: What was done to the parent, in a phrase.
        outcome: How its last attempt ended; None while none has.
        message: What was said of it.
    """

    number: int
    seq: int
    kind: str
    status: str
    pool: str | None
    parent: int | None
    rank: int | None
    mutation: str
    outcome: str | None
    message: str
    fitness: float | None
    step_time_ms: float | None
    parameters: int
    started: float | None
    finished: float | None


class Words:
    """Words by small whole numbers, in the order in which they were met."""

    def __init__(self) -> None:
        self.known: list[str] = []
        self._codes: dict[str, int] = {}

    def code(self, word: str) -> int:
        """Returns the number of a word, a new one if it was never met."""
        found = self._codes.setdefault(word, len(self.known))
        if found == len(self.known):
            self.known.append(word)
        return found


class TrialColumns:
    """Columns that grow. Read them up to `size`; `seq` is 0 where no trial is known."""

    def __init__(self) -> None:
        self.size = 0
        self.last_seq = 0
        self.pools = Words()
        self.mutations = Words()
        self.outcomes = Words()
        self.reasons = Words()
        self._numbers = {name: np.full(64, NOBODY, np.int64) for name in _NUMBERS}
        self._figures = {name: np.full(64, np.nan) for name in (*_FIGURES, "loss")}
        self._numbers["seq"][:] = 0

    def take(self, rows: Sequence[TrialCells]) -> Integers:
        """Writes rows over what was known; returns their numbers, in order."""
        if not rows:
            return np.zeros(0, np.int64)
        given = dict(zip(TrialCells._fields, zip(*rows, strict=True), strict=True))
        at = np.asarray(given["number"], np.int64)
        self._make_room(int(at.max()) + 1)
        for name, values in self._coded(given).items():
            self._numbers[name][at] = values
        for name in _FIGURES:
            self._figures[name][at] = np.asarray(given[name], np.float64)  # None becomes NaN
        self._figures["fitness"][at[self._numbers["status"][at] != COMPLETED]] = np.nan
        self.last_seq = max(self.last_seq, int(self._numbers["seq"][at].max()))
        return np.unique(at)

    def take_losses(self, losses: Mapping[int, float]) -> None:
        """Takes the losses of baselines' runs by trial number."""
        for number, loss in losses.items():
            if number < self.size:
                self._figures["loss"][number] = loss

    def _coded(self, given: dict[str, tuple[Any, ...]]) -> dict[str, list[int]]:
        """Returns the columns of whole numbers: words by their codes, None as `NOBODY`."""
        words = {
            "pool": self.pools,
            "mutation": self.mutations,
            "outcome": self.outcomes,
        }
        coded = {
            name: [NOBODY if not word else kept.code(word) for word in given[name]]
            for name, kept in words.items()
        }
        coded["reason"] = [
            self.reasons.code(alike(message)) if message else NOBODY for message in given["message"]
        ]
        for name in ("seq", "parent", "rank"):
            coded[name] = [NOBODY if value is None else value for value in given[name]]
        coded["kind"] = [KIND_CODES[kind] for kind in given["kind"]]
        coded["status"] = [STATUS_CODES[status] for status in given["status"]]
        return coded

    def whole(self, name: str) -> Integers:
        """Returns a column of whole numbers."""
        return self._numbers[name][: self.size]

    def figure(self, name: str) -> Floats:
        """Returns a column of measurements, NaN where there is none."""
        return self._figures[name][: self.size]

    @property
    def known(self) -> Flags:
        """Where there is a trial."""
        known: Flags = self.whole("seq") > 0
        return known

    @property
    def measured(self) -> Flags:
        """Which trials are candidates with a fitness."""
        candidates = self.whole("kind") == CANDIDATE
        found: Flags = candidates & np.isfinite(self.figure("fitness"))
        return found

    @property
    def ended_candidates(self) -> int:
        """How many candidates completed or were pruned."""
        ranks = self.whole("rank")
        return int(ranks.max()) + 1 if ranks.size else 0

    def of_pool(self, pool: str | None) -> Flags:
        """Returns which trials are of a pool; None means all."""
        if pool is None:
            return self.known
        known = self.pools.known
        return self.equal("pool", known.index(pool) if pool in known else len(known))

    def stretch(self, pool: str | None, first: int, last: int | None) -> Flags:
        """Returns which trials of a pool lie from `first` to `last`; None is all and the newest."""
        found = self.of_pool(pool).copy()
        found[:first] = False
        if last is not None:
            found[last + 1 :] = False
        return found

    def equal(self, name: str, value: int) -> Flags:
        """Returns where a column of whole numbers has this value."""
        found: Flags = self.whole(name) == value
        return found

    def _make_room(self, size: int) -> None:
        room = len(self._numbers["seq"])
        if size > room:
            more = max(size, 2 * room) - room
            for name, column in self._numbers.items():
                fill = 0 if name == "seq" else NOBODY
                self._numbers[name] = np.append(column, np.full(more, fill, np.int64))
            for name, figures in self._figures.items():
                self._figures[name] = np.append(figures, np.full(more, np.nan))
        self.size = max(self.size, size)


def running_best(fitness: Floats, eligible: Flags) -> Integers:
    """Returns the places where the best fitness so far rose, in order."""
    values = np.where(eligible & np.isfinite(fitness), fitness, -np.inf)
    best = np.maximum.accumulate(values) if values.size else values
    before = np.concatenate([[-np.inf], best[:-1]])
    return np.flatnonzero(best > before)


def plain(values: Floats | Integers, digits: int | None = None) -> list[float | None]:
    """Returns numbers for JSON: None where there is none."""
    found: Sequence[float] = np.round(values, digits).tolist() if digits else values.tolist()
    return [None if value != value else value for value in found]
