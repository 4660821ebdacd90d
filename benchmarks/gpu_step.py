"""Tokens a second and model FLOPs utilisation on one GPU: GLaM and a Brainformer block.

100M activated parameters, 32 experts, sequence 1024, bfloat16 (arXiv:2306.00008, Table 2). Runs
with jax, flax, optax, numpy and pydantic alone. Where PyTorch or the transformers library is
installed too, PyTorch trains the same Brainformer block, and transformers a mixture of experts of
GLaM's shape, on the same card. Without a GPU the result file says "not run".

    python -m benchmarks.gpu_step [--batch 16] [--steps 30]
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import sys
import time
import types
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

# Dense bfloat16 products, FLOPs a second, by what the device calls itself.
PEAK_FLOPS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L40S": 362e12}
TARGETS = {"dense_transformer": 0.40, "glam": 0.25, "brainformer_1_approximation": 0.25}
MODEL_DIM = 768


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
        "yaml": {"safe_load": None, "YAMLError": ValueError, "SafeDumper": _Dumper},
        "jaxtyping": dict.fromkeys(names, _Shaped),
    }
    for package, contents in missing.items():
        if package not in sys.modules and importlib.util.find_spec(package) is None:
            module = types.ModuleType(package)
            module.__dict__.update(contents)
            sys.modules[package] = module


def proxy_of(*, batch: int, **changes: Any) -> Any:
    from search.spec import Proxy

    values = {"precision": "bfloat16", "batch_size": batch, "vocab_size": 32_000} | changes
    return Proxy(**values)


def measure(name: str, proxy: Any, *, steps: int, model_dim: int = MODEL_DIM) -> dict[str, float]:
    """Returns tokens a second and useful FLOPs a second of one zoo genome's training step."""
    from model.config import ModelConfig
    from search.cost import activated_parameters, flops_per_token
    from search.genome import Genome
    from search.zoo import ZOO
    from worker.clock import SystemClock
    from worker.program import compile_program

    genome = Genome.model_validate({"model_dim": model_dim, "layers": ZOO[name]})
    config = ModelConfig.of_proxy(genome, proxy, platform=jax.default_backend())
    program = compile_program(config, proxy, seed=0, clock=SystemClock(), cache_folder=None)
    state = program.initial()
    shape = (proxy.batch_size, proxy.sequence_length + 1)
    tokens = np.random.default_rng(0).integers(0, proxy.vocab_size, shape, dtype=np.int32)

    def step() -> None:
        nonlocal state
        state, metrics = program.step(state, tokens, np.float32(0.5))
        jax.block_until_ready(metrics)  # type: ignore[no-untyped-call]

    rate = _tokens_per_second(step, proxy, steps)
    return {
        "tokens_per_second": rate,
        "flops_per_second": rate * flops_per_token(genome, proxy),
        "activated_parameters": activated_parameters(genome, proxy),
        "compile_seconds": program.compile_seconds,
    }


def transformers_rate(proxy: Any, *, steps: int, **shape: int) -> float | None:
    """Returns tokens a second of the transformers library's MoE, or None without it or a GPU."""
    if (
        importlib.util.find_spec("transformers") is None
        or importlib.util.find_spec("torch") is None
    ):
        return None
    import torch
    from transformers import MixtralConfig, MixtralForCausalLM

    if not torch.cuda.is_available():
        return None
    values = {
        "hidden_size": MODEL_DIM,
        "intermediate_size": 3072,
        "num_hidden_layers": 4 * proxy.blocks,
        "num_attention_heads": 12,
        "num_key_value_heads": 12,
        "num_local_experts": proxy.experts,
        "vocab_size": proxy.vocab_size,
        "max_position_embeddings": proxy.sequence_length,
    }
    model = MixtralForCausalLM(MixtralConfig(**(values | shape))).to("cuda", torch.bfloat16)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    size = (proxy.batch_size, proxy.sequence_length)
    tokens = torch.randint(0, proxy.vocab_size, size, device="cuda")

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        model(input_ids=tokens, labels=tokens).loss.backward()
        optimizer.step()
        torch.cuda.synchronize()

    return _tokens_per_second(step, proxy, steps)


def _tokens_per_second(step: Callable[[], None], proxy: Any, steps: int) -> float:
    for _ in range(3):
        step()
    seconds = []
    for _ in range(steps):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    return float(proxy.batch_size * proxy.sequence_length / statistics.median(seconds))


def peak_flops(device: str) -> float | None:
    return next((peak for name, peak in PEAK_FLOPS.items() if name in device), None)


def main() -> None:
    stand_ins()
    from benchmarks.report import report

    options = _options()
    results: dict[str, Any] = {}
    ok, value = None, "not run"
    if jax.default_backend() == "gpu":
        device = jax.devices()[0].device_kind
        proxy, peak = proxy_of(batch=options.batch), peak_flops(device)
        for name in TARGETS:
            results[name] = measure(name, proxy, steps=options.steps)
            if peak:
                results[name]["mfu"] = results[name]["flops_per_second"] / peak
        results["transformers_moe"] = transformers_rate(proxy, steps=options.steps)
        results["device"] = device
        value = {name: results[name].get("mfu") for name in TARGETS}  # type: ignore[assignment]
        ok = bool(peak) and all(results[n]["mfu"] >= bar for n, bar in TARGETS.items())
    report(
        name="gpu-step",
        value=value,
        unit="model FLOPs utilisation, one GPU, bfloat16",
        target="0.40 dense, 0.25 MoE, ahead of PyTorch and transformers",
        ok=ok,
        details=results,
        keep=not options.no_keep,
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--no-keep", action="store_true", help="write no result")
    return parser.parse_args()


if __name__ == "__main__":
    main()
