"""Leases for tests: a genome so small that it compiles in about a second."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from brainformer.search.proxy.proxy import Proxy
from brainformer.search.space.genome import parse_genome
from brainformer.search.trials.lease_messages import Lease

GENOME = parse_genome(
    {
        "model_dim": 16,
        "layers": [
            {"kind": "attention", "heads": 2},
            {
                "kind": "moe",
                "hidden_dim": 16,
                "activation": "gelu",
                "gating": "expert_choice",
                "capacity_factor": 1,
            },
        ],
    }
)
PROXY = Proxy(
    blocks=1,
    experts=2,
    head_dim=8,
    sequence_length=16,
    batch_size=8,
    optimizer="adam",
    peak_learning_rate=0.01,
    validation_tokens=512,
    budget_seconds=0.2,
)


def make_lease(**changes: Any) -> Lease:
    """Returns a lease; `proxy` changes fields of the proxy."""
    proxy = PROXY.model_copy(update=changes.pop("proxy", {}))
    fields: dict[str, Any] = {
        "lease_id": "1-1",
        "search_id": "s",
        "search_name": "test",
        "trial_id": 1,
        "trial_number": 1,
        "attempt": 1,
        "kind": "candidate",
        "pool": "cpu",
        "genome": GENOME,
        "proxy": proxy,
        "seed": 5,
        "expires_at": datetime.now(UTC),
        "lease_seconds": 60,
    }
    return Lease(**(fields | changes))
