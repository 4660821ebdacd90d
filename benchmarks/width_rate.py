"""Whether the learning-rate rule holds: the best rate at a width and at a multiple of it.

GLaM's block in the nano space is trained at two widths with multiples of the rate that the rule
gives to each (rate x model_dim / width). If the rule holds, the best multiple is the same at both.
The best is the vertex of a parabola through the least mean loss and its neighbours, in log rate.

    python -m benchmarks.width_rate [--widths 24 96] [--seeds 3] [--budget 20]
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Sequence

from benchmarks.one_core_trials import Run, restart_as_trial, train_all
from benchmarks.report import report
from brainformer.search.estimates.comparison import mean
from brainformer.search.proxy.builtin_proxies import load_proxy
from brainformer.search.scaling.target import LearningRate
from brainformer.search.scaling.widths import ScaleModelDim
from brainformer.search.space.genome import Genome
from brainformer.search.space.space import load_preset
from brainformer.search.space.zoo import fitted_genome

FIRST_SEED = 301
MOST_APART = 1.0  # doublings between the best multiples at the two widths


def main() -> None:
    options = _options()
    restart_as_trial("benchmarks.width_rate")
    cores = sorted(os.sched_getaffinity(0))[: options.cores]
    runs = [
        _run(width, multiple, seed, options)
        for seed in range(FIRST_SEED, FIRST_SEED + options.seeds)
        for width in options.widths
        for multiple in options.multiples
    ]
    losses = [one.measurements.validation_loss for one in train_all(runs, cores=cores)]
    cells = len(options.widths) * len(options.multiples)
    best = {}
    for at, width in enumerate(options.widths):
        first = at * len(options.multiples)
        table = [losses[first + i :: cells] for i in range(len(options.multiples))]
        means = [math.inf if None in row else mean(row) for row in table]
        best[width] = best_multiple(options.multiples, means)
        told = "  ".join(f"x{m:g} {x:.4f}" for m, x in zip(options.multiples, means, strict=True))
        print(f"d={width:<4} {told}  best x{best[width]:.2f}")
    narrow, wide = best[options.widths[0]], best[options.widths[-1]]
    apart = abs(math.log2(wide / narrow))
    growth = options.widths[-1] / options.widths[0]
    fitted = options.exponent - math.log(wide / narrow) / math.log(growth)
    report(
        name="width-rate",
        value=round(apart, 3),
        unit="doublings between the best multiples of the rule's rate at the two widths",
        target=f"at most {MOST_APART:g}",
        ok=apart <= MOST_APART,
        details={"best": best, "exponent": options.exponent, "fitted_exponent": round(fitted, 3)},
        keep=not options.no_keep,
    )


def best_multiple(multiples: Sequence[float], losses: Sequence[float]) -> float:
    """Returns where the parabola through the least loss and its neighbours is least.

    At an end, or beside a run that diverged, it is the multiple of the least loss itself.
    """
    least = min(range(len(losses)), key=losses.__getitem__)
    near = losses[max(0, least - 1) : least + 2]
    if len(near) < 3 or not all(math.isfinite(x) for x in near):
        return multiples[least]
    left, middle, right = near
    x = [math.log(m) for m in multiples[least - 1 : least + 2]]
    a, b = x[1] - x[0], x[2] - x[1]
    rise, fall = (right - middle) / b, (middle - left) / a
    vertex = x[1] - (fall * b + rise * a) / (2 * (rise - fall)) if rise != fall else x[1]
    return math.exp(min(max(vertex, x[0]), x[2]))


def _run(width: int, multiple: float, seed: int, options: argparse.Namespace) -> Run:
    proxy = load_proxy("nano")
    base = options.widths[0]
    rule = LearningRate(rate=proxy.peak_learning_rate, model_dim=48, exponent=options.exponent)
    changes = {
        "peak_learning_rate": multiple * rule.at(width),
        "budget_seconds": options.budget * (width / base if options.longer else 1),
        "clock": "calibrated",
    }
    return Run(_genome(width, base), proxy.model_copy(update=changes), seed)


def _genome(width: int, base: int) -> Genome:
    whole = fitted_genome("glam", load_preset("nano"), base)
    return ScaleModelDim(width / base)(whole.model_copy(update={"layers": whole.layers[:4]}))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--widths", type=int, nargs=2, default=[24, 96])
    parser.add_argument("--multiples", type=float, nargs="+", default=[0.25, 0.5, 1, 2, 4])
    parser.add_argument("--exponent", type=float, default=1.0)
    parser.add_argument("--budget", type=float, default=20.0, help="seconds at the first width")
    parser.add_argument("--longer", action="store_true", help="budget grows with the width")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--no-keep", action="store_true", help="write no result")
    return parser.parse_args()


if __name__ == "__main__":
    main()
