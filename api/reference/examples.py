"""Examples of request bodies and answers for the OpenAPI schema; a test validates each."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

GENOME: dict[str, Any] = {
    "schema_version": 1,
    "model_dim": 64,
    "layers": [
        {"kind": "attention", "heads": 4},
        {"kind": "feed_forward", "hidden_dim": 128, "activation": "gated_gelu"},
        {
            "kind": "moe",
            "hidden_dim": 128,
            "activation": "gelu",
            "gating": "expert_choice",
            "capacity_factor": 1,
        },
    ],
}
SPEC: dict[str, Any] = {
    "name": "laptop",
    "space": "nano",
    "limits": {"trials": 40},
    "population_size": 10,
    "tournament_size": 3,
    "proxy": {"experts": 8, "head_dim": 16, "sequence_length": 64, "batch_size": 16},
}
POINT: dict[str, Any] = {
    "fraction": 0.25,
    "step": 250,
    "training_seconds": 15.0,
    "validation_loss": 2.41,
}

POOL: dict[str, Any] = {
    "pool": "cpu",
    "workers": 1,
    "running": 2,
    "last_seen": "2026-11-24T08:00:00Z",
    "drained_at": None,
    "retired_at": None,
}
RETIRED: dict[str, Any] = {"workers": 0, "running": 0, "retired_at": "2026-11-24T08:01:00Z"}
POOL_DETAIL: dict[str, Any] = POOL | {
    "devices": ["cpu"],
    "attempts_last_hour": 57,
    "outcomes": {"completed": 112, "preempted": 1, "pruned": 30},
    "step_time_ms": 41.5,
    "utilisation": 0.95,
    "searches": [
        {
            "search_id": "laptop-1",
            "name": "laptop",
            "status": "running",
            "running": 2,
            "waiting": 0,
            "blocked": "",
        }
    ],
}

# By operation id.
BODIES: Mapping[str, dict[str, Any]] = MappingProxyType(
    {
        "create_search": SPEC,
        "check_spec": SPEC,
        "change_note": {"note": "learning rate too low; see the next one", "archived": True},
        "change_search": {"limits": {"trials": 80, "hours": 12}},
        "create_certificate": {"blocks": 16, "repeats": 2, "budgets": [1, 3, 6], "scales": [1, 2]},
        "create_promotion": {
            "top": 3,
            "scales": [1, 2, 4],
            "budget_seconds": [7200],
            "repeats": 5,
        },
        "claim_leases": {"worker_id": "laptop-7f3a", "pool": "cpu", "count": 2, "wait_seconds": 20},
        "report_progress": {"point": POINT, "step_time_ms": 41.5, "phase": "training"},
        "report_result": {
            "outcome": "completed",
            "measurements": {
                "validation_loss": 2.18,
                "bits_per_byte": 3.15,
                "step_time_ms": 41.5,
                "steps": 1000,
                "training_seconds": 60.0,
                "curve": [POINT],
            },
        },
        "tell_genome_facts": {"genome": GENOME, "proxy": {"experts": 8, "head_dim": 16}},
        "create_token": {"name": "cluster-a", "scopes": ["worker"], "expires_in_seconds": 604_800},
        "sign_in": {"token": "the-secret-of-a-token"},
    }
)
ANSWERS: Mapping[str, dict[str, Any]] = MappingProxyType(
    {
        "report_progress": {
            "action": "stop",
            "outcome": "infeasible",
            "reason": "infeasible: step time 61 ms is above the limit 43.6 ms",
        },
        "report_result": {
            "trial_id": 12,
            "attempt": 1,
            "status": "completed",
            "fitness": 0.042,
            "duplicate": False,
        },
        "get_health": {"status": "ok", "version": "0.1.0"},
        "get_readiness": {"status": "ok", "version": "0.1.0"},
        "list_datasets": {
            "items": [{"id": "python-stdlib", "built_in": True, "hash": None}],
        },
        "get_identity": {"name": "token:cluster-a", "scopes": ["worker"]},
        "list_pools": {"items": [POOL]},
        "get_pool": POOL_DETAIL,
        "drain_pool": POOL_DETAIL | {"drained_at": "2026-11-24T08:01:00Z"},
        "resume_pool": POOL_DETAIL,
        "retire_pool": {
            "pool": POOL_DETAIL | RETIRED,
            "searches": [
                {
                    "search_id": "laptop-1",
                    "name": "laptop",
                    "kind": "search",
                    "status": "running",
                    "reason": "",
                    "put_back": 2,
                    "given_up": 1,
                    "moved": 3,
                    "to": "h200",
                }
            ],
        },
        "return_pool": POOL_DETAIL,
        "create_token": {
            "token": {
                "id": 1,
                "name": "cluster-a",
                "prefix": "bf_x1y2z3",
                "scopes": ["worker"],
                "created_at": "2026-11-24T08:00:00Z",
                "expires_at": "2026-12-01T08:00:00Z",
            },
            "secret": "shown-here-only",
        },
    }
)
