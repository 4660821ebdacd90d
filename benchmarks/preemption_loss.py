"""What a trial loses when its worker gets SIGTERM: the slot's time beyond an undisturbed run's.

Two workers of one slot each, every one on a core of its own, run repeats of one block that really
train. Then each gets SIGTERM at random moments, at any stage of a trial, ends, is started again and
goes on from the checkpoint. Lost is what the attempts together occupied the slot for, from claim to
result, beyond what undisturbed runs of the same block needed; the time in which there was no worker
is not the trial's. The wall clock decides the budget, so a trial that trains anything twice takes
that much longer. A moment at which the trial had already ended is drawn again.

It always ends: with the figures, or with a sentence that says what did not come about in time.

    python -m benchmarks.preemption_loss [--moments 10] [--budget 60] [--limit SECONDS] [--try]
"""

from __future__ import annotations

import argparse
import random
import re
import signal
import tempfile
from collections.abc import Iterator
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import httpx2

from benchmarks.preempted_worker import Patience, Trials, Worker, seconds
from benchmarks.report import report
from tests.api.controller_process import controller_process
from tests.worker.stack import search_spec

WORKERS = 2
UNDISTURBED = 3  # runs of each worker; the first compiles for all, and does not count
DRAWS = 3  # of a moment, before it is given up
LEASE_SECONDS = 60.0
START_SECONDS = 120.0  # of a worker, on a machine that has other work too
SLOWEST = 4.0  # times a trial's budget, before it is given up


class Loss(NamedTuple):
    """One preemption.

    Attributes:
        moment: Seconds from the claim to SIGTERM.
        message: What the first attempt ended with.
        occupied: Seconds that all attempts together held the slot.
        trained: Steps of the first attempt.
        kept: Of them, those in the checkpoint that it left.
        steps: Of the whole trial.
        drained: Seconds from SIGTERM to the worker's end.
        attempts: Of the trial.
    """

    moment: float
    message: str
    occupied: float
    trained: int
    kept: int
    steps: int
    drained: float
    attempts: int


class Found(NamedTuple):
    """What one worker was found to do.

    Attributes:
        undisturbed: Seconds that each undisturbed run occupied the slot.
        losses: Of each moment.
        missed: Moments at which the trial had already ended.
    """

    undisturbed: list[float]
    losses: list[Loss]
    missed: int


class Strike:
    """One worker, which gets SIGTERM time and again.

    Args:
        worker: Not yet started.
        trials: Of its pool.
        patience: Shared with the other worker.
        budget: Seconds that a trial trains.
        rng: Draws the moments.
    """

    def __init__(
        self, worker: Worker, trials: Trials, patience: Patience, budget: float, rng: random.Random
    ) -> None:
        self._worker = worker
        self._trials = trials
        self._patience = patience
        self._trial_seconds = START_SECONDS + SLOWEST * budget
        self._rng = rng

    def run(self, moments: int) -> Found:
        """Returns what undisturbed runs occupied the slot for, and what preempted ones did."""
        self._worker.start()
        try:
            found = self._found(moments)
        except BaseException:
            self._worker.kill()
            raise
        self._worker.terminate()
        return found

    def _found(self, moments: int) -> Found:
        quiet = self._undisturbed()
        losses: list[Loss] = []
        missed = 0
        while len(losses) < moments:
            loss = self._preempt(self._rng.uniform(0, min(quiet)))
            if loss is None:
                missed += 1
            else:
                losses.append(loss)
                print(f"  {self._worker.pool}: {loss}", flush=True)
            if missed > DRAWS * moments:
                raise RuntimeError(f"{missed} trials had ended before their SIGTERM")
        return Found(quiet, losses, missed)

    def _undisturbed(self) -> list[float]:
        def ended() -> list[int]:
            self._worker.check()
            numbers = [one["number"] for one in self._trials.of_status("completed")]
            return numbers if len(numbers) >= UNDISTURBED else []

        limit = UNDISTURBED * self._trial_seconds
        what = f"{UNDISTURBED} undisturbed trials of {self._worker.pool}"
        numbers = self._patience.wait_for(what, ended, seconds=limit)
        return [self._trials.occupied(number) for number in numbers[1:UNDISTURBED]]

    def _preempt(self, moment: float) -> Loss | None:
        """Returns what SIGTERM cost, so long after the next claim; None if it came too late."""
        running = self._wait_for("a claim", self._trials.begun)
        number, claimed = running["number"], seconds(running["started_at"])
        self._patience.sleep_until(claimed + moment)
        sent, drained = self._worker.terminate()
        kept = self._worker.kept_steps()
        self._worker.start()
        first = self._wait_for("the first attempt's end", lambda: self._trials.attempts(number))[0]
        if first["outcome"] != "preempted":
            return None
        ended = self._wait_for(f"the end of trial {number}", lambda: self._trials.ended(number))
        if ended["status"] != "completed":
            raise RuntimeError(f"trial {number} {ended['status']}: {ended['message']}")
        return Loss(
            round(sent - claimed, 2),
            first["message"],
            round(self._trials.occupied(number), 2),
            int((re.search(r"after (\d+) steps", first["message"]) or [0, 0])[1]),
            kept,
            int(ended["measurements"]["steps"]),
            round(drained, 2),
            len(ended["attempts"]),
        )

    def _wait_for(self, what: str, question: Any) -> Any:
        def ask() -> Any:
            self._worker.check()
            return question()

        what = f"{what} of {self._worker.pool}"
        return self._patience.wait_for(what, ask, seconds=self._trial_seconds)


@contextmanager
def search(folder: Path, repeats: int, budget: float) -> Iterator[tuple[str, str]]:
    """Yields a controller's address and the id of a search that repeats its baseline so often."""
    spec = search_spec("preempted", trials=1, budget_seconds=budget, baseline_repeats=repeats)
    spec["proxy"] |= {"clock": "wall"}
    spec |= {"lease_seconds": LEASE_SECONDS, "max_attempts": 10, "baseline": "glam"}
    with controller_process(f"sqlite:///{folder / 'search.db'}", log_level="warning") as one:
        made = httpx2.post(f"{one.url}/api/v1/searches", json=spec, trust_env=False)
        if not made.is_success:
            raise ValueError(made.text)
        yield one.url, str(made.json()["id"])


def measure(moments: int, budget: float, seed: int, patience: Patience) -> list[Found]:
    """Returns what each worker was found to do.

    Raises:
        TimeoutError: something did not come about in time.
        RuntimeError: a worker or a trial did not do what it should.
    """
    each = -(-moments // WORKERS)
    repeats = min(100, UNDISTURBED + 1 + (1 + DRAWS) * each)
    with (
        tempfile.TemporaryDirectory(prefix="preempted-") as folder,
        search(Path(folder), repeats, budget) as (url, search_id),
        ThreadPoolExecutor(WORKERS) as threads,
    ):
        running = []
        try:
            for number in range(WORKERS):
                worker = Worker(number, url, Path(folder))
                trials = Trials(url, search_id, worker.pool)
                rng = random.Random(seed + number)
                strike = Strike(worker, trials, patience, budget, rng)
                running.append(threads.submit(strike.run, each))
            return gather(running, patience)
        finally:
            patience.lose()  # by an error or a signal; otherwise nobody waits any more


def gather(running: list[Future[Found]], patience: Patience) -> list[Found]:
    """Returns all that was found; the first error ends the others, and is raised."""
    done, _ = wait(running, return_when=FIRST_EXCEPTION)
    for one in done:
        if (error := one.exception()) is not None:
            patience.lose()
            raise error
    return [one.result() for one in running]


def main() -> None:
    """Measures and reports."""
    options = _options()
    signal.signal(signal.SIGTERM, _end)
    limit = options.limit or longest(options.moments, options.budget)
    found = measure(options.moments, options.budget, options.seed, Patience(limit))
    quiet = [one for each in found for one in each.undisturbed]
    rows = sorted(
        (loss, round((loss.occupied - mean(each.undisturbed)) / options.budget, 4))
        for each in found
        for loss in each.losses
    )
    tell(quiet, rows)
    worst = max(share for _, share in rows)
    report(
        name="preemption-loss",
        value=round(100 * worst, 2),
        unit="% of the budget, the worst of the moments",
        target="at most 10%",
        ok=worst <= 0.1,
        details={
            "budget_seconds": options.budget,
            "undisturbed_seconds": [round(one, 2) for one in quiet],
            "mean_percent": round(100 * mean(share for _, share in rows), 2),
            "steps_trained_twice": sum(loss.trained - loss.kept for loss, _ in rows),
            "longest_drain_seconds": max(loss.drained for loss, _ in rows),
            "missed_moments": sum(each.missed for each in found),
            "moments": [
                {**loss._asdict(), "lost_percent": round(100 * share, 2)} for loss, share in rows
            ],
        },
        keep=not options.trying,
    )


def longest(moments: int, budget: float) -> float:
    """Returns the seconds after which the run is given up: about three times what it should take.

    A trial takes its budget and some ten seconds, a worker a quarter of a minute to start.
    """
    trials = UNDISTURBED + 2 * moments / WORKERS
    return 300.0 + trials * (2 * budget + 60.0)


def tell(quiet: list[float], rows: list[tuple[Loss, float]]) -> None:
    """Prints the table."""
    print(f"undisturbed: {', '.join(f'{one:.1f} s' for one in quiet)}")
    print(f"{'SIGTERM after':>14}{'lost of the budget':>20}{'drained in':>12}  the first attempt")
    for loss, share in rows:
        print(
            f"{loss.moment:>12.1f} s{share:>19.2%}{loss.drained:>10.1f} s"
            f"  {loss.message}; {loss.kept} kept"
        )


def _end(*_: object) -> None:
    raise SystemExit("ended by SIGTERM")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moments", type=int, default=10, help="SIGTERMs, of both workers")
    parser.add_argument("--budget", type=float, default=60.0, help="seconds that a trial trains")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=float, help="seconds after which it is given up")
    parser.add_argument("--try", dest="trying", action="store_true", help="keep no result")
    return parser.parse_args()


if __name__ == "__main__":
    main()
