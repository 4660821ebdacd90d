"""Several objectives at once: dominance, crowding and the Pareto front (NSGA-II, Deb 2002)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from brainformer.search.trials.history import Observation

Objectives = npt.NDArray[np.float64]


def objectives(observations: Sequence[Observation]) -> Objectives:
    """Returns (loss, step time, parameters) a row, all to be minimised; unknown is worst."""
    rows = [
        (
            np.inf if seen.pruned else -seen.fitness,
            np.inf if seen.step_time_ms is None else seen.step_time_ms,
            np.inf if seen.parameters is None else float(seen.parameters),
        )
        for seen in observations
    ]
    return np.array(rows, dtype=np.float64).reshape(len(rows), 3)


def dominance(values: Objectives) -> npt.NDArray[np.bool_]:
    """Returns the matrix of who dominates whom: nowhere worse, somewhere better."""
    left, right = values[:, None, :], values[None, :, :]
    return np.asarray((left <= right).all(axis=2) & (left < right).any(axis=2))


def fronts(values: Objectives) -> npt.NDArray[np.int64]:
    """Returns each row's front: 0 where nothing dominates it, 1 once those are gone ..."""
    over = dominance(values)
    rank = np.full(len(values), -1, np.int64)
    level = 0
    while (rank < 0).any():
        left = rank < 0
        free = left & ~over[left].any(axis=0)
        rank[free] = level
        level += 1
    return rank


def crowding(values: Objectives) -> npt.NDArray[np.float64]:
    """Returns each row's crowding distance within its set; infinite at the borders."""
    distance = np.zeros(len(values))
    for column in np.where(np.isfinite(values), values, 1e30).T:
        order = np.argsort(column, kind="stable")
        spread = column[order[-1]] - column[order[0]]
        distance[order[[0, -1]]] = np.inf
        if spread > 0 and len(order) > 2:
            distance[order[1:-1]] += (column[order[2:]] - column[order[:-2]]) / spread
    return distance


def rank_by_dominance(observations: Sequence[Observation]) -> npt.NDArray[np.float64]:
    """Returns NSGA-II's order: lower is better, by front and then by crowding."""
    values = objectives(observations)
    front = fronts(values)
    lonely = crowding(values)
    return front + 1.0 / (2.0 + lonely)


class ParetoArchive:
    """The completed candidates that no other beats in loss, step time and parameters."""

    def __init__(self) -> None:
        self._members: list[Observation] = []

    @property
    def members(self) -> list[Observation]:
        """The archive, in the order of completion; of equals, the first."""
        return list(self._members)

    def add(self, seen: Observation) -> None:
        """Takes a candidate in, unless one is as good, and drops those that it beats."""
        if seen.pruned:
            return
        values = objectives([*self._members, seen])
        newest = values[-1]
        if (values[:-1] <= newest).all(axis=1).any():
            return
        beaten = (newest <= values[:-1]).all(axis=1)
        kept = zip(self._members, beaten, strict=True)
        self._members = [*(member for member, out in kept if not out), seen]
