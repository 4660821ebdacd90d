"""The zoo's training steps at 100M, compiled for TPU slices without a TPU; nothing runs.

For each block: the memory of a device by the compiler's own account, beside the estimate of
search/cost/cost.py, FLOPs, collectives and a bound of the step. One line of results a target.

    pip install -e '.[compile]'      # libtpu, 684 MB
    python -m benchmarks.tpu_compile [--targets v6e-1,v6e-8] [--blocks glam,primer] [--no-keep]
"""

from __future__ import annotations

import argparse
from typing import Any

from benchmarks.report import report
from brainformer.search.cost.cost import flops_per_token, memory_bytes
from brainformer.search.proxy.builtin_proxies import load_proxy
from brainformer.search.space.space import load_preset
from brainformer.search.space.zoo import ZOO, zoo_genome
from brainformer.worker.targets.ahead_of_time import (
    CompileRequest,
    compile_ahead_of_time,
    mesh_for,
)
from brainformer.worker.targets.bound import step_bound
from brainformer.worker.targets.hardware import Target, parse_target

PRESET = "brainformer-100m32e"
TARGETS = "v6e-1,v6e-8,v5p-1,v5p-8,v5e-1,v5e-8"
TOLERANCE = 0.15
GIB = 2**30


def main() -> None:
    options = _options()
    for name in options.targets.split(","):
        target = parse_target(name)
        results = {}
        for block in options.blocks.split(","):
            results[block] = compiled(block, target)
            print(f"{target.name:>12} {block:>28}  {_line(results[block])}", flush=True)
        errors = [abs(one["estimate_off"]) for one in results.values() if one["fits"]]
        report(
            name="tpu-compile",
            value=max(errors, default=None),
            unit="largest error of the memory estimate among the blocks that compile",
            target=f"at most {TOLERANCE} (compiled, not run)",
            ok=max(errors) <= TOLERANCE if errors else None,
            details={"target": target.name, "blocks": results},
            keep=not options.no_keep,
        )


def compiled(block: str, target: Target) -> dict[str, Any]:
    """Returns what the compiler says of the block's step on the target."""
    genome, proxy = zoo_genome(block, load_preset(PRESET)), load_proxy(PRESET)
    mesh = mesh_for(genome, proxy, target.chips)
    account = compile_ahead_of_time(
        CompileRequest(genome=genome, proxy=proxy, target=target.name, mesh=mesh)
    )
    estimate = memory_bytes(genome, proxy, platform="tpu", mesh=mesh)
    useful = flops_per_token(genome, proxy) * proxy.batch_size * proxy.sequence_length
    bound = step_bound(target.chip, account, useful / target.chips)
    return {
        "mesh": mesh.model_dump(),
        "fits": account.limit_bytes is None,
        "memory_gib": round(account.memory_bytes / GIB, 3),
        "temporaries_gib": round(account.temporary_bytes / GIB, 3),
        "estimate_gib": round(estimate / GIB, 3),
        "estimate_off": round(estimate / account.memory_bytes - 1, 3),
        "teraflops": round(account.flops / 1e12, 3),
        "useful_teraflops": round(useful / target.chips / 1e12, 3),
        "collectives": {
            kind: [one.count, one.megabytes] for kind, one in account.collectives.items()
        },
        "bound_ms": round(1e3 * bound.seconds, 3),
        "bound_by": bound.by,
        "compile_seconds": round(account.compile_seconds, 1),
    }


def _line(found: dict[str, Any]) -> str:
    fits = "" if found["fits"] else "  does not fit"
    return (
        f"{found['memory_gib']:6.2f} GiB, estimate {found['estimate_off']:+.1%}, bound "
        f"{found['bound_ms']:.2f} ms by {found['bound_by']}, compiled in "
        f"{found['compile_seconds']:.0f} s{fits}"
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--targets", default=TARGETS, help="slices, comma-separated")
    parser.add_argument("--blocks", default=",".join(ZOO), help="zoo names, comma-separated")
    parser.add_argument("--no-keep", action="store_true", help="write no result")
    return parser.parse_args()


if __name__ == "__main__":
    main()
