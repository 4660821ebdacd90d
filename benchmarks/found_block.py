"""A found block against the rival that its search had, with fresh paired seeds.

Takes an exported block, which names its rival. Under the search's own budget the trials' clock
decides, and the two of a pair train side by side. Under a longer one their step times, measured
side by side first, fix the steps of both, so that a neighbour on the machine lengthens a run and
changes no loss.

    python -m benchmarks.found_block [demo/best-block.json] [--multiple 6] [--dataset NAME]

With `--dataset` the same pairs train on other text as well.

The rival that is best under a short budget need not be the best under a long one, and another
simple block may be better than the search's rival. With all trials of the search (`brainformer
export --format trials`) both sides are chosen again under that budget, on the search's data: among
the members of the rival's family and of every `--family` of the zoo, and some of the candidates.
Short trials measure step times, which fix all steps; one run each under the search's own budget
says which members go on, one under the longer budget which two of each side, and another run which
of those.

    python -m benchmarks.found_block best.json --trials trials.jsonl [--family dense_transformer]

A block that someone holds to be a better rival, a genome in JSON, takes the rival's place by
`--rival genome.json`.
"""

from __future__ import annotations

import argparse
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from scipy.stats import t as student

from benchmarks.one_core_trials import Run, restart_as_trial, train_all
from benchmarks.report import report
from brainformer.search.errors import InvalidInput
from brainformer.search.estimates.comparison import mean, paired_p_value, standard_deviation
from brainformer.search.export.genome_file import GenomeExport, read_export
from brainformer.search.proxy.proxy import Proxy
from brainformer.search.space.family import BaselineFamily
from brainformer.search.space.genome import Genome, parse_genome
from brainformer.search.spec import SearchSpec

CHOOSING_SEED = 100  # no search's own, as the following ones
FIRST_SEED = 102
ROUNDS = 3
SHORT = 0.15  # of the search's budget, for a step time to choose by
DEPTHS = (2, 4, 6, 8)  # of a family that is named
WANTED = 0.01


class Block(NamedTuple):
    """A block, and how long one of its steps took in the search, in ms."""

    genome: Genome
    step_time_ms: float
    label: str


def main() -> None:
    options = _options()
    restart_as_trial("benchmarks.found_block")
    export = read_export(options.block)
    own = export.proxy.model_copy(update={"clock": "calibrated"})
    proxy = own.model_copy(update={"budget_seconds": options.multiple * own.budget_seconds})
    cores = sorted(os.sched_getaffinity(0))[: options.cores]
    sides, chosen_among = _sides(export), 1
    if options.trials is not None:
        family, candidates = read_trials(options.trials)
        members = family + _named(options.family, options.trials, family)
        chosen_among = len(members)
        contenders = members, candidates[: options.among or len(family)]
        sides = [_best(side, proxy, own, cores, options.members) for side in contenders]
    if options.rival is not None:
        given = parse_genome(json.loads(options.rival.read_text("utf-8")))
        sides = [Block(given, math.nan, options.rival.stem), sides[1]]
    by_clock = options.multiple == 1
    sides = sides if by_clock else _measured(sides, own, cores)
    details = {"chosen_among": chosen_among} | {
        name: {
            "label": side.label,
            "step_time_ms": side.step_time_ms,
            "genome": side.genome.canonical(),
        }
        for name, side in zip(("rival_block", "found_block"), sides, strict=True)
    }
    for dataset in (own.dataset, *options.dataset):
        there = proxy.trained_on(dataset)
        runs = [
            Run(block.genome, there, seed) if by_clock else _run(block, there, seed)
            for seed in range(FIRST_SEED, FIRST_SEED + options.seeds)
            for block in sides
        ]
        losses = [one.measurements.validation_loss for one in train_all(runs, cores=cores)]
        judge(losses[0::2], losses[1::2], export, there, details=details, keep=not options.no_keep)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    block = Path("demo") / "best-block.json"
    parser.add_argument("block", type=Path, nargs="?", default=block, help="an exported block")
    parser.add_argument("--multiple", type=float, default=6.0, help="of its search's budget")
    parser.add_argument("--dataset", action="append", default=[], help="besides the search's own")
    parser.add_argument("--trials", type=Path, help="of its search: both sides are chosen again")
    parser.add_argument("--among", type=int, help="candidates; as many as the family by default")
    parser.add_argument("--family", action="append", default=[], help="of rivals; repeatable")
    parser.add_argument("--rival", type=Path, help="a genome that takes the rival's place")
    parser.add_argument("--members", type=int, default=8, help="that a longer budget chooses from")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--no-keep", action="store_true", help="write no result")
    return parser.parse_args()


def _sides(export: GenomeExport) -> list[Block]:
    """Returns the rival and the block, as the search has them."""
    baseline, step_time = export.baseline or {}, export.measurements.step_time_ms
    if not baseline.get("rival") or not baseline.get("step_time_ms") or step_time is None:
        raise InvalidInput("the export names no rival; export from a search with a baseline family")
    rival = parse_genome(baseline["rival"])
    return [
        Block(rival, float(baseline["step_time_ms"]), "the search's rival"),
        Block(export.genome, step_time, f"trial {export.trial_number}"),
    ]


def read_trials(path: Path) -> tuple[list[Block], list[Block]]:
    """Returns the members of a search's family, and its distinct candidates, the best first."""
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()[1:]]
    ended = [one for one in rows if one["measurements"].get("validation_loss") is not None]
    family = [one for one in ended if one["origin"] == "family"]
    best: dict[str, dict[str, Any]] = {}
    for one in sorted(ended, key=lambda one: float(one["measurements"]["validation_loss"])):
        if one["kind"] == "candidate" and one["origin"] != "seed":  # no search has found a seed
            best.setdefault(one["digest"], one)
    return [_block(one) for one in family], [_block(one) for one in best.values()]


def _named(names: Sequence[str], trials: Path, known: Sequence[Block]) -> list[Block]:
    """Returns the members of the zoo's families that are not known, without step times."""
    if not names:
        return []
    with trials.open(encoding="utf-8") as lines:
        spec = SearchSpec.model_validate(json.loads(next(lines))["spec"])
    space = spec.resolved_space()
    digests = {one.genome.digest for one in known}
    family = BaselineFamily(family=names[0], also=tuple(names[1:]), depths=DEPTHS)
    return [
        Block(one.genome, math.nan, f"{one.block}, {one.shape}")
        for one in family.members(space, head_dim=spec.proxy.head_dim)
        if one.genome.digest not in digests
    ]


def _block(trial: dict[str, Any]) -> Block:
    step_time = float(trial["measurements"]["step_time_ms"])
    label = trial["label"] or f"trial {trial['number']}"
    return Block(parse_genome(trial["genome"]), step_time, label)


def _run(block: Block, proxy: Proxy, seed: int) -> Run:
    return Run(block.genome, proxy, seed, round(1000 * proxy.budget_seconds / block.step_time_ms))


def _measured(
    sides: Sequence[Block], own: Proxy, cores: Sequence[int], rounds: int = ROUNDS
) -> list[Block]:
    """Returns the blocks with their step times in trials side by side, the mean of some each."""
    runs = [
        Run(side.genome, own, seed)
        for seed in range(CHOOSING_SEED - rounds, CHOOSING_SEED)
        for side in sides
    ]
    times = [one.measurements.step_time_ms or math.nan for one in train_all(runs, cores=cores)]
    count = len(sides)
    return [side._replace(step_time_ms=mean(times[at::count])) for at, side in enumerate(sides)]


def _best(
    blocks: Sequence[Block], proxy: Proxy, own: Proxy, cores: Sequence[int], most: int
) -> Block:
    """Returns the block with the lowest mean loss of two runs, of the two that lead after one."""
    short = own.model_copy(update={"budget_seconds": SHORT * own.budget_seconds})
    blocks = _measured(blocks, short, cores, rounds=1)
    if proxy.budget_seconds > own.budget_seconds and len(blocks) > most:
        blocks = _in_order(blocks, _losses(blocks, own, CHOOSING_SEED, cores))[:most]
    first = _losses(blocks, proxy, CHOOSING_SEED, cores)
    leading = _in_order(blocks, first)[:2]
    again = _losses(leading, proxy, CHOOSING_SEED + 1, cores)
    known = dict(zip(blocks, first, strict=True))
    means = [mean([known[one], loss]) for one, loss in zip(leading, again, strict=True)]
    best = _in_order(leading, means)[0]
    print(f"chosen: {best.label}", flush=True)
    return best


def _in_order(blocks: Sequence[Block], losses: Sequence[float]) -> list[Block]:
    """Returns the blocks, the one with the lowest loss first, and prints them."""
    order = sorted(range(len(blocks)), key=losses.__getitem__)
    for at in order:
        print(f"{losses[at]:.4f}  {blocks[at].step_time_ms:.2f} ms  {blocks[at].label}", flush=True)
    return [blocks[at] for at in order]


def _losses(blocks: Sequence[Block], proxy: Proxy, seed: int, cores: Sequence[int]) -> list[float]:
    runs = [_run(block, proxy, seed) for block in blocks]
    losses = [one.measurements.validation_loss for one in train_all(runs, cores=cores)]
    return [math.inf if loss is None else loss for loss in losses]


def judge(
    rival: list[float | None],
    found: list[float | None],
    export: GenomeExport,
    proxy: Proxy,
    *,
    details: dict[str, Any],
    keep: bool,
) -> None:
    """Prints and keeps what pairs of losses say; the k-th of each side share a seed."""
    pairs = list(zip(rival, found, strict=True))
    gains = [a - b for a, b in pairs if a is not None and b is not None]
    for theirs, ours in pairs:
        print(f"rival {theirs}  found {ours}")
    spread, count = standard_deviation(gains), len(gains)
    half = None
    if spread is not None:
        half = float(student.ppf(0.975, count - 1)) * spread / math.sqrt(count)
    probability = paired_p_value(found, rival)
    multiple = proxy.budget_seconds / export.proxy.budget_seconds
    report(
        name="found-block",
        value=round(mean(gains), 4),
        unit=f"nats a token better than the rival at {multiple:g} times the budget",
        target=f"above 0 with p < {WANTED}, one-sided, paired",
        ok=probability is not None and probability < WANTED,
        details={
            "interval": None if half is None else [mean(gains) - half, mean(gains) + half],
            "p": probability,
            "found": found,
            "rival": rival,
            "budget_seconds": proxy.budget_seconds,
            "dataset": proxy.dataset,
        }
        | details,
        keep=keep,
    )


if __name__ == "__main__":
    main()
