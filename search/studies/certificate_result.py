"""What a certificate shows: fidelity at every budget and width, and the cheapest that suffices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from functools import lru_cache

import numpy as np
from pydantic import BaseModel, ConfigDict

from brainformer.search.estimates.fidelity import Interval, Losses, fidelity
from brainformer.search.studies.certificate import CertificatePlan

MADE_FROM = 2306_00008  # seeds the resamples, so that the same losses give the same intervals


class FidelityRow(BaseModel):
    """What the ranks at one budget, at the proxy's width, say of one target.

    Attributes:
        budget: Multiple of the proxy's budget that ranks the blocks.
        target_budget: Multiple that they are ranked for.
        target_scale: Multiple of the widths there.
        blocks: Blocks that ran in both.
        sufficient: Whether the upper bound of the regret is at most 0.03 nats.
    """

    model_config = ConfigDict(frozen=True)

    budget: float
    target_budget: float
    target_scale: float
    blocks: int
    tau: Interval
    tau_top: Interval
    ceiling: Interval | None = None
    ceiling_top: Interval | None = None
    regret: Interval
    agreement: float | None = None
    partial_tau: float | None = None
    sufficient: bool


class CertificateResult(BaseModel):
    """A certificate's table of losses and what it shows.

    Attributes:
        losses: By block, budget, scale and repeat, the rival's block last; null where a run
            diverged, failed or has not ended.
        finished: Runs that have ended, of `planned`.
        noise: Standard deviation over seeds at the proxy, pooled over blocks, in nats.
        spread: Standard deviation between blocks at the proxy.
        sufficient_budget: The least multiple of the budget whose winner is as good as the best at
            the target, to 0.03 nats at 95%; null if none is.
    """

    model_config = ConfigDict(frozen=True)

    planned: int
    finished: int
    losses: list[list[list[list[float | None]]]]
    noise: float | None = None
    spread: float | None = None
    rows: tuple[FidelityRow, ...] = ()
    sufficient_budget: float | None = None
    left_out: tuple[str, ...] = ()


@lru_cache(maxsize=32)
def certificate_result(
    plan: CertificatePlan,
    losses: tuple[float | None, ...],
    steps: tuple[int | None, ...],
    known: tuple[bool, ...],
    finished: int,
) -> CertificateResult:
    """Returns what a certificate shows so far.

    Args:
        plan: What was run.
        losses: Of every run, in the plan's order; None where there is none.
        steps: Training steps of every run.
        known: Whether the run says something of its block: it completed or diverged.
        finished: Runs that have ended, however.
    """
    table = _table(plan, [math.inf if x is None else x for x in losses], known)
    counts = _table(plan, [math.nan if x is None else float(x) for x in steps], known)
    budgets, scales = plan.request.budgets, plan.request.scales
    own_scale, target = scales.index(1.0), budgets.index(max(budgets))
    rows = []
    for scale in range(len(scales)):
        for budget in sorted(range(len(budgets)), key=budgets.__getitem__):
            if budget == target and scale == own_scale:
                continue
            row = _row(plan, table, counts, budget, (target, scale), own_scale)
            rows += [] if row is None else [row]
    at_own = [row for row in rows if row.target_scale == 1.0]
    proxy = table[:-1, budgets.index(1.0), own_scale]
    return CertificateResult(
        planned=len(plan.runs),
        finished=finished,
        losses=_plain(table),
        noise=_noise(proxy),
        spread=_spread(proxy),
        rows=tuple(rows),
        sufficient_budget=next((row.budget for row in at_own if row.sufficient), None),
        left_out=plan.left_out,
    )


def _table(plan: CertificatePlan, values: Sequence[float], known: Sequence[bool]) -> Losses:
    """Returns values by block, budget, scale and repeat; NaN where nothing is known."""
    request = plan.request
    shape = (len(plan.blocks), len(request.budgets), len(request.scales), request.repeats)
    table = np.full(shape, math.nan)
    for run, value, said in zip(plan.runs, values, known, strict=True):
        if said:
            table[run.block, run.budget, run.scale, run.repeat] = value
    return table


def _row(
    plan: CertificatePlan,
    table: Losses,
    steps: Losses,
    budget: int,
    target: tuple[int, int],
    own_scale: int,
) -> FidelityRow | None:
    """Returns the fidelity of one budget for one target; None while fewer than four blocks ran."""
    proxy, costly = table[:, budget, own_scale], table[:, target[0], target[1]]
    known = np.asarray(~(np.isnan(proxy).any(axis=1) | np.isnan(costly).any(axis=1)))
    rival = (float(proxy[-1].mean()), float(costly[-1].mean())) if known[-1] else None
    known[-1] = False
    if known.sum() < 4:
        return None
    counted = steps[known, budget, own_scale].mean(axis=1)
    found = fidelity(
        proxy[known],
        costly[known],
        steps=None if np.isnan(counted).any() else counted,
        rival=rival,
        rng=np.random.default_rng(MADE_FROM),
    )
    request = plan.request
    return FidelityRow(
        budget=request.budgets[budget],
        target_budget=max(request.budgets),
        target_scale=request.scales[target[1]],
        blocks=int(known.sum()),
        sufficient=found.sufficient,
        **asdict(found),
    )


def _noise(proxy: Losses) -> float | None:
    """Returns the standard deviation over seeds, pooled over the blocks that ran with several."""
    sound = proxy[np.isfinite(proxy).all(axis=1)]
    if not len(sound) or sound.shape[1] < 2:
        return None
    return float(np.sqrt(sound.var(axis=1, ddof=1).mean()))


def _spread(proxy: Losses) -> float | None:
    sound = proxy[np.isfinite(proxy).all(axis=1)]
    return float(sound.mean(axis=1).std(ddof=1)) if len(sound) > 1 else None


def _plain(table: Losses) -> list[list[list[list[float | None]]]]:
    """Returns the table as plain lists; what is not finite is null."""
    return [
        [[[float(x) if math.isfinite(x) else None for x in d] for d in c] for c in b] for b in table
    ]
