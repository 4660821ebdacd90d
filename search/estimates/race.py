"""The race among finalists: fresh repeats go where they decide (successive elimination).

Finalists are the best by single runs, which are biased upwards and never counted again. Everybody
starts with the same few repeats; then a finalist is dropped once its loss is above the leader's at
the stated error (paired by repeat, Holm over the finalists), and those that are left, with the
rival beside them, get one more repeat a round, until one is left and its comparison with the rival
is decided, or the limit is spent (Even-Dar et al., 2006; Maron and Moore, 1997).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from brainformer.search.estimates.comparison import Losses, holm, p_value, paired_p_value

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
class RaceState:
    """Where a race stands.

    Attributes:
        leader: The finalist of the least mean loss among those left; None without a run.
        dropped: Finalists that are worse than the leader at the stated error.
        wanted: Who gets one more repeat next, the most undecided first; `None` is the rival.
        over: Whether nothing more is to be run.
    """

    leader: int | None
    dropped: frozenset[int]
    wanted: tuple[int | None, ...]
    over: bool


def race(finalists: Mapping[int, Losses], rival: Losses, rules: RaceRules) -> RaceState:
    """Returns where the race stands once all runs that were wanted have ended.

    Args:
        finalists: Losses of fresh repeats by finalist, in order of repeat; None for a divergence.
        rival: The rival's, in the same order.
        rules: The race's.
    """
    if not finalists:
        return RaceState(None, frozenset(), (), over=True)
    first = _first_repeats(finalists, rival, rules)
    if first:
        return RaceState(_leader(finalists), frozenset(), first, over=False)
    leader = _leader(finalists)
    undecided = _undecided(finalists, leader, rules)
    dropped = frozenset(finalists) - {leader} - undecided.keys()
    spent = sum(map(len, finalists.values())) + max(0, len(rival) - rules.repeats)
    left = rules.limit - spent
    if left <= 0 or (not undecided and _decided(finalists, rival, leader, rules)):
        return RaceState(leader, dropped, (), over=True)
    challengers = sorted(undecided, key=lambda one: (-undecided[one], one))
    wanted: list[int | None] = [leader, *challengers]
    if len(rival) <= len(finalists[leader]):
        wanted.insert(1, None)
    return RaceState(leader, dropped, tuple(wanted[:left]), over=False)


def _first_repeats(
    finalists: Mapping[int, Losses], rival: Losses, rules: RaceRules
) -> tuple[int | None, ...]:
    """Returns who still lacks one of the repeats that everybody starts with, once a repeat."""
    wanted: list[int | None] = [None] * max(0, rules.repeats - len(rival))
    for repeat in range(rules.repeats):
        wanted += [one for one, losses in finalists.items() if len(losses) <= repeat]
    return tuple(wanted)


def _leader(finalists: Mapping[int, Losses]) -> int:
    """Returns the finalist of the least mean; one that diverged comes after all that did not."""
    return min(finalists, key=lambda one: (*mean_loss(finalists[one]), one))


def mean_loss(losses: Losses) -> tuple[float, float]:
    """Returns the share of runs without a loss, and the mean of the others (infinite if none)."""
    known = [loss for loss in losses if loss is not None]
    if not known:
        return 1.0, float("inf")
    return 1 - len(known) / len(losses), sum(known) / len(known)


def _undecided(finalists: Mapping[int, Losses], leader: int, rules: RaceRules) -> dict[int, float]:
    """Returns the finalists that the leader does not beat yet, with their corrected p-values."""
    values = {
        one: p if (p := paired_p_value(finalists[leader], losses)) is not None else 1.0
        for one, losses in finalists.items()
        if one != leader
    }
    return {one: p for one, p in holm(values).items() if p > rules.error}


def _decided(finalists: Mapping[int, Losses], rival: Losses, leader: int, rules: RaceRules) -> bool:
    """Returns whether the leader's comparison with the rival needs no further run."""
    p = claim_p_value(finalists, rival, leader)
    sure = EARLY_SHARE * rules.error
    return p is not None and (p <= sure or p >= 1 - sure)


def claim_p_value(finalists: Mapping[int, Losses], rival: Losses, finalist: int) -> float | None:
    """Returns the p-value of "no better than the rival", corrected for the choice among finalists.

    None while the finalist or the rival has fewer than two fresh runs.
    """
    values = {one: p for one, p in _claims(finalists, rival) if p is not None}
    return holm(values).get(finalist)


def _claims(finalists: Mapping[int, Losses], rival: Losses) -> Sequence[tuple[int, float | None]]:
    return [(one, p_value(losses, rival)) for one, losses in finalists.items()]
