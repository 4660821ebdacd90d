"""How well the nano proxy ranks blocks: the certificate's figures, without a controller.

The blocks are those of benchmarks/objectives/nano_blocks.json: 24 of a random and hand-made sample,
its best first, then the eight best candidates of a search, as a certificate has them. A block's
step time, taken once at the first budget, fixes its steps at all budgets, so that a neighbour on
the machine lengthens a run and changes no loss. Runs are kept in
benchmarks/objectives/nano_fidelity.jsonl and never repeated.

    python -m benchmarks.proxy_fidelity [--budgets 20 120] [--blocks 32] [--seeds 2]
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.one_core_trials import Run, restart_as_trial, train_all
from benchmarks.report import report
from brainformer.search.estimates.fidelity import SUFFICIENT_REGRET, Interval, fidelity
from brainformer.search.proxy.builtin_proxies import load_proxy
from brainformer.search.proxy.proxy import Proxy
from brainformer.search.space.genome import Genome, parse_genome

OBJECTIVES = Path(__file__).parent / "objectives"
BLOCKS, KEPT = OBJECTIVES / "nano_blocks.json", OBJECTIVES / "nano_fidelity.jsonl"
TAU_WANTED = 0.6


def main() -> None:
    options = _options()
    restart_as_trial("benchmarks.proxy_fidelity")
    proxy = load_proxy("nano").model_copy(update={"clock": "calibrated"})
    blocks = [parse_genome(one) for one in json.loads(BLOCKS.read_text("utf-8"))]
    blocks = blocks[: options.blocks]
    first, last = options.budgets[0], options.budgets[-1]
    seeds = {first: options.seeds, last: options.target_seeds}
    base = [
        Run(block, _longer(proxy, first), seed)
        for seed in range(1, seeds[first] + 1)
        for block in blocks
    ]
    cheap = _known(base, options)
    pace = {run.genome.digest: one["step_time_ms"] for run, one in zip(base, cheap, strict=True)}
    costly_runs = [
        Run(block, _longer(proxy, last), seed, round(1000 * last / pace[block.digest]))
        for seed in range(1, seeds[last] + 1)
        for block in blocks
    ]
    costly = _known(costly_runs, options)
    _judge(blocks, cheap, costly, options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    budget = load_proxy("nano").budget_seconds
    parser.add_argument("--budgets", type=float, nargs=2, default=[budget, 6 * budget])
    parser.add_argument("--blocks", type=int, default=32)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--target-seeds", type=int, default=2)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--no-keep", action="store_true", help="write no result")
    return parser.parse_args()


def _longer(proxy: Proxy, budget: float) -> Proxy:
    return proxy.model_copy(update={"budget_seconds": budget})


def _known(runs: list[Run], options: argparse.Namespace) -> list[dict[str, Any]]:
    """Returns what the runs measured, training those that nobody has."""
    kept = {_key(one): one for one in _kept()}
    missing = [run for run in runs if _key_of(run) not in kept]
    cores = sorted(os.sched_getaffinity(0))[: options.cores]
    if missing:
        for run, result in zip(missing, train_all(missing, cores=cores), strict=True):
            measured = result.measurements
            line = {
                "digest": run.genome.digest,
                "budget": run.proxy.budget_seconds,
                "seed": run.seed,
                "loss": measured.validation_loss,
                "steps": measured.steps,
                "step_time_ms": measured.step_time_ms,
                "tokens": measured.tokens,
                "contention": measured.contention,
            }
            with KEPT.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            kept[_key(line)] = line
    return [kept[_key_of(run)] for run in runs]


def _kept() -> Iterable[dict[str, Any]]:
    if not KEPT.exists():
        return []
    return [json.loads(line) for line in KEPT.read_text("utf-8").splitlines()]


def _key(line: dict[str, Any]) -> tuple[str, float, int]:
    return line["digest"], float(line["budget"]), line["seed"]


def _key_of(run: Run) -> tuple[str, float, int]:
    return run.genome.digest, run.proxy.budget_seconds, run.seed


def _judge(
    blocks: list[Genome],
    cheap: list[dict[str, Any]],
    costly: list[dict[str, Any]],
    options: argparse.Namespace,
) -> None:
    proxy, target = _table(blocks, cheap), _table(blocks, costly)
    steps = np.array([one["steps"] for one in cheap[: len(blocks)]], np.float64)
    found = fidelity(proxy, target, steps=steps, rng=np.random.default_rng(2306_00008))
    noise = float(np.sqrt(proxy.var(axis=1, ddof=1).mean())) if proxy.shape[1] > 1 else None
    spread = float(proxy.mean(axis=1).std(ddof=1))
    for block, row, far in sorted(
        zip(blocks, proxy, target, strict=True), key=lambda one: one[1].mean()
    ):
        layers = " ".join(layer.kind for layer in block.layers)
        print(f"{row.mean():.4f}  {far.mean():.4f}  d={block.model_dim:<3} {layers}")
    details = {
        "budgets": options.budgets,
        "blocks": len(blocks),
        "seeds": [proxy.shape[1], target.shape[1]],
        "tau": _told(found.tau),
        "tau_top": _told(found.tau_top),
        "ceiling_top": None if found.ceiling_top is None else _told(found.ceiling_top),
        "regret": _told(found.regret),
        "partial_tau": found.partial_tau,
        "noise": noise,
        "spread": spread,
    }
    for name, value in details.items():
        print(f"{name:>12}  {value}")
    report(
        name="proxy-fidelity",
        value=round(found.regret.high, 4),
        unit="nats: upper 95% bound of Regret@1",
        target=f"regret at most {SUFFICIENT_REGRET}, tau-b of the top 8 at least {TAU_WANTED}",
        ok=found.sufficient and found.tau_top.value >= TAU_WANTED,
        details=details,
        keep=not options.no_keep,
    )


def _table(blocks: list[Genome], lines: list[dict[str, Any]]) -> np.ndarray:
    losses = [np.inf if one["loss"] is None else one["loss"] for one in lines]
    return np.array(losses, np.float64).reshape(-1, len(blocks)).T


def _told(interval: Interval) -> list[float]:
    return [round(x, 4) for x in (interval.value, interval.low, interval.high)]


if __name__ == "__main__":
    main()
