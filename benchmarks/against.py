"""This tree against an earlier revision of it: proposals, claims, training steps, the API's load.

The revision is checked out beside this tree, and both run in this environment, each as a process of
its own that works when it is told to: they take turns in random order, so that whatever else the
machine does meets both. What is compared is the median of a turn; the figure is the median over
turns of the ratio, this tree's over the revision's. The API's load is run whole, in turns as well:
p99 of the slowest operation, and of the slowest but the report, which holds all charts since.

    python -m benchmarks.against REVISION [--turns 20] [--load-turns 2] [--load-folder FOLDER]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.report import report

TARGET = 1.03
REPOSITORY = Path(__file__).resolve().parent.parent
HERE, THERE = "this tree", "the revision"
SLOWEST = "API, p99 of the slowest operation"
SLOWEST_READ = "API, p99 of the slowest but the report"
REPORT = ("get_report",)
Loads = dict[str, dict[str, float]]  # p99 of each operation, of each tree
# Runs in either tree, and so uses only what both have.
CHILD = """
import json, statistics, sys, tempfile, time
from pathlib import Path
from benchmarks import ask_tell, cpu_step

def timed(work, count):
    times = []
    for _ in range(count):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return times

def claims(folder, screening):
    store = ask_tell._Dispatched(f"sqlite:///{folder}/claims-{screening}.db")
    store.fill(600)
    store._screen(screening)
    turn = lambda: store._finish(store._claim(1)[0])
    turn()
    return turn

def asked(folder, screening, before):
    search = ask_tell._search(f"sqlite:///{folder}/asked-{screening}.db", screening)
    turn = lambda: ask_tell._ask_and_tell(search)
    timed(turn, before)
    return turn

with tempfile.TemporaryDirectory() as folder:
    model = cpu_step.Child("ours", folder)
    model.steps(5)
    works = {
        "ask + tell": (asked(folder, "none", 600), 200),
        "ask + tell, screened": (asked(folder, "gaussian_process", 300), 60),
        "claim + result": (claims(folder, "none"), 200),
        "claim + result, screened": (claims(folder, "gaussian_process"), 60),
    }
    print("ready", flush=True)
    for line in sys.stdin:
        name = line.strip()
        seconds = model.steps(6)["seconds"] if name == "training step" else timed(*works[name])
        print(json.dumps(1000 * statistics.median(seconds)), flush=True)
    model.close()
"""
WORKS = (
    "ask + tell",
    "ask + tell, screened",
    "claim + result",
    "claim + result, screened",
    "training step",
)


class Peer:
    """A tree at work."""

    def __init__(self, tree: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", CHILD],
            cwd=tree,
            env=of_tree(tree),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def wait_ready(self) -> None:
        """Waits until its databases are filled and its model is compiled."""
        if self._answer() != "ready":
            raise RuntimeError("a tree could not start; see its words above")

    def turn(self, work: str) -> float:
        """Returns the median milliseconds of one turn."""
        assert self._process.stdin is not None
        self._process.stdin.write(work + "\n")
        self._process.stdin.flush()
        return float(self._answer())

    def close(self) -> None:
        """Ends the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


def main() -> None:
    """Checks the revision out, compares, reports."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="against-") as name:
        other = Path(name) / "tree"
        _git("worktree", "add", "--detach", str(other), options.revision)
        try:
            trees = {HERE: REPOSITORY, THERE: other}
            found = _in_turns(trees, options) if options.turns else {}
            rows = {work: _summary(pairs) for work, pairs in found.items()}
            if options.load_turns:
                loads = _load(trees, options, options.load_folder or Path(name))
                for row, without in ((SLOWEST, ()), (SLOWEST_READ, REPORT)):
                    rows[row] = _summary([_slowest(pair, without) for pair in loads])
        finally:
            _git("worktree", "remove", "--force", str(other))
    for work, row in rows.items():
        print(
            f"{work:<36} {row['ratio']:6.3f} [{row['low']:.3f} to {row['high']:.3f}]   "
            f"{row['before_ms']:8.2f} -> {row['after_ms']:8.2f} ms"
        )
    worst = max(rows, key=lambda work: rows[work]["ratio"])
    report(
        name="against",
        value=round(rows[worst]["ratio"], 3),
        unit=f"this tree's time over that of {options.revision}, the worst of {len(rows)} works",
        target=f"at most {TARGET}",
        ok=rows[worst]["ratio"] <= TARGET,
        details={"revision": options.revision, "worst": worst, "works": rows},
        keep=not options.no_keep,
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("revision", help="what to compare with, as git names it")
    parser.add_argument("--turns", type=int, default=20, help="of the others; 0 for none")
    parser.add_argument("--load-turns", type=int, default=2, help="of the API's load; 0 for none")
    parser.add_argument("--load-trials", type=int, default=100_000)
    parser.add_argument("--load-folder", type=Path, help="keeps the databases of both trees")
    parser.add_argument("--load-seconds", type=float, default=40)
    parser.add_argument("--no-keep", action="store_true", help="write no result")
    return parser.parse_args()


def of_tree(tree: Path) -> dict[str, str]:
    """Returns the environment in which a tree's own packages are imported."""
    return os.environ | {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}


def _in_turns(
    trees: dict[str, Path], options: argparse.Namespace
) -> dict[str, list[dict[str, float]]]:
    peers = {name: Peer(tree) for name, tree in trees.items()}
    for peer in peers.values():
        peer.wait_ready()
    found: dict[str, list[dict[str, float]]] = {}
    for work in WORKS:
        found[work] = [
            {name: peers[name].turn(work) for name in random.sample(list(peers), 2)}
            for _ in range(options.turns)
        ]
    for peer in peers.values():
        peer.close()
    return found


def _load(trees: dict[str, Path], options: argparse.Namespace, folder: Path) -> list[Loads]:
    """Returns p99 of every operation, a pair a turn; each tree keeps a database."""
    return [
        {
            name: _one_load(trees, name, folder / f"{name}.db", options)
            for name in random.sample(list(trees), 2)
        }
        for _ in range(options.load_turns)
    ]


def _slowest(pair: Loads, without: tuple[str, ...]) -> dict[str, float]:
    """Returns p99 of the slowest operation of each tree, of those that both have."""
    both = set(pair[HERE]) & set(pair[THERE]) - set(without)
    return {name: max(times[one] for one in both) for name, times in pair.items()}


def _one_load(
    trees: dict[str, Path], name: str, file: Path, options: argparse.Namespace
) -> dict[str, float]:
    """Returns p99 of every operation of one tree; clients are the revision's on both sides."""
    tree = trees[name]
    words = ("--try", "--file", str(file), "--trials", str(options.load_trials))
    words += ("--seconds", str(options.load_seconds))
    if name == HERE:
        words += ("--clients", str(trees[THERE]))
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks.api_load", *words],
        cwd=tree,
        env=of_tree(tree),
        capture_output=True,
        text=True,
        check=True,
    )
    result: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    rows = result["details"]["operations"]
    for name, row in rows.items():
        print(f"{tree.name:<12}{name:<32}{row['p50_ms']:>9.1f}{row['p99_ms']:>9.1f} ms", flush=True)
    return {name: float(row["p99_ms"]) for name, row in rows.items()}


def _summary(pairs: list[dict[str, float]]) -> dict[str, float]:
    ratios = sorted(pair[HERE] / pair[THERE] for pair in pairs)
    return {
        "ratio": statistics.median(ratios),
        "low": ratios[len(ratios) // 4],
        "high": ratios[3 * len(ratios) // 4],
        "before_ms": statistics.median(pair[THERE] for pair in pairs),
        "after_ms": statistics.median(pair[HERE] for pair in pairs),
    }


def _git(*words: str) -> None:
    subprocess.run(["git", *words], cwd=REPOSITORY, check=True, capture_output=True)


if __name__ == "__main__":
    main()
