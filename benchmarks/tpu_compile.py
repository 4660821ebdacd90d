"""The zoo's training steps at 100M, compiled for TPU slices without a TPU; nothing runs.

For each block: the memory of a device by the compiler's own account, beside the estimate of
search/cost/cost.py, FLOPs, collectives and a bound of the step. A block that does not fit is
compiled again with its blocks computed again, as in trials. One line of results a target.

    pip install -e '.[compile]'      # libtpu, 684 MB
    python -m benchmarks.tpu_compile [--targets v6e-1,v6e-8] [--blocks glam,primer] [--no-keep]

A block takes a minute or two. `--accounts FOLDER` keeps what the compiler has said and does not ask
it again; empty the folder after a change of model/ or worker/training/.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

from benchmarks.report import report
from brainformer.search.cost.mesh_rule import choose_mesh
from brainformer.search.proxy.builtin_proxies import load_proxy
from brainformer.search.space.space import load_preset
from brainformer.search.space.zoo import ZOO, zoo_genome
from brainformer.worker.targets.account import Account
from brainformer.worker.targets.ahead_of_time import (
    CompileRequest,
    compile_ahead_of_time,
)
from brainformer.worker.targets.hardware import Target, parse_target
from brainformer.worker.targets.verdict import judge

PRESET = "brainformer-100m32e"
TARGETS = "v6e-1,v6e-8,v5p-1,v5p-8,v5e-1,v5e-8"
TOLERANCE = 0.15


def main() -> None:
    options = _options()
    for name in options.targets.split(","):
        target = parse_target(name)
        results = {}
        for block in options.blocks.split(","):
            for remat in (False, True):  # as trials do what does not fit
                results[block] = compiled(block, target, options.accounts, remat=remat)
                print(f"{target.name:>12} {block:>28}  {_line(results[block])}", flush=True)
                if results[block]["fits"]:
                    break
        errors = [abs(one["estimate_off"]) for one in results.values() if one["fits"]]
        report(
            name="tpu-compile",
            value=max(errors, default=None),
            unit="largest error of the memory estimate among the blocks that fit",
            target=f"at most {TOLERANCE} (compiled, not run)",
            ok=max(errors) <= TOLERANCE if errors else None,
            details={"target": target.name, "blocks": results},
            keep=not options.no_keep,
        )


def compiled(
    block: str, target: Target, accounts: Path | None, *, scan: bool = False, remat: bool = False
) -> dict[str, Any]:
    """Returns what the compiler says of the block's step on the target.

    Args:
        block: Of the zoo.
        target: The slice.
        accounts: Where the compiler's accounts are kept; None for nowhere.
        scan: Whether the stacked blocks are scanned.
        remat: Whether each is computed again in the backward pass.
    """
    genome, proxy = zoo_genome(block, load_preset(PRESET)), load_proxy(PRESET)
    mesh = choose_mesh(genome, proxy, target.chips)
    request = CompileRequest(
        genome=genome, proxy=proxy, target=target.name, mesh=mesh, scan=scan, remat=remat
    )
    return judge(request, _account(request, accounts)).plain()


def _account(request: CompileRequest, folder: Path | None) -> Account:
    if folder is None:
        return compile_ahead_of_time(request)
    digest = hashlib.sha256(request.model_dump_json().encode()).hexdigest()
    path = folder / f"{request.target}-{digest[:16]}.json"
    if path.exists():
        return Account.parse(json.loads(path.read_text("utf-8")))
    account = compile_ahead_of_time(request)
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(account.plain()), "utf-8")
    return account


def _line(found: dict[str, Any]) -> str:
    fits = "" if found["fits"] else "  does not fit"
    fits = f", computed again{fits}" if found["remat"] else fits
    memory = f"{found['memory_gib']:6.2f} GiB, estimate {found['estimate_off']:+.1%}"
    bound = f", bound {found['bound_ms']:.2f} ms by {found['bound_by']}" if found["fits"] else ""
    return f"{memory}{bound}, compiled in {found['compile_seconds']:.0f} s{fits}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--targets", default=TARGETS, help="slices, comma-separated")
    parser.add_argument("--blocks", default=",".join(ZOO), help="zoo names, comma-separated")
    parser.add_argument("--accounts", type=Path, help="a folder for the compiler's accounts")
    parser.add_argument("--no-keep", action="store_true", help="write no result")
    return parser.parse_args()


if __name__ == "__main__":
    main()
