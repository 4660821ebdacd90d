"""A training step on the CPU against PyTorch eager: the same model, interleaved in one run.

Two child processes hold one model each, both with the same number of threads; the parent lets
them take turns of a few steps, so that whatever else the machine does meets both. Ours runs in
the environment that a trial's process gets (worker/process/environment.py); PyTorch in the faster
of that one and its own.

Three models: `deep`, three copies of a block on both cores; and in the shape of the nano proxy on
one core, as a trial has it, `rival`, the best of GLaM's family, and `found`, the best of 72 random
and hand-made blocks (benchmarks/objectives/nano_blocks.json).

    python -m benchmarks.cpu_step [--model deep] [--rounds 30]
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
from typing import Any, NamedTuple

import numpy as np

from benchmarks.report import report
from brainformer.search.proxy.builtin_proxies import load_proxy
from brainformer.search.proxy.proxy import Proxy
from brainformer.search.space.family import BaselineFamily
from brainformer.search.space.genome import Genome, parse_genome
from brainformer.search.space.space import load_preset
from brainformer.worker.process.environment import trial_environment

TARGET = 0.8
NANO_TARGET = 0.6
THREADS = 2
LEARNING_RATE = 1e-3
BETA1 = 0.9
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


class Model(NamedTuple):
    """What is trained, on how many threads, and the share of PyTorch's time that is asked for."""

    genome: Genome
    proxy: Proxy
    threads: int
    target: float


def model_named(name: str) -> Model:
    """Returns the model of that name."""
    if name == "deep":
        return Model(genome(), PROXY, THREADS, TARGET)
    plain = {"peak_learning_rate": LEARNING_RATE, "schedule": "constant"}
    plain |= {"warmup_fraction": 0.0, "gradient_clip": 0.0}
    proxy = load_proxy("nano").model_copy(update=plain)
    if name == "found":
        blocks = Path(__file__).parent / "objectives" / "nano_blocks.json"
        return Model(parse_genome(json.loads(blocks.read_text("utf-8"))[0]), proxy, 1, NANO_TARGET)
    family = BaselineFamily(family="glam", depths=(4,), model_dims=(32,))
    return Model(family.genomes(load_preset("nano"))[0], proxy, 1, NANO_TARGET)


def tokens(step: int, proxy: Proxy = PROXY) -> np.ndarray:
    rng = np.random.default_rng([3, step])
    shape = (proxy.batch_size, proxy.sequence_length + 1)
    return rng.integers(0, proxy.vocab_size, shape, dtype=np.int32)


Step = Callable[[int], float]


def our_step(model: Model) -> tuple[Step, dict[str, np.ndarray]]:
    """Returns the product's own compiled step, and its initial parameters by path."""
    import jax

    from brainformer.model.config import ModelConfig
    from brainformer.worker.devices.compiler_options import dispatch_in_order
    from brainformer.worker.timing.clock import SystemClock
    from brainformer.worker.training.program import compile_program

    dispatch_in_order()
    proxy = model.proxy
    config = ModelConfig.of_proxy(model.genome, proxy, platform="cpu")
    program = compile_program(config, proxy, seed=0, clock=SystemClock(), cache_folder=None)
    state = program.initial()
    leaves = {
        _name(path): np.array(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(state.parameters)
    }

    def step(number: int) -> float:
        nonlocal state
        state, metrics = program.step(state, tokens(number, proxy), np.float32(0.5))
        return float(jax.block_until_ready(metrics).cross_entropy)

    return step, leaves


def _name(path: tuple[Any, ...]) -> str:
    parts = [str(getattr(part, "key", getattr(part, "name", part))) for part in path]
    return ".".join(part for part in parts if part != "value")


def torch_step(model: Model, leaves: dict[str, np.ndarray]) -> Step:
    import torch

    from benchmarks.torch_peer import TorchModel, training_step

    torch.set_num_threads(model.threads)
    proxy = model.proxy
    peer = TorchModel(
        leaves,
        model.genome.canonical()["layers"],
        blocks=proxy.blocks,
        head_dim=proxy.head_dim,
        rope_base=proxy.rope_base,
        router_z_weight=proxy.router_z_weight,
        load_balance_weight=proxy.load_balance_weight,
    )
    betas = BETA1, proxy.adam_beta2
    step = training_step(peer, learning_rate=LEARNING_RATE, betas=betas, epsilon=EPSILON)
    return lambda number: float(step(tokens(number, proxy).astype(np.int64)))


PEERS = ("ours", "torch", "torch_malloc")


class Child:
    """A process that holds one model and takes steps when it is told to."""

    def __init__(self, peer: str, folder: str, model: str = "deep") -> None:
        threads = model_named(model).threads
        environment = {name: value for name, value in os.environ.items() if "MALLOC" not in name}
        ours = trial_environment("cpu", threads)
        environment |= (
            ours
            if peer != "torch"
            else {
                "OMP_NUM_THREADS": str(threads),
                "OMP_PROC_BIND": "true",
            }
        )
        words = ("--child", peer, "--folder", folder, "--model", model)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.cpu_step", *words],
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


def serve(peer: str, folder: str, name: str) -> None:
    """Takes as many steps as each line of standard input says."""
    model = model_named(name)
    if model.threads == 1:
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # peers take turns on one core
    path = Path(folder) / "parameters.npz"
    if peer == "ours":
        step, leaves = our_step(model)
        np.savez(path, **leaves)
    else:
        with np.load(path) as arrays:
            step = torch_step(model, dict(arrays))
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
        serve(options.child, options.folder, options.model)
        return
    with tempfile.TemporaryDirectory() as folder:
        children: dict[str, Child] = {}
        losses = {}
        for peer in PEERS:  # ours first: it writes the parameters
            children[peer] = Child(peer, folder, options.model)
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
    parser.add_argument("--model", choices=("deep", "rival", "found"), default="deep")
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
    model = model_named(options.model)
    ratio, fastest_ratio = _against_torch(medians), _against_torch(fastest)
    for peer, median in medians.items():
        print(f"{peer:>13}  median {median * 1e3:7.1f} ms   fastest {fastest[peer] * 1e3:7.1f} ms")
    print(f"{'over PyTorch':>13}  median {ratio:7.3f}      fastest {fastest_ratio:7.3f}")
    report(
        name="cpu-step",
        value=round(ratio, 3),
        unit="our step time over PyTorch eager's, medians",
        target=f"at most {model.target}",
        ok=ratio <= model.target,
        peers={"torch_ms": round(_torch_best(medians) * 1e3, 2)},
        details={
            "model": options.model,
            "fastest_ratio": round(fastest_ratio, 3),
            "median_ms": {peer: round(value * 1e3, 2) for peer, value in medians.items()},
            "fastest_ms": {peer: round(value * 1e3, 2) for peer, value in fastest.items()},
            "threads": model.threads,
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
