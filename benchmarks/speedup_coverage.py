"""How often 90% intervals of the effective speedup cover the truth, on simulated ladders.

The rival's curve is L_inf + A (T / T0)^-alpha, which the estimate does not know. Noise is normal;
seeds per side, noise and the true speedup vary. With `--paired` half the variance of the block's
runs is that of the rival's rung at the same budget, as with paired seeds it may be: the intervals
do not use it, and cover more.

    python -m benchmarks.speedup_coverage [--draws 2000] [--paired]
"""

from __future__ import annotations

import argparse
import itertools
import math

import numpy as np

from benchmarks.report import report
from brainformer.search.estimates.speedup import LEVEL, effective_speedup

BUDGET = 60.0
RUNGS = (0.25, 0.5, 1.0, 2.0, 4.0)
REPEATS = (3, 5, 8)
NOISES = (0.01, 0.02, 0.04)  # nats; measured on the nano proxy: 0.02 to 0.05
TRUTHS = (0.7, 1.0, 1.5, 2.6)
CURVES = ((1.2, 0.6, 0.3), (1.0, 0.9, 0.15))  # L_inf, A, alpha
WANTED = (0.87, 0.93)


def rival_loss(multiple: float, curve: tuple[float, float, float]) -> float:
    """Returns the rival's true loss at a multiple of the budget."""
    lowest, scale, power = curve
    return lowest + scale * multiple**-power


def coverage(
    truth: float,
    repeats: int,
    noise: float,
    curve: tuple[float, float, float],
    *,
    draws: int,
    paired: bool = False,
    rng: np.random.Generator,
) -> float:
    """Returns the share of simulated intervals that hold the true speedup.

    Args:
        truth: The speedup.
        repeats: Runs of the block, and of the rival at each rung.
        noise: Standard deviation of a run, nats.
        curve: The rival's.
        draws: How many intervals.
        paired: Whether half the variance of the block's runs is the rival's, by seed.
        rng: Draws the noise.
    """
    held = 0
    for _ in range(draws):
        noises = {rung: noise * rng.standard_normal(repeats) for rung in RUNGS}
        own = noise * rng.standard_normal(repeats)
        if paired:
            own = math.sqrt(0.5) * own + math.sqrt(0.5) * noises[1.0]
        ladder = {BUDGET * rung: list(rival_loss(rung, curve) + by) for rung, by in noises.items()}
        found = effective_speedup(list(rival_loss(truth, curve) + own), ladder, BUDGET)
        if found is not None:
            above = found.low is None or found.low <= truth
            held += above and (found.high is None or truth <= found.high)
    return held / draws


def main() -> None:
    options = _options()
    rng = np.random.default_rng(2306_00008)
    found = {}
    for repeats, noise, truth, curve in itertools.product(REPEATS, NOISES, TRUTHS, CURVES):
        share = coverage(
            truth, repeats, noise, curve, draws=options.draws, paired=options.paired, rng=rng
        )
        found[f"S={truth:g} runs={repeats} noise={noise:g} alpha={curve[2]:g}"] = share
        print(f"S={truth:<4g} runs={repeats} noise={noise:<5g} alpha={curve[2]:<5g} {share:.3f}")
    shares = list(found.values())
    overall = sum(shares) / len(shares)
    report(
        name="speedup-coverage",
        value=round(overall, 4),
        unit=f"share of {LEVEL:.0%} intervals that hold the true speedup",
        target=f"{WANTED[0]} to {WANTED[1]}",
        ok=WANTED[0] <= overall <= WANTED[1],
        details={
            "least": round(min(shares), 4),
            "most": round(max(shares), 4),
            "draws": options.draws,
            "settings": len(shares),
            "paired": options.paired,
        },
        keep=not options.no_keep,
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--paired", action="store_true", help="share half the noise by seed")
    parser.add_argument("--no-keep", action="store_true", help="write no result")
    return parser.parse_args()


if __name__ == "__main__":
    main()
