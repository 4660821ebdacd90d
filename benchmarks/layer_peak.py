"""How far each kind of sub-layer of `benchmarks.cpu_step` is from the machine's matmul peak.

Forward and backward pass of a chain of alike sub-layers, in the environment and with the threads
of a trial. FLOPs are those of search/cost: causal attention counts half of S x S. Beside it:

- the peak: one product of square matrices as large as suits the machine best;
- the products alone: the sub-layer's own matrix products at their own shapes, forward and
  backward, with nothing between them.

    python -m benchmarks.layer_peak [--repeats 60]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks.cpu_step import (
    ATTENTION,
    EXPERTS,
    FEED_FORWARD,
    LAYERS,
    PROXY,
    THREADS,
)
from benchmarks.cpu_step import genome as whole_genome
from benchmarks.report import report
from brainformer.search.cost.cost import flops_per_token, layer_costs
from brainformer.search.space.genome import Genome
from brainformer.worker.process.environment import trial_environment

KINDS = {"attention": ATTENTION, "moe": EXPERTS, "feed_forward": FEED_FORWARD}
WHOLE, LOGITS = "whole step", "logits"
CHAIN = 8
SQUARES = (512, 1024, 2048)
TOKENS = PROXY.batch_size * PROXY.sequence_length
Shapes = list[tuple[int, int, int, int]]  # (count, rows, inner, columns) of a batched product


def main() -> None:
    options = _options()
    if options.child:
        print(json.dumps(measure(options.repeats)))
        return
    command = [sys.executable, "-m", "benchmarks.layer_peak", "--child"]
    command += ["--repeats", str(options.repeats)]
    environment = os.environ | trial_environment("cpu", THREADS)
    output = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    found = json.loads(output.stdout.splitlines()[-1])
    rows, peak = _rows(found), found["peak"]
    print(f"peak of one product: {peak / 1e9:.0f} GFLOP/s")
    for name, row in rows.items():
        print(
            f"{row['in_a_step']:>4} x {name:>12}  {row['ms']:7.2f} ms  "
            f"{row['gflops_per_second']:6.1f} GFLOP/s  {row['share_of_peak']:6.1%} of the peak  "
            f"products alone {row['products_ms']:6.2f} ms"
        )
    report(
        name="layer-peak",
        value=rows[WHOLE]["share_of_peak"],
        unit="FLOPs a second of the whole training step over the machine's matmul peak",
        target="none: the distance is reported, layer by layer",
        ok=None,
        details={"peak_gflops_per_second": round(peak / 1e9, 1), "threads": THREADS, **rows},
        keep=not options.no_keep,
    )


def _rows(found: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Returns milliseconds and FLOPs a second of one sub-layer a kind, and of the whole step."""
    genome = whole_genome()
    seconds = found["layers"] | {WHOLE: found["step"]}
    flops = {
        layer.kind: 3 * TOKENS * cost.forward_flops
        for layer, cost in zip(genome.layers, layer_costs(genome, PROXY), strict=True)
    } | {WHOLE: TOKENS * flops_per_token(genome, PROXY)}
    counts = {kind: PROXY.blocks * sum(layer["kind"] == kind for layer in LAYERS) for kind in KINDS}
    products = found["products"] | {
        WHOLE: found["products"][LOGITS]
        + sum(count * found["products"][kind] for kind, count in counts.items())
    }
    return {
        name: {
            "in_a_step": counts.get(name, 1),
            "ms": round(seconds[name] * 1e3, 3),
            "gflops_per_second": round(flops[name] / seconds[name] / 1e9, 1),
            "share_of_peak": round(flops[name] / seconds[name] / found["peak"], 4),
            "products_ms": round(products[name] * 1e3, 3),
        }
        for name in (*KINDS, WHOLE)
    }


def measure(repeats: int) -> dict[str, Any]:
    """Returns seconds of one sub-layer a kind, of its products and of the step; the peak."""
    from benchmarks.cpu_step import our_step

    step, _ = our_step()
    numbers = iter(range(10**6))
    return {
        "layers": {kind: chain_seconds(layer, repeats) for kind, layer in KINDS.items()},
        "products": {name: product_seconds(shapes, repeats) for name, shapes in products().items()},
        "step": median_seconds(lambda: step(next(numbers)), repeats),
        "peak": max(
            2 * size**3 / product_seconds([(1, size, size, size)], repeats, backward=False)
            for size in SQUARES
        ),
    }


def chain_seconds(layer: dict[str, Any], repeats: int) -> float:
    """Returns seconds of one sub-layer with its norm and residual, forward and backward."""
    import jax
    import jax.numpy as jnp
    from flax import nnx

    from brainformer.model.block import Block
    from brainformer.model.config import ModelConfig
    from brainformer.worker.devices.compiler_options import COMPILER_OPTIONS

    genome = Genome.model_validate({"model_dim": 64, "layers": [layer] * CHAIN})
    config = ModelConfig.of_proxy(genome, PROXY, platform="cpu")
    graph, parameters, rest = nnx.split(Block(config, rngs=nnx.Rngs(0)), nnx.Param, ...)
    x = jax.random.normal(jax.random.key(0), (TOKENS, genome.model_dim))

    def objective(parameters: Any, x: Any) -> Any:
        block = nnx.merge(graph, parameters, rest, copy=True)
        return jnp.sum(block(x, batch=PROXY.batch_size, training=True)[0] ** 2)

    gradients = jax.jit(jax.grad(objective, argnums=(0, 1)))
    compiled = gradients.lower(parameters, x).compile(COMPILER_OPTIONS["cpu"])
    seconds = median_seconds(lambda: jax.block_until_ready(compiled(parameters, x)), repeats)
    return seconds / CHAIN


def products() -> dict[str, Shapes]:
    """Returns the shapes of the forward products of one sub-layer a kind, and of the ends."""
    dim, width = whole_genome().model_dim, ATTENTION["heads"] * PROXY.head_dim  # type: ignore[operator]
    length, pairs = PROXY.sequence_length, PROXY.batch_size * ATTENTION["heads"]  # type: ignore[operator]
    hidden, inner, experts = FEED_FORWARD["hidden_dim"], EXPERTS["hidden_dim"], PROXY.experts
    places = int(TOKENS * EXPERTS["capacity_factor"] / experts)  # type: ignore[operator]
    found: dict[str, Any] = {
        "attention": [
            (1, TOKENS, dim, 3 * width),
            (pairs, length, PROXY.head_dim, length),
            (pairs, length, length, PROXY.head_dim),
            (1, TOKENS, width, dim),
        ],
        "moe": [
            (1, TOKENS, dim, experts),
            (experts, places, dim, inner),
            (experts, places, inner, dim),
        ],
        "feed_forward": [(1, TOKENS, dim, hidden), (1, TOKENS, hidden, dim)],
        LOGITS: [(1, TOKENS, dim, PROXY.vocab_size)],
    }
    return found


def product_seconds(shapes: Shapes, repeats: int, *, backward: bool = True) -> float:
    """Returns seconds of products at these shapes, one after another; backward, two more each."""
    import jax

    total = 0.0
    for count, rows, inner, columns in shapes:
        keys = jax.random.split(jax.random.key(0), 3)
        left = jax.random.normal(keys[0], (count, rows, inner))
        right = jax.random.normal(keys[1], (count, inner, columns))
        out = jax.random.normal(keys[2], (count, rows, columns))
        forms = [("nri,nic->nrc", left, right)]
        if backward:
            forms += [("nrc,nic->nri", out, right), ("nri,nrc->nic", left, out)]
        for form, one, other in forms:
            if count == 1:
                form, one, other = form.replace("n", ""), one[0], other[0]
            total += _one_product(form, one, other, repeats)
    return total


def _one_product(form: str, one: Any, other: Any, repeats: int) -> float:
    import jax
    import jax.numpy as jnp

    product = jax.jit(lambda a, b: jnp.einsum(form, a, b))
    return median_seconds(lambda: jax.block_until_ready(product(one, other)), repeats)


def median_seconds(run: Callable[[], Any], repeats: int) -> float:
    for _ in range(5):
        run()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=60)
    parser.add_argument("--no-keep", action="store_true", help="write no result")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
