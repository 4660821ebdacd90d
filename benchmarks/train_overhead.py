"""What checkpoints, validation, logging and progress cost a training run: steps a second.

A run as `brainformer train` makes it (journal, TensorBoard, a progress bar, validation,
checkpoints) and the bare loop of its steps, on one compiled program. After every block of the
run's steps, a tenth of a second, the bare loop runs as many, so whatever else the machine does
meets both; the run's clock stands still meanwhile. Each arm's time is all that it took for the
same number of steps, pauses included. Checkpoints and validations are asked for ten times as often
as by default.

    python -m benchmarks.train_overhead [--seconds 360]
"""

from __future__ import annotations

import argparse
import io
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import report
from brainformer.worker.pretraining.process import prepare_process

TARGET = 0.97
SAVE_EVERY, VALIDATE_EVERY, REPORT_EVERY = 60.0, 6.0, 10.0
CHUNKS = 30  # stretches of the run that the interval is drawn from
RESAMPLES = 2000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=360.0, help="of the run alone")
    parser.add_argument("--genome", default="glam", help="of the zoo, in the nano space")
    parser.add_argument("--no-keep", action="store_true", help="do not append to the results")
    options = parser.parse_args()
    prepare_process()  # before jax is imported, as the command line does it
    found = _measured(options.genome, options.seconds)
    run, bare, steps = found["run_seconds"], found["bare_seconds"], found["steps"]
    value = bare / run
    low, high = _interval(found["marks"])
    print(f"{'arm':<16}{'steps/s':>10}{'seconds':>10}")
    print(f"{'bare loop':<16}{steps / bare:>10.1f}{bare:>10.1f}")
    print(f"{'run':<16}{steps / run:>10.1f}{run:>10.1f}")
    pauses = f"{found['saves']} checkpoints, {found['judged']} validations"
    print(f"ratio {value:.4f} (95% {low:.4f} to {high:.4f}), {pauses}")
    report(
        name="train-overhead",
        value=round(value, 4),
        unit="of the bare loop's steps a second",
        target=f"at least {TARGET}",
        ok=value >= TARGET,
        peers={"run": round(steps / run, 2), "bare loop": round(steps / bare, 2)},
        details={
            "interval_95": [round(low, 4), round(high, 4)],
            "steps": steps,
            "of_which_blocks": round(bare / found["block_seconds"], 4),
            "checkpoints": found["saves"],
            "checkpoint_seconds": round(found["save_seconds"], 2),
            "validations": found["judged"],
            "genome": options.genome,
            "save_every_seconds": SAVE_EVERY,
            "validate_every_seconds": VALIDATE_EVERY,
            "report_every_seconds": REPORT_EVERY,
        },
        keep=not options.no_keep,
    )


def _interval(marks: list[tuple[float, float]]) -> tuple[float, float]:
    """Returns the 95% interval of the ratio, stretches of the run drawn again."""
    rows = np.diff(np.asarray(marks), axis=0)
    chunks = np.asarray([part.sum(axis=0) for part in np.array_split(rows, CHUNKS)])
    rng = np.random.default_rng(0)
    drawn = chunks[rng.integers(0, len(chunks), (RESAMPLES, len(chunks)))].sum(axis=1)
    low, high = np.quantile(drawn[:, 1] / drawn[:, 0], [0.025, 0.975])
    return float(low), float(high)


def _measured(name: str, seconds: float) -> dict[str, Any]:
    """Returns both arms' seconds for the same steps, and what the run did beside them."""
    from rich.console import Console

    from benchmarks.train_arms import Rival, StillClock
    from brainformer.api.cli.commands.training_display import Bar
    from brainformer.search.proxy.builtin_proxies import load_proxy
    from brainformer.search.space.space import load_preset
    from brainformer.search.space.zoo import zoo_genome
    from brainformer.worker.datasets.catalogue import open_dataset
    from brainformer.worker.devices.hosts import OneHost
    from brainformer.worker.pretraining.intervals import Every
    from brainformer.worker.pretraining.planning import Wishes, new_plan
    from brainformer.worker.pretraining.pretraining import Intervals, Position, Pretraining
    from brainformer.worker.pretraining.run_folder import RunFolder
    from brainformer.worker.pretraining.start import compiled
    from brainformer.worker.pretraining.trackers import Journal, trackers
    from brainformer.worker.timing.clock import SystemClock

    clock, data = StillClock(SystemClock()), open_dataset("python-stdlib")
    genome = zoo_genome(name, load_preset("nano"))
    plan = new_plan(genome, load_proxy("nano"), Wishes(steps=10**7), data)
    program = compiled(plan, mesh=None, clock=clock, cache_folder=None)
    rival = Rival(plan, program, data, clock, seconds)
    for step in range(50):  # warm up
        rival.one(step)
    with tempfile.TemporaryDirectory(prefix="train-overhead-") as place:
        folder = RunFolder(Path(place) / "run")
        console = Console(file=io.StringIO(), force_terminal=True, width=160)
        with folder.held(OneHost()):
            observers = [Journal(folder), Bar(console), *trackers(["tensorboard"], folder.folder)]
            ending = Pretraining(
                plan=plan,
                program=program,
                data=data,
                folder=folder,
                position=Position(),
                intervals=Intervals(
                    validate=Every(seconds=VALIDATE_EVERY),
                    save=Every(seconds=SAVE_EVERY),
                    report=Every(seconds=REPORT_EVERY),
                ),
                observers=[*observers, rival],  # last: what the others take is the run's
                hosts=OneHost(),
                clock=clock,
                stop=rival.stop,
            ).train(program.initial())
    return {
        "steps": ending.step,
        "run_seconds": rival.marks[-1][0],
        "block_seconds": rival.blocks,
        "bare_seconds": rival.bare_seconds,
        "marks": rival.marks,
        "saves": rival.saves,
        "save_seconds": rival.save_seconds,
        "judged": rival.judged,
    }


if __name__ == "__main__":
    main()
