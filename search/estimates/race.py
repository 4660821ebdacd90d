"""The race among finalists: fresh repeats go where they decide (successive elimination).

Finalists are the best by single runs, which are biased upwards and never counted again. Everybody
starts with the same few repeats; then a finalist is dropped once its loss is above the leader's at
the stated error (paired by repeat, Holm over the finalists), and those that are left, with the
rival beside them, get one more repeat a round, until one is left and its comparison with the rival
is decided, or the limit is spent (Even-Dar et al., 2006; Maron and Moore, 1997).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from brainformer.search.estimates.comparison import (
    Losses,
    gain_interval,
    holm,
    mean,
    p_value,
    paired_p_value,
)

# Every round looks at the claim again; one that stops the race early has to be this much surer, so
# that all looks together keep the stated error (benchmarks/claims.py).
EARLY_SHARE = 0.1


@dataclass(frozen=True)
class RaceRules:
    """How finalists are raced.

    Attributes:
        repeats: Fresh runs that every finalist and the rival start with.
        limit: Fresh runs in all, the rival's further ones included.
        error: Chance of a wrong decision that is accepted.
    """

    repeats: int
    limit: int
    error: float = 0.05


@dataclass(frozen=True)
class Runs:
    """Fresh runs of one finalist.

    Attributes:
        pool: The hardware that they ran on; its rival ran there too.
        losses: In order of repeat, nats a token; None for a run that diverged.
    """

    pool: str
    losses: Losses = ()


@dataclass(frozen=True)
class Wanted:
    """One more repeat: of a finalist, or of a pool's rival where `finalist` is None."""

    pool: str
    finalist: int | None = None


@dataclass(frozen=True)
class RaceState:
    """Where a race stands.

    Attributes:
        leader: The finalist of the least mean loss among those left; None without a finalist.
        dropped: Finalists that are worse than the leader at the stated error.
        wanted: What is to be run next, the most undecided first.
        over: Whether nothing more is to be run.
    """

    leader: int | None
    dropped: frozenset[int]
    wanted: tuple[Wanted, ...]
    over: bool


class Race:
    """A race among finalists, each compared with its own pool's rival."""

    def __init__(
        self,
        finalists: Mapping[int, Runs],
        rivals: Mapping[str, Losses],
        rules: RaceRules,
        closed: Collection[str] = (),
    ) -> None:
        """Takes all runs that have ended.

        Args:
            finalists: By trial number.
            rivals: The rival's fresh runs on each pool, in order of repeat.
            rules: The race's.
            closed: Pools on which nothing can be run any more; what ended there counts.
        """
        self._finalists = finalists
        self._rivals = rivals
        self._rules = rules
        self._closed = frozenset(closed)

    def state(self) -> RaceState:
        """Returns where the race stands; call it when everything wanted before has ended."""
        leader = self.leader
        if leader is None:
            return RaceState(None, frozenset(), (), over=True)
        first = self._first_repeats()
        if first:
            return RaceState(leader, frozenset(), first, over=False)
        undecided, dropped = self._undecided(leader), self.dropped
        left = self._rules.limit - self._spent()
        wanted = self._next(leader, undecided)
        if left <= 0 or not wanted or (not undecided and self._decided(leader)):
            return RaceState(leader, dropped, (), over=True)
        return RaceState(leader, dropped, wanted[:left], over=False)

    @property
    def leader(self) -> int | None:
        """The finalist of the least mean loss; one that diverged comes after all that did not."""
        if not self._finalists:
            return None
        return min(self._finalists, key=lambda one: (*self._standing(one), one))

    @property
    def ranked(self) -> list[int]:
        """The finalists that have been run again, the one of the least mean loss first."""
        run = [one for one in self._finalists if self.finalist_runs(one)]
        return sorted(run, key=lambda one: (*self._standing(one), one))

    def claim(self, finalist: int) -> float | None:
        """Returns the p-value of "no better than the rival", corrected for the choice.

        None while the finalist or the rival has fewer than two fresh runs.
        """
        values = {
            one: p
            for one, runs in self._finalists.items()
            if (p := p_value(runs.losses, self._rival_of(runs))) is not None
        }
        return holm(values).get(finalist)

    @property
    def dropped(self) -> frozenset[int]:
        """The finalists that are worse than the leader at the stated error."""
        leader = self.leader
        if leader is None or not self.finalist_runs(leader):
            return frozenset()
        return frozenset(self._finalists) - {leader} - self._undecided(leader).keys()

    def interval(self, finalist: int, *, level: float = 0.95) -> tuple[float, float] | None:
        """Returns the interval of a finalist's gain over its rival; None with too few runs."""
        runs = self._finalists[finalist]
        return gain_interval(runs.losses, self._rival_of(runs), level=level)

    def pool_of(self, finalist: int) -> str:
        """Returns the pool that a finalist's fresh runs count on."""
        return self._finalists[finalist].pool

    def finalist_runs(self, finalist: int) -> int:
        """Returns how many fresh runs of a finalist have ended."""
        return len(self._finalists[finalist].losses)

    def rival_runs(self, pool: str) -> int:
        """Returns how many runs of a pool's rival have ended."""
        return len(self._rivals.get(pool, ()))

    def gains(self, finalist: int) -> list[float]:
        """Returns by how much each fresh run that did not diverge beat the rival's mean loss."""
        runs = self._finalists[finalist]
        level = self._level(runs.pool)
        return [level - loss for loss in runs.losses if loss is not None]

    def _standing(self, finalist: int) -> tuple[float, float]:
        """Returns the share of runs that diverged, and the negative mean gain of the others."""
        losses, gains = self._finalists[finalist].losses, self.gains(finalist)
        if not gains:
            return 1.0 if losses else 0.5, 0.0  # not run yet comes between
        return 1 - len(gains) / len(losses), -mean(gains)

    def _level(self, pool: str) -> float:
        known = [loss for loss in self._rivals.get(pool, ()) if loss is not None]
        return mean(known) if known else 0.0

    def _rival_of(self, runs: Runs) -> Losses:
        return self._rivals.get(runs.pool, ())

    def _first_repeats(self) -> tuple[Wanted, ...]:
        """Returns what lacks of the repeats that everybody starts with, repeat by repeat.

        The rival's are always run: without them there is nothing to compare with.
        """
        pools = sorted({runs.pool for runs in self._finalists.values()} - self._closed)
        left = max(0, self._rules.limit - self._spent())
        wanted: list[Wanted] = []
        for repeat in range(self._rules.repeats):
            wanted += [Wanted(pool) for pool in pools if self.rival_runs(pool) <= repeat]
            lacking = [
                Wanted(runs.pool, one)
                for one, runs in self._finalists.items()
                if len(runs.losses) <= repeat and runs.pool not in self._closed
            ]
            wanted += lacking[:left]
            left -= len(lacking[:left])
        return tuple(wanted) if any(one.finalist is not None for one in wanted) else ()

    def _spent(self) -> int:
        further = [max(0, len(one) - self._rules.repeats) for one in self._rivals.values()]
        return sum(len(runs.losses) for runs in self._finalists.values()) + sum(further)

    def _undecided(self, leader: int) -> dict[int, float]:
        """Returns the finalists that the leader does not beat yet, with corrected p-values."""
        values = {
            one: 1.0 if (p := self._against(leader, one)) is None else p
            for one in self._finalists
            if one != leader
        }
        return {one: p for one, p in holm(values).items() if p > self._rules.error}

    def _against(self, leader: int, other: int) -> float | None:
        """Returns the p-value of "the leader is no better": paired where both ran on one pool."""
        ahead, behind = self._finalists[leader], self._finalists[other]
        if ahead.pool == behind.pool:
            return paired_p_value(ahead.losses, behind.losses)
        return p_value(self._relative(ahead), self._relative(behind))

    def _relative(self, runs: Runs) -> list[float | None]:
        level = self._level(runs.pool)
        return [None if loss is None else loss - level for loss in runs.losses]

    def _decided(self, leader: int) -> bool:
        """Returns whether the leader's comparison with the rival needs no further run."""
        p = self.claim(leader)
        sure = EARLY_SHARE * self._rules.error
        return p is not None and (p <= sure or p >= 1 - sure)

    def _next(self, leader: int, undecided: Mapping[int, float]) -> tuple[Wanted, ...]:
        """Returns the next round: the leader, its rival if it ran no oftener, the challengers."""
        ahead = self._finalists[leader]
        wanted = [Wanted(ahead.pool, leader)]
        if len(self._rival_of(ahead)) <= len(ahead.losses):
            wanted.append(Wanted(ahead.pool))
        challengers = sorted(undecided, key=lambda one: (-undecided[one], one))
        wanted += [Wanted(self._finalists[one].pool, one) for one in challengers]
        return tuple(one for one in wanted if one.pool not in self._closed)
