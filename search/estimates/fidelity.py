"""How well a cheap proxy ranks blocks: what its ranks say of a longer training, or a larger one.

A table of losses (blocks x seeds) at the proxy's budget is held against one at the target's. Ranks
among blocks worth having are what counts: any proxy tells a sound block from a broken one.
Intervals come from resampling blocks and seeds (the bootstrap, Efron, 1979).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Losses = npt.NDArray[np.float64]  # blocks x seeds; infinite where a run diverged
Vector = npt.NDArray[np.float64]
TOP = 8
RESAMPLES = 1000
SUFFICIENT_REGRET = 0.03  # nats


@dataclass(frozen=True)
class Interval:
    """An estimate with its two-sided 95% bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Fidelity:
    """What a proxy's ranks say of the target's.

    Attributes:
        tau: Kendall's tau-b over all blocks.
        tau_top: The same among the proxy's best eight.
        ceiling: tau-b between two repeats at the proxy: what noise alone leaves.
        ceiling_top: The same among the proxy's best eight.
        regret: Target loss of the proxy's winner minus the least, nats a token.
        agreement: Share of blocks on the same side of the rival in both; None without a rival.
        partial_tau: tau-b given the number of training steps: what the proxy knows beyond speed.
    """

    tau: Interval
    tau_top: Interval
    ceiling: Interval | None
    ceiling_top: Interval | None
    regret: Interval
    agreement: float | None
    partial_tau: float | None

    @property
    def sufficient(self) -> bool:
        """Whether the proxy's winner is as good as the best, as far as that matters."""
        return self.regret.high <= SUFFICIENT_REGRET


def fidelity(
    proxy: Losses,
    target: Losses,
    *,
    steps: Vector | None = None,
    rival: tuple[float, float] | None = None,
    rng: np.random.Generator,
) -> Fidelity:
    """Returns how well the proxy's losses rank the target's.

    Args:
        proxy: Losses at the proxy, `[blocks, seeds]`.
        target: Losses at the target, `[blocks, seeds]`; seeds may be others.
        steps: Training steps of each block at the proxy.
        rival: The rival's mean loss at the proxy and at the target.
        rng: Draws the resamples.
    """
    proxy, target = _finite(proxy), _finite(target)
    cheap, costly = proxy.mean(axis=1), target.mean(axis=1)
    pair = proxy[:, :2] if proxy.shape[1] >= 2 else None
    return Fidelity(
        tau=_interval(lambda p, t: tau_b(p.mean(axis=1), t.mean(axis=1)), proxy, target, rng),
        tau_top=_interval(_tau_among_top, proxy, target, rng),
        ceiling=None
        if pair is None
        else _interval(lambda p, _t: tau_b(p[:, 0], p[:, 1]), pair, target, rng),
        ceiling_top=None if pair is None else _interval(_ceiling_among_top, pair, target, rng),
        regret=_interval(_regret, proxy, target, rng),
        agreement=None if rival is None else _agreement(cheap, costly, rival),
        partial_tau=None if steps is None else _partial_tau(cheap, costly, steps),
    )


def _finite(losses: Losses) -> Losses:
    """Returns the losses, a run that diverged a nat above the worst that did not."""
    sound = losses[np.isfinite(losses)]
    worst = float(sound.max()) + 1.0 if len(sound) else 0.0
    return np.where(np.isfinite(losses), losses, worst)


def tau_b(left: Vector, right: Vector) -> float:
    """Returns Kendall's tau-b, which corrects for ties; 0 where one side is all tied."""
    first, second = _signs(left), _signs(right)
    norm = np.sqrt(float((first**2).sum()) * float((second**2).sum()))
    return float((first * second).sum() / norm) if norm else 0.0


def _signs(values: Vector) -> Vector:
    rows, columns = np.triu_indices(len(values), 1)
    a, b = values[rows], values[columns]
    return np.asarray((a > b).astype(np.float64) - (a < b))


def _top(proxy: Losses) -> npt.NDArray[np.int64]:
    return np.asarray(np.argsort(proxy.mean(axis=1), kind="stable")[:TOP])


def _tau_among_top(proxy: Losses, target: Losses) -> float:
    top = _top(proxy)
    return tau_b(proxy[top].mean(axis=1), target[top].mean(axis=1))


def _ceiling_among_top(proxy: Losses, _target: Losses) -> float:
    top = _top(proxy)
    return tau_b(proxy[top, 0], proxy[top, 1])


def _regret(proxy: Losses, target: Losses) -> float:
    costly = target.mean(axis=1)
    return float(costly[int(np.argmin(proxy.mean(axis=1)))] - costly.min())


def _agreement(cheap: Vector, costly: Vector, rival: tuple[float, float]) -> float:
    return float(np.mean((cheap < rival[0]) == (costly < rival[1])))


def _partial_tau(cheap: Vector, costly: Vector, steps: Vector) -> float | None:
    both, first, second = tau_b(cheap, costly), tau_b(cheap, steps), tau_b(costly, steps)
    left = (1 - first**2) * (1 - second**2)
    return float((both - first * second) / np.sqrt(left)) if left > 0 else None


def _interval(
    statistic: Callable[[Losses, Losses], float],
    proxy: Losses,
    target: Losses,
    rng: np.random.Generator,
) -> Interval:
    """Returns a statistic and what it is over resampled blocks and seeds."""
    drawn = np.empty(RESAMPLES)
    for index in range(RESAMPLES):
        blocks = rng.integers(0, len(proxy), len(proxy))
        cheap = proxy[blocks][:, _resampled(proxy.shape[1], rng)]
        costly = target[blocks][:, _resampled(target.shape[1], rng)]
        drawn[index] = statistic(cheap, costly)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Interval(statistic(proxy, target), float(low), float(high))


def _resampled(count: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    return np.asarray(rng.integers(0, count, count))
