"""With many open searches a claim looks at those that may serve it, and treats them alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from brainformer.search.errors import TooManySearches
from brainformer.search.spec import Limits
from brainformer.search.sql.rows.values import read_spec
from brainformer.search.sql.trials import claims
from brainformer.search.sql.trials.state import SearchState
from brainformer.search.status import SearchStatus
from brainformer.search.trials.lease_messages import ClaimRequest
from tests.search.store.site import ME, Site, spec


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The searches that claims hold and load, as they do it."""
    found: list[str] = []

    def noted(lock: Callable[..., list[SearchState]]) -> Callable[..., list[SearchState]]:
        def locked(*args: object, **named: object) -> list[SearchState]:
            states = lock(*args, **named)
            found.extend(state.id for state in states)
            return states

        return locked

    for name in ("lock_unfinished", "wait_for_unfinished"):
        monkeypatch.setattr(claims, name, noted(getattr(claims, name)))
    return found


def test_a_claim_loads_the_search_that_serves_it_and_no_other(
    site: Site, loaded: list[str]
) -> None:
    for seed in range(30):
        site.create(seed=seed)
    for count in range(1, 31):
        lease = site.claim_one()
        assert loaded[-1] == lease.search_id
        assert len(loaded) == count


def test_searches_that_have_nothing_are_left_alone_until_they_change(
    site: Site, loaded: list[str]
) -> None:
    searches = [site.create(seed=seed) for seed in range(10)]
    leases = [site.claim_one() for _ in searches]  # all baselines; candidates wait for them
    loaded.clear()
    assert site.claim() == []
    assert sorted(loaded) == sorted(searches)
    loaded.clear()
    assert site.claim() == []
    assert site.claim(worker="w-2") == []
    assert loaded == []
    site.finish(leases[3], 3.0)
    assert site.claim_one().search_id == leases[3].search_id
    site.claim(pool="other")
    assert len(set(loaded)) > 1  # another kind of worker has to look for itself


def test_more_searches_without_work_than_a_transaction_looks_at(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "MOST_EMPTY", 3)
    for seed in range(10):
        site.create(seed=seed)
        site.claim_one()
    last = site.create(seed=10, name="last")
    site.claim_one()
    assert site.claim() == []
    site.store.change_status(last, SearchStatus.PAUSED, actor=ME)
    site.store.change_status(last, SearchStatus.RUNNING, actor=ME)
    assert site.claim() == []


def test_other_hardware_and_other_data_cost_no_look(site: Site, loaded: list[str]) -> None:
    site.create(pools=["h200"])
    site.create(proxy={**spec().proxy.model_dump(), "dataset": "books"})
    for _ in range(3):
        request = ClaimRequest(
            worker_id="w-1", pool="cpu", count=1, datasets={"python-stdlib": "a" * 64}
        )
        assert site.store.claim(request) == []
    assert loaded == []
    refusals = [one for one in site.store.events() if one.kind == "worker.refused"]
    assert len(refusals) == 1


def test_one_slot_serves_all_searches_in_turn_though_specs_are_read_anew(site: Site) -> None:
    searches = [site.started(seed=seed) for seed in range(3)]
    served: Counter[str] = Counter()
    for _ in range(12):
        read_spec.cache_clear()
        served[site.run(1)[0].search_id] += 1
    assert served == dict.fromkeys(searches, 4)


def test_a_proposer_is_kept_until_the_spec_changes(site: Site) -> None:
    search = site.started()
    site.run(1)
    kept = site.store._caches._caches[search]
    read_spec.cache_clear()
    site.run(1)
    assert site.store._caches._caches[search] is kept
    site.store.change_limits(search, Limits(trials=50), actor=ME)
    site.run(1)
    assert site.store._caches._caches[search].spec.limits.trials == 50


def test_no_more_searches_are_open_than_allowed(site: Site) -> None:
    first = site.store.create_search(spec(), actor=ME, idempotency_key="k", most_open=1)
    with pytest.raises(TooManySearches, match="1 searches are open, which is the most here"):
        site.store.create_search(spec(), actor=ME, most_open=1)
    again = site.store.create_search(spec(), actor=ME, idempotency_key="k", most_open=1)
    assert again.id == first.id  # a repeat makes none
    site.store.change_status(first.id, SearchStatus.CANCELLED, actor=ME)
    assert site.store.create_search(spec(), actor=ME, most_open=1).id != first.id
