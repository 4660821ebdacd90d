"""Which searches may serve a claim, found without loading them.

A claim reads a few columns of every running search and what this process remembers: which hardware
and data each wants, who was served last, and which had nothing for such a worker. A version moves
with every change, so a search that had nothing is left alone until something changes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from pydantic_core import from_json
from sqlalchemy import bindparam, select

from brainformer.search.proxy.proxy import Proxy
from brainformer.search.sql.connection.database import Transaction
from brainformer.search.sql.connection.tables import searches
from brainformer.search.sql.trials.history import SearchCache
from brainformer.search.sql.trials.state import SearchState
from brainformer.search.status import SearchStatus
from brainformer.search.trials.events import EventKind
from brainformer.search.trials.lease_messages import ClaimRequest

MOST_WISHES = 256  # that are remembered
READ_TOGETHER = 500
BUILT_IN = Proxy().dataset
OFFERS = select(
    searches.c.id,
    searches.c.ordinal,
    searches.c.version,
    searches.c.running,
    searches.c.dataset_hash,
).where(searches.c.status == SearchStatus.RUNNING.value)
SPECS = select(searches.c.id, searches.c.spec).where(
    searches.c.id.in_(bindparam("ids", expanding=True))
)
Wish: TypeAlias = tuple[str, frozenset[tuple[str, str]] | None]  # pool and data of a worker


class Offer(NamedTuple):
    """A running search's columns, as `OFFERS` selects them."""

    id: str
    ordinal: int
    version: int
    running: int
    dataset_hash: str | None


class SpecText(NamedTuple):
    """A search's spec, as `SPECS` selects it."""

    id: str
    spec: str


class Needs(NamedTuple):
    """What a search asks of a worker; it never changes."""

    pools: frozenset[str]
    dataset: str


class SearchCaches:
    """What this process remembers of running searches."""

    def __init__(self) -> None:
        self._caches: dict[str, SearchCache] = {}
        self._texts: dict[str, str] = {}
        self._needs: dict[str, Needs] = {}
        self._served: dict[str, int] = {}
        self._grants = 0
        self._refused: defaultdict[str, set[str]] = defaultdict(set)
        self._idle: dict[Wish, dict[str, int]] = {}

    def __contains__(self, search_id: str) -> bool:
        """Returns whether proposer and window of the search are kept."""
        return search_id in self._caches

    def of(self, state: SearchState) -> SearchCache:
        """Returns the proposer and window of a search, new if its spec has changed."""
        cache = self._caches.get(state.id)
        if cache is None or self._texts.get(state.id) != state.spec_text:
            cache = self._caches[state.id] = SearchCache(state.spec)
            self._texts[state.id] = state.spec_text
        return cache

    @property
    def served_at(self) -> Mapping[str, int]:
        """When searches were last granted a lease, counted in leases; none yet is 0."""
        return self._served

    def served(self, search_id: str) -> int:
        """Returns when the search was last granted a lease, counted in leases."""
        return self._served.get(search_id, 0)

    def note_grant(self, search_id: str) -> None:
        """Notes that the search has just been granted a lease."""
        self._grants += 1
        self._served[search_id] = self._grants

    def first_refusal(self, search_id: str, worker_id: str) -> bool:
        """Returns whether the search refuses this worker for the first time."""
        refused = self._refused[search_id]
        if worker_id in refused:
            return False
        refused.add(worker_id)
        return True

    def empty_at(self, wish: Wish) -> Mapping[str, int]:
        """Returns of searches the version at which they had nothing for such a worker."""
        return self._idle.get(wish, {})

    def note_nothing(self, wish: Wish, states: Iterable[SearchState]) -> None:
        """Notes that searches, as they are, have nothing for such a worker."""
        if wish not in self._idle and len(self._idle) >= MOST_WISHES:
            self._idle.clear()
        self._idle.setdefault(wish, {}).update({state.id: state.version for state in states})

    def needs(self, tx: Transaction, offers: Sequence[Offer]) -> Mapping[str, Needs]:
        """Returns what the searches ask of workers, read where it is not known yet.

        What is remembered of other searches is dropped: they no longer run.
        """
        ids = {row[0] for row in offers}
        if self._needs.keys() != ids:
            self._read_needs(tx, [one for one in ids if one not in self._needs])
            self._keep(ids)
        return self._needs

    def _read_needs(self, tx: Transaction, unknown: Sequence[str]) -> None:
        for first in range(0, len(unknown), READ_TOGETHER):
            ids = unknown[first : first + READ_TOGETHER]
            for row in tx.all(SpecText, SPECS, {"ids": ids}):
                spec = from_json(row.spec)
                # Specs of earlier versions leave out what had its default.
                dataset = spec.get("proxy", {}).get("dataset", BUILT_IN)
                needs = Needs(frozenset(spec.get("pools", ())), dataset)
                self._needs[row.id] = needs

    def forget(self, search_id: str) -> None:
        """Drops what is remembered of a search."""
        for kept in (self._caches, self._texts, self._needs, self._served, self._refused):
            kept.pop(search_id, None)
        for idle in list(self._idle.values()):
            idle.pop(search_id, None)

    def _keep(self, ids: set[str]) -> None:
        """Drops what is remembered of all other searches."""
        for search_id in set(self._needs) - ids:
            self.forget(search_id)


def wish_of(request: ClaimRequest) -> Wish:
    """Returns what a worker wants: workers with the same wish are served alike."""
    data = request.datasets
    return request.pool, None if data is None else frozenset(data.items())


def eligible(
    tx: Transaction, request: ClaimRequest, caches: SearchCaches
) -> list[tuple[int, int, int, str]]:
    """Returns running searches that may have a trial for the worker, none of them held.

    Each as what ranks it, and its id: running trials, when it was served last, age.
    """
    offers = tx.all(Offer, OFFERS)
    needs = caches.needs(tx, offers)
    empty_at, pool, any_data = caches.empty_at(wish_of(request)), request.pool, request.datasets
    served = caches.served_at
    found = []
    # With thousands of open searches the claim's time is this loop's.
    for search_id, ordinal, version, running, dataset_hash in offers:
        wanted = needs.get(search_id)
        if wanted is None or empty_at.get(search_id) == version:
            continue
        if wanted.pools and pool not in wanted.pools:
            continue
        if any_data is not None:
            offer = Offer(search_id, ordinal, version, running, dataset_hash)
            if not _has_data(tx, offer, wanted.dataset, request, caches):
                continue
        found.append((running, served.get(search_id, 0), ordinal, search_id))
    return found


def _has_data(
    tx: Transaction, offer: Offer, name: str, request: ClaimRequest, caches: SearchCaches
) -> bool:
    """Returns whether the worker has the search's data; if not, tells so, once."""
    actual = (request.datasets or {}).get(name)
    if actual is not None and offer.dataset_hash in {None, actual}:
        return True
    if caches.first_refusal(offer.id, request.worker_id):  # not with every poll
        recorded = f"hash {str(actual)[:12]}, recorded {str(offer.dataset_hash)[:12]}"
        tx.emit(
            EventKind.WORKER_REFUSED,
            offer.id,
            worker_id=request.worker_id,
            dataset=name,
            reason="absent" if actual is None else recorded,
        )
    return False
