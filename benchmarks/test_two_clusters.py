"""The oracle of the benchmark on two clusters: that it would notice what is lost or changed."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.two_clusters import RETIRED_EXIT, violations
from tests.search.store.site import Site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(f"sqlite:///{tmp_path / 'search.db'}")


def seen(search_id: str, receipts: dict[str, dict[str, Any]]) -> Any:
    """Returns what the oracle is given of a run in which these receipts were seen."""
    back = SimpleNamespace(ended=RETIRED_EXIT, words="pool slow was retired")
    proxy = SimpleNamespace(contradictions=[], receipts=receipts)
    return SimpleNamespace(search_id=search_id, proxy=proxy, came_back=back)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({}, []),
        ({"status": "failed"}, ["lost: lease was receipted as failed"]),
        ({"fitness": 0.5}, ["changed: lease had fitness 0.5"]),
        ({"trial_id": 999}, ["lost: lease was receipted as completed"]),
        ({"status": "queued", "fitness": None}, []),
    ],
)
def test_what_clients_were_promised_is_compared(
    site: Site, change: dict[str, Any], told: list[str]
) -> None:
    search_id = site.started(limits={"trials": 1})
    receipt = site.finish(site.claim_one(), 2.0)
    promised = receipt.model_dump(include={"trial_id", "attempt", "status", "fitness"}) | change
    assert violations(site.store, seen(search_id, {"lease": promised})) == told


def test_a_trial_that_ends_twice_and_a_search_that_does_not_end_are_told(site: Site) -> None:
    search_id = site.started()
    receipt = site.finish(site.claim_one(), 2.0)
    promised = receipt.model_dump(include={"trial_id", "attempt", "status", "fitness"})
    found = violations(site.store, seen(search_id, {"one": promised, "two": promised}))
    assert found == [f"trial {receipt.trial_id} ended 2 times", "the search is running"]
