"""Tokens a second and model FLOPs utilisation on one GPU: GLaM and a Brainformer block.

100M activated parameters, 32 experts, sequence 1024, bfloat16 (arXiv:2306.00008, Table 2). Runs
with jax, flax, optax, numpy and pydantic alone. Where PyTorch is installed it trains the same
models from the same values, eager and compiled, and must reach the same losses; the transformers
library, where it is installed, trains a mixture of experts of GLaM's shape. One process a peer
and model, one after another on the same card. Without a GPU the result file says "not run".

    python -m benchmarks.gpu_step [--batch 32] [--steps 30]
    python -m benchmarks.gpu_step --small        all of it at a tiny size, on a CPU
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
import types
from collections.abc import Callable
from typing import Any

import numpy as np

TARGETS = {"dense_transformer": 0.40, "glam": 0.25, "brainformer_1_approximation": 0.25}
# Which packages a peer needs, and which of the models it trains.
NEEDS = {
    "ours": (),
    "torch": ("torch",),
    "torch_compiled": ("torch",),
    "transformers": ("torch", "transformers"),
}
TRAINS = {peer: tuple(TARGETS) for peer in NEEDS} | {"transformers": ("glam",)}
MODEL_DIM, SMALL_DIM = 768, 16
SMALL = {
    "blocks": 1, "experts": 4, "sequence_length": 16, "vocab_size": 64, "head_dim": 8,
    "batch_size": 4, "precision": "float32",
}  # fmt: skip
RATE, BETAS, EPSILON = 1e-3, (0.9, 0.98), 1e-9  # of Adam, as in worker/training/optimizer.py
WARM_UP = 4
# Steps between two looks at the loss, about half a second: as a trial trains on accelerators
# (worker/training/proxy_training.py).
BLOCK = 6
# Losses of the same model from the same values, over the warm-up: nats.
LOSS_TOLERANCE = {"float32": 1e-3, "bfloat16": 3e-2}
NOT_INSTALLED = "not installed"


class _Dumper:
    """Stands in for yaml's: search/ registers how it writes specs when it is imported."""

    @classmethod
    def add_representer(cls, *_: Any) -> None: ...


class _Shaped:
    """Stands in for jaxtyping's annotations."""

    def __class_getitem__(cls, _: Any) -> Any:
        return Any


def stand_ins() -> None:
    """Puts empty modules where packages are missing that this benchmark never calls."""
    names = ("Array", "Bool", "Float", "Int", "PRNGKeyArray")
    missing = {
        "yaml": {"SafeLoader": None, "YAMLError": ValueError, "SafeDumper": _Dumper},
        "jaxtyping": dict.fromkeys(names, _Shaped),
    }
    for package, contents in missing.items():
        if package not in sys.modules and importlib.util.find_spec(package) is None:
            module = types.ModuleType(package)
            module.__dict__.update(contents)
            sys.modules[package] = module


Step = Callable[[np.ndarray], Any]  # returns the loss, which may still be under way


def proxy_of(*, small: bool, batch: int) -> Any:
    from brainformer.search.proxy.proxy import Proxy

    sizes = {"precision": "bfloat16", "batch_size": batch, "vocab_size": 32_000}
    return Proxy(
        **(SMALL if small else sizes),
        optimizer="adam",
        peak_learning_rate=RATE,
        schedule="constant",
        warmup_fraction=0,
        gradient_clip=0,
    )


def genome_of(name: str, *, small: bool) -> Any:
    from brainformer.search.space.genome import Genome
    from brainformer.search.space.zoo import ZOO

    dim = SMALL_DIM if small else MODEL_DIM
    return Genome.model_validate({"model_dim": dim, "layers": ZOO[name]})


def our_step(genome: Any, proxy: Any) -> tuple[Step, dict[str, Any]]:
    """Returns our step, and what compiling it took and what it needs."""
    import jax

    from brainformer.model.config import ModelConfig
    from brainformer.search.cost.cost import memory_bytes
    from brainformer.worker.timing.clock import SystemClock
    from brainformer.worker.training.program import compile_program

    platform = jax.default_backend()
    config = ModelConfig.of_proxy(genome, proxy, platform=platform)
    program = compile_program(config, proxy, seed=0, clock=SystemClock(), cache_folder=None)
    state = program.initial()

    facts = {
        "compile_seconds": round(program.compile_seconds, 1),
        "memory_gib": round(program.memory_bytes / 2**30, 2),
        "estimated_memory_gib": round(memory_bytes(genome, proxy, platform=platform) / 2**30, 2),
    }

    def step(tokens: np.ndarray) -> Any:
        nonlocal state
        state, metrics = program.step(state, tokens, np.float32(0.5))
        return metrics.cross_entropy

    return step, facts


def torch_step(genome: Any, proxy: Any, *, compiled: bool) -> tuple[Step, dict[str, Any]]:
    """Returns PyTorch's step from our initial values, drawn on the CPU."""
    import jax
    import torch
    from flax import nnx

    from benchmarks.torch_peer import TorchModel, training_step
    from brainformer.model.config import ModelConfig
    from brainformer.model.decoder import build_model

    config = ModelConfig.of_proxy(genome, proxy, platform="cpu")
    seed = int(np.random.SeedSequence(0).generate_state(1)[0])  # as in training/program.py
    state = nnx.state(build_model(config, key=jax.random.key(seed)), nnx.Param)
    leaves = jax.tree_util.tree_leaves_with_path(state)
    model = TorchModel(
        {_name(path): np.array(leaf) for path, leaf in leaves},
        genome.canonical()["layers"],
        blocks=proxy.blocks,
        head_dim=proxy.head_dim,
        rope_base=proxy.rope_base,
        router_z_weight=proxy.router_z_weight,
        load_balance_weight=proxy.load_balance_weight,
        device=_torch_device(),
        dtype=getattr(torch, proxy.precision),
    )
    torch.set_float32_matmul_precision("high")
    adam = {"learning_rate": RATE, "betas": BETAS, "epsilon": EPSILON}
    return training_step(model, **adam, compiled=compiled), {}


def _name(path: tuple[Any, ...]) -> str:
    parts = [str(getattr(part, "key", getattr(part, "name", part))) for part in path]
    return ".".join(part for part in parts if part != "value")


def transformers_step(genome: Any, proxy: Any) -> tuple[Step, dict[str, Any]]:
    from benchmarks import transformers_peer

    step, parameters = transformers_peer.transformers_step(
        genome.canonical()["layers"],
        proxy,
        model_dim=genome.model_dim,
        device=_torch_device(),
        rate=RATE,
    )
    return step, {"parameters": parameters}


def _torch_device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


STEPS: dict[str, Callable[[Any, Any], tuple[Step, dict[str, Any]]]] = {
    "ours": our_step,
    "torch": lambda genome, proxy: torch_step(genome, proxy, compiled=False),
    "torch_compiled": lambda genome, proxy: torch_step(genome, proxy, compiled=True),
    "transformers": transformers_step,
}


def measure(peer: str, name: str, *, small: bool, batch: int, steps: int) -> dict[str, Any]:
    """Returns the first losses and tokens a second of one peer's training step in this process."""
    from brainformer.search.cost.cost import activated_parameters, flops_per_token

    genome, proxy = genome_of(name, small=small), proxy_of(small=small, batch=batch)
    shape = (proxy.batch_size, proxy.sequence_length + 1)
    tokens = np.random.default_rng(0).integers(0, proxy.vocab_size, shape, dtype=np.int64)
    step, facts = STEPS[peer](genome, proxy)
    tokens = tokens.astype(np.int32) if peer == "ours" else tokens
    losses = [float(step(tokens)) for _ in range(WARM_UP)]
    seconds = []
    for _ in range(-(-steps // BLOCK)):
        start = time.perf_counter()
        for _ in range(BLOCK):
            loss = step(tokens)
        losses.append(float(loss))  # waits
        seconds.append((time.perf_counter() - start) / BLOCK)
    rate = proxy.batch_size * proxy.sequence_length / statistics.median(seconds)
    return {
        **facts,
        "losses": losses[:WARM_UP],
        "last_loss": losses[-1],
        "milliseconds": round(1e3 * statistics.median(seconds), 2),
        "tokens_per_second": round(rate),
        "flops_per_second": rate * flops_per_token(genome, proxy),
        "activated_parameters": activated_parameters(genome, proxy),
    }


def device() -> dict[str, str]:
    """Returns what jax finds in this process."""
    import jax

    return {"backend": jax.default_backend(), "kind": jax.devices()[0].device_kind}


def child(what: str, options: argparse.Namespace) -> dict[str, Any]:
    """Returns what a fresh process found: one that ends gives its memory on the card back."""
    command = [sys.executable, "-m", "benchmarks.gpu_step", "--child", what]
    command += ["--batch", str(options.batch), "--steps", str(options.steps)]
    command += ["--small"] if options.small else []
    environment = os.environ | {"XLA_CLIENT_MEM_FRACTION": "0.95"}
    if "torch" in what:
        environment["JAX_PLATFORMS"] = "cpu"  # the card is PyTorch's
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if run.returncode:
        last = run.stderr.strip().splitlines()[-1:] or ["no message"]
        return {"failed": last[0][:500]}
    found: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return found


def results_of(options: argparse.Namespace, peak: float | None) -> dict[str, dict[str, Any]]:
    """Returns per model and peer what was measured, or why not."""
    results: dict[str, dict[str, Any]] = {name: {} for name in TARGETS}
    for name, peer in ((n, p) for n in TARGETS for p in NEEDS if n in TRAINS[p]):
        if not all(importlib.util.find_spec(package) for package in NEEDS[peer]):
            results[name][peer] = {"failed": NOT_INSTALLED}
            continue
        found = results[name][peer] = child(f"{peer}:{name}", options)
        if peak and "failed" not in found:
            found["mfu"] = round(found["flops_per_second"] / peak, 4)
        if peer.startswith("torch"):
            _check_equal(results[name], peer, options)
        show(name, peer, found)
    return results


def _check_equal(results: dict[str, Any], peer: str, options: argparse.Namespace) -> None:
    """Marks a peer that does not train the same model."""
    ours, theirs = (results[one].get("losses") for one in ("ours", peer))
    if ours and theirs:
        worst = float(np.abs(np.subtract(ours, theirs)).max())
        results[peer]["largest_loss_difference"] = worst
        precision = proxy_of(small=options.small, batch=options.batch).precision
        if worst > LOSS_TOLERANCE[precision]:
            results[peer]["failed"] = f"trains another model: losses differ by {worst:.2e} nats"


def show(name: str, peer: str, found: dict[str, Any]) -> None:
    """Prints what a peer reached, when it is known: all of them take minutes."""
    if "failed" in found:
        print(f"{name:>28}  {peer:>14}  {found['failed']}", flush=True)
        return
    mfu = f"{found['mfu']:7.1%} MFU" if "mfu" in found else "no known peak"
    rate = f"{found['tokens_per_second']:>10,} tokens/s"
    print(f"{name:>28}  {peer:>14}  {rate}  {mfu}", flush=True)


def judged(results: dict[str, dict[str, Any]]) -> bool | None:
    """Returns whether the bars are reached and every peer is beaten; None without a peak."""
    if not all("mfu" in peers["ours"] for peers in results.values()):
        return None
    bars = all(results[name]["ours"]["mfu"] >= bar for name, bar in TARGETS.items())
    ahead = all(
        peers["ours"]["mfu"] > found["mfu"]
        for peers in results.values()
        for peer, found in peers.items()
        if peer != "ours" and "mfu" in found
    )
    return bars and ahead


def main() -> None:
    stand_ins()
    from benchmarks.report import report

    options = _options()
    if options.child:
        what, _, name = options.child.partition(":")
        sizes = {"small": options.small, "batch": options.batch, "steps": options.steps}
        print(json.dumps(measure(what, name, **sizes) if name else device()))
        return
    found = child("device", options)
    results: dict[str, Any] = {}
    ok, value = None, "not run"
    if found.get("backend") == "gpu" or options.small:
        results = results_of(options, peak_flops(found.get("kind", "")))
    if results and not options.small:
        ok = judged(results)
        value = {name: peers["ours"].get("mfu") for name, peers in results.items()}  # type: ignore[assignment]
    report(
        name="gpu-step",
        value=value,
        unit="model FLOPs utilisation, one GPU, bfloat16",
        target="0.40 dense, 0.25 MoE, ahead of PyTorch and transformers",
        ok=ok,
        peers={
            name: {p: f for p, f in peers.items() if p != "ours"} for name, peers in results.items()
        },
        details={"device": found, "ours": {name: peers["ours"] for name, peers in results.items()}},
        keep=not options.no_keep and not options.small,
    )


def peak_flops(device_kind: str) -> float | None:
    from brainformer.worker.targets.hardware import DATA_SHEETS, data_sheet

    name = data_sheet(device_kind)
    return None if name is None else DATA_SHEETS[name]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=32, help="at least the number of experts")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--small", action="store_true", help="tiny, in float32, keeps no result")
    parser.add_argument("--no-keep", action="store_true", help="write no result")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
