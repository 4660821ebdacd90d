"""A training step on the CPU against PyTorch eager: the same model, interleaved in one run.

Two child processes hold one model each, both with the same number of threads; the parent lets
them take turns of a few steps, so that whatever else the machine does meets both. Ours runs in
the environment that a trial's process gets (worker/process/environment.py); PyTorch in the faster
of that one and its own.

    python -m benchmarks.cpu_step [--rounds 30]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import report
from brainformer.search.proxy.proxy import Proxy
from brainformer.search.space.genome import Genome
from brainformer.worker.process.environment import trial_environment

TARGET = 0.8
THREADS = 2
LEARNING_RATE = 1e-3
BETAS = (0.9, 0.98)
EPSILON = 1e-9
CHECKED_STEPS = 5
# After a few Adam steps from the same start; a wrong rule or scale moves it by 0.01 and more.
LOSS_TOLERANCE = 1e-3
ATTENTION = {"kind": "attention", "heads": 4}
FEED_FORWARD = {"kind": "feed_forward", "hidden_dim": 256, "activation": "gelu"}
EXPERTS = {
    "kind": "moe",
    "hidden_dim": 128,
    "activation": "gelu",
    "gating": "expert_choice",
    "capacity_factor": 1,
}
LAYERS = [
    ATTENTION,
    EXPERTS,
    FEED_FORWARD,
    FEED_FORWARD,
    ATTENTION,
    EXPERTS,
    FEED_FORWARD,
    EXPERTS,
]
PROXY = Proxy(
    blocks=3,
    experts=8,
    head_dim=16,
    vocab_size=256,
    sequence_length=128,
    batch_size=16,
    precision="float32",
    optimizer="adam",
    peak_learning_rate=LEARNING_RATE,
    schedule="constant",
    warmup_fraction=0,
    gradient_clip=0,
)


def genome() -> Genome:
    return Genome.model_validate({"model_dim": 64, "layers": LAYERS})


def tokens(step: int) -> np.ndarray:
    rng = np.random.default_rng([3, step])
    shape = (PROXY.batch_size, PROXY.sequence_length + 1)
    return rng.integers(0, PROXY.vocab_size, shape, dtype=np.int32)


Step = Callable[[int], float]


def our_step() -> tuple[Step, dict[str, np.ndarray]]:
    """Returns the product's own compiled step, and its initial parameters by path."""
    import jax

    from brainformer.model.config import ModelConfig
    from brainformer.worker.devices.compiler_options import dispatch_in_order
    from brainformer.worker.timing.clock import SystemClock
    from brainformer.worker.training.program import compile_program

    dispatch_in_order()
    config = ModelConfig.of_proxy(genome(), PROXY, platform="cpu")
    program = compile_program(config, PROXY, seed=0, clock=SystemClock(), cache_folder=None)
    state = program.initial()
    leaves = {
        _name(path): np.array(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(state.parameters)
    }

    def step(number: int) -> float:
        nonlocal state
        state, metrics = program.step(state, tokens(number), np.float32(0.5))
        return float(jax.block_until_ready(metrics).cross_entropy)

    return step, leaves


def _name(path: tuple[Any, ...]) -> str:
    parts = [str(getattr(part, "key", getattr(part, "name", part))) for part in path]
    return ".".join(part for part in parts if part != "value")


def torch_step(leaves: dict[str, np.ndarray]) -> Step:
    import torch

    from benchmarks.torch_peer import TorchModel, training_step

    torch.set_num_threads(THREADS)
    model = TorchModel(
        leaves,
        LAYERS,
        blocks=PROXY.blocks,
        head_dim=PROXY.head_dim,
        router_z_weight=PROXY.router_z_weight,
    )
    step = training_step(model, learning_rate=LEARNING_RATE, betas=BETAS, epsilon=EPSILON)
    return lambda number: float(step(tokens(number).astype(np.int64)))


PEERS = ("ours", "torch", "torch_malloc")


class Child:
    """A process that holds one model and takes steps when it is told to."""

    def __init__(self, peer: str, folder: str) -> None:
        environment = {name: value for name, value in os.environ.items() if "MALLOC" not in name}
        ours = trial_environment("cpu", THREADS)
        environment |= (
            ours
            if peer != "torch"
            else {
                "OMP_NUM_THREADS": str(THREADS),
                "OMP_PROC_BIND": "true",
            }
        )
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.cpu_step", "--child", peer, "--folder", folder],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def steps(self, count: int) -> dict[str, list[float]]:
        """Takes steps; returns their `seconds` and `losses`."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(f"{count}\n")
        stdin.flush()
        answer: dict[str, list[float]] = json.loads(stdout.readline())
        return answer

    def close(self) -> None:
        """Ends the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def serve(peer: str, folder: str) -> None:
    """Takes as many steps as each line of standard input says."""
    path = Path(folder) / "parameters.npz"
    if peer == "ours":
        step, leaves = our_step()
        np.savez(path, **leaves)
    else:
        with np.load(path) as arrays:
            step = torch_step(dict(arrays))
    number = 0
    for line in sys.stdin:
        seconds, losses = [], []
        for _ in range(int(line)):
            start = time.perf_counter()
            losses.append(step(number))
            seconds.append(time.perf_counter() - start)
            number += 1
        print(json.dumps({"seconds": seconds, "losses": losses}), flush=True)


def main() -> None:
    options = _options()
    if options.child:
        serve(options.child, options.folder)
        return
    with tempfile.TemporaryDirectory() as folder:
        children: dict[str, Child] = {}
        losses = {}
        for peer in PEERS:  # ours first: it writes the parameters
            children[peer] = Child(peer, folder)
            losses[peer] = children[peer].steps(CHECKED_STEPS)["losses"]
        _check_equal(losses)
        seconds: dict[str, list[float]] = {peer: [] for peer in PEERS}
        for _ in range(options.rounds):
            for peer in PEERS:
                seconds[peer] += children[peer].steps(1 + options.steps)["seconds"][1:]
        for child in children.values():
            child.close()
    _judge(seconds, options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--steps", type=int, default=4, help="of each peer in a round")
    parser.add_argument("--no-keep", action="store_true", help="write no result")
    parser.add_argument("--child", choices=PEERS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    return parser.parse_args()


def _check_equal(losses: dict[str, list[float]]) -> None:
    """Ends the run if the peers do not train the same model."""
    for peer, values in losses.items():
        worst = float(np.max(np.abs(np.array(values) - np.array(losses["ours"]))))
        if worst > LOSS_TOLERANCE:
            raise SystemExit(f"{peer} trains another model: losses differ by {worst:.2e} nats")


def _judge(seconds: dict[str, list[float]], options: argparse.Namespace) -> None:
    medians = {peer: statistics.median(values) for peer, values in seconds.items()}
    # A neighbour only ever lengthens a step, and PyTorch's threads wait for one another more
    # often than ours: the fastest steps compare the programs alone.
    fastest = {peer: min(values) for peer, values in seconds.items()}
    ratio, fastest_ratio = _against_torch(medians), _against_torch(fastest)
    for peer, median in medians.items():
        print(f"{peer:>13}  median {median * 1e3:7.1f} ms   fastest {fastest[peer] * 1e3:7.1f} ms")
    print(f"{'over PyTorch':>13}  median {ratio:7.3f}      fastest {fastest_ratio:7.3f}")
    report(
        name="cpu-step",
        value=round(ratio, 3),
        unit="our step time over PyTorch eager's, medians",
        target=f"at most {TARGET}",
        ok=ratio <= TARGET,
        peers={"torch_ms": round(_torch_best(medians) * 1e3, 2)},
        details={
            "fastest_ratio": round(fastest_ratio, 3),
            "median_ms": {peer: round(value * 1e3, 2) for peer, value in medians.items()},
            "fastest_ms": {peer: round(value * 1e3, 2) for peer, value in fastest.items()},
            "threads": THREADS,
            "steps": len(seconds["ours"]),
        },
        keep=not options.no_keep,
    )


def _torch_best(seconds: dict[str, float]) -> float:
    """Returns PyTorch's time in the environment that suits it better."""
    return min(seconds["torch"], seconds["torch_malloc"])


def _against_torch(seconds: dict[str, float]) -> float:
    return seconds["ours"] / _torch_best(seconds)


if __name__ == "__main__":
    main()
