"""Built-in proxies, one per preset space and named after it.

A spec can start from one and change what it wants; the figures behind `nano` are in
docs/experiments/proxy.md.
"""

from __future__ import annotations

from typing import Any

from brainformer.search.errors import NotFound
from brainformer.search.proxy.proxy import Proxy

# Optimiser, learning rate, schedule and warm-up of these were chosen, not swept: no accelerator
# has been at hand for it.
UNTUNED = frozenset({"brainformer-100m32e", "one-gpu"})
# By which they are known: another rate, or another shape, is no longer theirs.
RECIPE = (
    *("optimizer", "peak_learning_rate", "adam_beta2", "schedule", "warmup_fraction"),
    *("blocks", "head_dim"),
)
PROXIES: dict[str, Proxy] = {
    # About 100M activated parameters, 32 experts: arXiv:2306.00008, section 3.4 and Table 2.
    "brainformer-100m32e": Proxy(
        blocks=3,
        experts=32,
        head_dim=64,
        sequence_length=1024,
        batch_size=32,
        optimizer="adafactor",
        # At 0.01 the first step moves a matrix by a quarter of its size.
        peak_learning_rate=0.001,
        schedule="inverse_sqrt",
        warmup_fraction=0.1,
        validation_tokens=262_144,
        budget_seconds=600,
    ),
    # GLaM's block has 34M activated parameters here. At a quarter of the peak of an H100 it sees
    # over six tokens for each of them in five minutes (docs/devices.md).
    "one-gpu": Proxy(
        blocks=2,
        experts=16,
        head_dim=64,
        sequence_length=1024,
        batch_size=32,
        optimizer="adam",
        peak_learning_rate=0.001,
        schedule="linear",
        warmup_fraction=0.05,
        validation_tokens=262_144,
        budget_seconds=300,
    ),
    # Stacked once, so that the best plain block lies inside the `nano` space and not at its shallow
    # edge: a short budget spent on three copies of a block counts little but its steps.
    "nano": Proxy(
        blocks=1,
        experts=8,
        head_dim=16,
        sequence_length=64,
        rope_base=100,
        batch_size=8,
        optimizer="adam",
        peak_learning_rate=0.006,
        adam_beta2=0.95,
        schedule="linear",
        warmup_fraction=0.05,
        validation_tokens=16_384,
        budget_seconds=20,
    ),
}


# What every recorded proxy has. One that lacks only what came later was trained without it: no
# built-in proxy fills that in.
COMPLETE = set(Proxy().model_dump()) - {"adam_beta2", "rope_base"}


def load_proxy(name: str) -> Proxy:
    """Returns the built-in proxy of that name.

    Raises:
        NotFound: there is none; the message lists the known ones.
    """
    if name not in PROXIES:
        raise NotFound("proxy", name, sorted(PROXIES))
    return PROXIES[name]


def untuned_recipe(proxy: Proxy) -> str | None:
    """Returns the built-in proxy whose optimiser this one has as it is, if nobody has tuned it."""
    for name in sorted(UNTUNED):
        if all(getattr(proxy, field) == getattr(PROXIES[name], field) for field in RECIPE):
            return name
    return None


def resolve_proxy(given: Any, space: Any) -> Any:
    """Returns a proxy's fields with the missing ones filled in; anything else unchanged.

    Args:
        given: A built-in proxy's name, or a mapping of fields with an optional `preset`.
        space: The search's space; its name is the preset where none is named.
    """
    if isinstance(given, str):
        given = {"preset": given}
    if not isinstance(given, dict) or not isinstance(given.get("preset", ""), str):
        return given
    default = space if isinstance(space, str) and space in PROXIES else None
    preset = given.get("preset", default)
    if preset is not None and preset not in PROXIES:
        return given
    recorded = "preset" not in given and set(given) >= COMPLETE
    base = {} if preset is None or recorded else PROXIES[preset].model_dump()
    return {**base, **{name: value for name, value in given.items() if name != "preset"}}


def check_named(given: Any) -> Any:
    """Returns the proxy that `resolve_proxy` resolves to.

    Raises:
        ValueError: it names an unknown proxy.
    """
    if isinstance(given, dict) and "preset" in given:
        raise ValueError(f"no proxy {given['preset']!r}; known: {', '.join(sorted(PROXIES))}")
    return given
