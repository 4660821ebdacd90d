"""Built-in proxies: what a trial of each preset space shares, tuned once and named.

A spec may start from one and change what it wants; the figures behind `nano` are in
docs/experiments.md.
"""

from __future__ import annotations

from search.errors import NotFound
from search.spec import Proxy

PROXIES: dict[str, Proxy] = {
    # About 100M activated parameters, 32 experts: arXiv:2306.00008, section 3.4 and Table 2.
    "100m32e": Proxy(
        blocks=3,
        experts=32,
        head_dim=64,
        sequence_length=1024,
        batch_size=32,
        optimizer="adafactor",
        peak_learning_rate=0.01,
        schedule="inverse_sqrt",
        warmup_fraction=0.1,
        validation_tokens=262_144,
        budget_seconds=600,
    ),
    # A two-core machine tells genomes of the `nano` space apart in about ten seconds.
    "nano": Proxy(
        blocks=3,
        experts=8,
        head_dim=16,
        sequence_length=64,
        batch_size=8,
        optimizer="adam",
        peak_learning_rate=0.006,
        schedule="linear",
        warmup_fraction=0.05,
        validation_tokens=16_384,
        budget_seconds=10,
    ),
}


def load_proxy(name: str) -> Proxy:
    """Returns the built-in proxy of that name.

    Raises:
        NotFound: there is none; the message lists what there is.
    """
    if name not in PROXIES:
        raise NotFound("proxy", name, sorted(PROXIES))
    return PROXIES[name]
