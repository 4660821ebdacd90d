"""Unrolled or scanned, recomputed or not, on TPUs: memory, bound and compilation of one step.

The zoo's blocks at 100M, compiled for TPUs without a TPU (benchmarks/tpu_compile.py); nothing runs.
The compiler counts the body of a loop once, so FLOPs and bound of scanned steps are not shown. The
same on a CPU, with times of steps: benchmarks/depth.py.

    python -m benchmarks.tpu_ways [--targets v5p-8,v6e-8] [--blocks glam,...] [--accounts FOLDER]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from benchmarks.depth import WAYS
from benchmarks.report import report
from benchmarks.tpu_compile import compiled
from brainformer.worker.targets.hardware import parse_target

TARGETS = "v5p-8,v6e-8"
RECOMPUTED = "unrolled, recomputed"
BLOCKS = "glam,dense_transformer,brainformer_1_approximation"  # top-2, no experts, expert choice
SHOWN = ("fits", "memory_gib", "temporaries_gib", "compile_seconds")
BOUND = ("bound_ms", "bound_by", "teraflops")


def main() -> None:
    options = _options()
    for name in options.targets.split(","):
        target = parse_target(name)
        blocks: dict[str, dict[str, Any]] = {}
        for block in options.blocks.split(","):
            ways = blocks[block] = {}
            for way, choice in WAYS.items():
                if choice["scan"] and options.unrolled_alone:
                    continue
                whole = compiled(block, target, options.accounts, **choice)
                shown = SHOWN if choice["scan"] else SHOWN + BOUND
                ways[way] = {key: whole[key] for key in shown}
                print(f"{target.name:>12} {block:>28} {way:>22}  {ways[way]}", flush=True)
        report(
            name="tpu-ways",
            value=max(_ratio(ways) for ways in blocks.values()),
            unit=f"memory of the {_other(blocks)} step over the unrolled one's, at the worst block",
            target="compiled, not run",
            ok=None,
            details={"target": target.name, "blocks": blocks},
            keep=not options.no_keep,
        )


def _other(blocks: dict[str, dict[str, Any]]) -> str:
    return "scanned" if all("scanned" in ways for ways in blocks.values()) else RECOMPUTED


def _ratio(ways: dict[str, Any]) -> float:
    other = ways.get("scanned", ways[RECOMPUTED])
    return round(float(other["memory_gib"] / ways["unrolled"]["memory_gib"]), 3)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--targets", default=TARGETS, help="slices, comma-separated")
    parser.add_argument("--blocks", default=BLOCKS, help="zoo names, comma-separated")
    parser.add_argument("--accounts", type=Path, help="a folder for the compiler's accounts")
    parser.add_argument("--unrolled-alone", action="store_true", help="scan nothing")
    parser.add_argument("--no-keep", action="store_true", help="write no result")
    return parser.parse_args()


if __name__ == "__main__":
    main()
