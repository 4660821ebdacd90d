"""Pictures of searches from SQL: columns in memory, brought up to date by what changed.

The digest of a search is read once and then follows the sequence number of its trials, so that an
answer costs what is new. A few searches are kept; the one looked at longest ago makes room.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TypeVar, cast

import numpy as np
from typing_extensions import override

from brainformer.search.charts.columns import Flags
from brainformer.search.charts.composition import Ingredients, composition
from brainformer.search.charts.failures import failure_groups
from brainformer.search.charts.front import front
from brainformer.search.charts.gains import gains
from brainformer.search.charts.lineage import lineage
from brainformer.search.charts.overview import MOST_POINTS, SearchDigest, overview
from brainformer.search.charts.pictures import (
    Ancestors,
    Composition,
    Costs,
    Failures,
    Front,
    Gains,
    Lineage,
    Overview,
    Spans,
    SubLayerCost,
)
from brainformer.search.charts.ranking import SORTS, ordered, said_by_columns
from brainformer.search.cost.cost import layer_costs
from brainformer.search.errors import InvalidInput, NotFound
from brainformer.search.sql import searches
from brainformer.search.sql.connection.database import Database, Transaction
from brainformer.search.sql.reading import chart_rows
from brainformer.search.sql.reading.listings import one_trial
from brainformer.search.sql.rows.records import trial_record, youngest_outside
from brainformer.search.sql.rows.table_rows import SearchRow
from brainformer.search.sql.rows.values import read_genome, read_proxy, read_spec
from brainformer.search.sql.trials.baselines import baseline_rows
from brainformer.search.store.chart_store import WHOLE, ChartStore, Stretch, TrialRows
from brainformer.search.studies.plan import StudyKind
from brainformer.search.trials.trial import TrialStatus

P = TypeVar("P")
COMPLETED = TrialStatus.COMPLETED.value
KEPT_SEARCHES = 8
KEPT_WORDS = 32
WARM_SEARCHES = 3


@dataclass
class Followed:
    """A search that is kept in memory.

    Attributes:
        lock: Held while it is brought up to date and read.
        words: By word of a filter: which trials hold it, as of which sequence number.
        drawn: By name: the latest picture of the whole search, and the state that it shows.
    """

    digest: SearchDigest
    ingredients: Ingredients = field(default_factory=Ingredients)
    lock: threading.Lock = field(default_factory=threading.Lock)
    words: OrderedDict[str, tuple[int, set[int]]] = field(default_factory=OrderedDict)
    drawn: dict[str, tuple[object, object]] = field(default_factory=dict)

    def whole(self, name: str, where: Stretch, draw: Callable[[], P], *depends: object) -> P:
        """Returns a picture; one of the whole search is drawn once for each state of it.

        Args:
            name: Of the picture.
            where: What it shows.
            draw: Makes it.
            depends: What it depends on beside the trials and the baselines.
        """
        if where != WHOLE:
            return draw()
        state = (self.digest.columns.last_seq, self.digest.levels, *depends)
        known = self.drawn.get(name)
        if known is None or known[0] != state:
            known = state, draw()
            self.drawn[name] = known
        return cast("P", known[1])


class SqlCharts(ChartStore):
    """Answers from digests of searches that follow the database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._followed: OrderedDict[str, Followed] = OrderedDict()
        self._lock = threading.Lock()

    @override
    def warm(self) -> None:
        with self._database.read() as tx:
            newest = searches.listing(
                tx, cursor=None, limit=WARM_SEARCHES, statuses=(), kinds=(StudyKind.SEARCH,)
            )
        for search in newest.items:
            with suppress(NotFound):  # it was deleted meanwhile
                self.overview(search.id)

    @contextmanager
    def _following(self, search_id: str) -> Iterator[tuple[Transaction, SearchRow, Followed]]:
        """Yields the search and its digest as of this transaction."""
        with self._database.read() as tx:
            search = searches.find(tx, search_id)
            spec = read_spec(search.spec)
            with self._lock:
                found = self._followed.get(search.id)
                if found is None:
                    found = Followed(SearchDigest(spec.population_size))
                    self._followed[search.id] = found
                self._followed.move_to_end(search.id)
                while len(self._followed) > KEPT_SEARCHES:
                    self._followed.popitem(last=False)
            with found.lock:
                digest = found.digest
                rows = chart_rows.changed_cells(tx, search.id, digest.columns.last_seq)
                digest.levels = tuple(
                    chart_rows.pool_level(row, spec) for row in baseline_rows(tx, search.id)
                )
                changed = digest.columns.take(rows)
                if any(row.kind == chart_rows.BASELINE for row in rows):
                    digest.columns.take_losses(chart_rows.baseline_losses(tx, search.id))
                digest.changed(changed)
                yield tx, search, found

    @override
    def overview(
        self,
        search_id: str,
        where: Stretch = WHOLE,
        *,
        after_seq: int | None = None,
        buckets: int = 800,
    ) -> Overview:
        with self._following(search_id) as (_, _, found):
            return overview(
                found.digest,
                pool=where.pool,
                first=where.first,
                last=where.last,
                after_seq=after_seq,
                most=buckets,
            )

    @override
    def front(self, search_id: str, where: Stretch = WHOLE) -> Front:
        def draw() -> Front:
            shown = _shown(found, where)
            return front(found.digest, shown, cells=bool(shown.sum() > MOST_POINTS))

        with self._following(search_id) as (_, _, found):
            return found.whole("front", where, draw)

    @override
    def gains(self, search_id: str, where: Stretch = WHOLE) -> Gains:
        with self._following(search_id) as (_, _, found):
            return found.whole(
                "gains", where, lambda: gains(found.digest.columns, _shown(found, where))
            )

    @override
    def composition(self, search_id: str, where: Stretch = WHOLE) -> Composition:
        with self._following(search_id) as (tx, search, found):
            columns, ingredients = found.digest.columns, found.ingredients
            missing = ingredients.missing(columns).tolist()
            ingredients.take(chart_rows.genomes_of(tx, search.id, missing))
            return found.whole(
                "composition",
                where,
                lambda: composition(columns, ingredients, _shown(found, where)),
            )

    @override
    def lineage(self, search_id: str, *, root: int | None = None) -> Lineage:
        with self._following(search_id) as (tx, search, found):
            if root is not None:
                one_trial(tx, search.id, root)
            best = search.best_number
            if root is not None:
                return lineage(found.digest, best=best, root=root)
            return found.whole("lineage", WHOLE, lambda: lineage(found.digest, best=best), best)

    @override
    def failures(self, search_id: str, where: Stretch = WHOLE) -> Failures:
        with self._following(search_id) as (tx, search, found):
            groups = failure_groups(found.digest.columns, _shown(found, where))
            newest = [group.newest for group in groups]
            told = chart_rows.newest_tracebacks(tx, search.id, newest)
        items = []
        for group in groups:
            message, traceback = told.get(group.newest, ("", ""))
            items.append(group.model_copy(update={"message": message, "traceback": traceback}))
        return Failures(items=items)

    @override
    def machines(self, search_id: str) -> Spans:
        with self._database.read() as tx:
            rows = chart_rows.latest_spans(tx, searches.find(tx, search_id).id)
            return Spans(
                worker=[row.worker_id for row in rows],
                pool=[row.pool for row in rows],
                number=[row.number for row in rows],
                outcome=[row.outcome for row in rows],
                started=[round(row.started_at, 1) for row in rows],
                finished=[
                    None if row.finished_at is None else round(row.finished_at, 1) for row in rows
                ],
                now=tx.now,
            )

    @override
    def table(
        self,
        search_id: str,
        where: Stretch = WHOLE,
        *,
        sort: str,
        words: Sequence[str] = (),
        offset: int = 0,
        limit: int = 100,
    ) -> TrialRows:
        if sort.removeprefix("-") not in SORTS:
            raise InvalidInput(
                f"sort is one of {', '.join(SORTS)}, a minus descends", sort, "/sort"
            )
        with self._following(search_id) as (tx, search, found):
            shown = _shown(found, where)
            for word in words:
                shown &= self._holding(tx, search.id, found, word.lower())
            order = ordered(found.digest, shown, sort)
            numbers = order[offset : offset + limit].tolist()
            rows = chart_rows.rows_of(tx, search.id, numbers)
            outside = youngest_outside(search)
            items = tuple(
                trial_record(rows[number], outside, lean=True)
                for number in numbers
                if number in rows
            )
            return TrialRows(items=items, total=len(order))

    @override
    def costs(self, search_id: str, number: int) -> Costs:
        with self._database.read() as tx:
            search = searches.find(tx, search_id)
            row = one_trial(tx, search.id, number)
        own = read_spec(search.spec).proxy if row.proxy is None else read_proxy(row.proxy)
        genome = read_genome(row.genome)
        return Costs(
            blocks=own.blocks,
            items=[
                SubLayerCost(
                    kind=layer.kind,
                    parameters=cost.parameters,
                    activated_parameters=cost.activated,
                    flops_per_token=cost.forward_flops,
                )
                for layer, cost in zip(genome.layers, layer_costs(genome, own), strict=True)
            ],
        )

    @override
    def ancestors(self, search_id: str, number: int) -> Ancestors:
        with self._database.read() as tx:
            search = searches.find(tx, search_id)
            one_trial(tx, search.id, number)
            line = chart_rows.ancestors_of(tx, search.id, number)
            parent = one_trial(tx, search.id, line[1].number).genome if len(line) > 1 else None
        return Ancestors(
            number=[row.number for row in line],
            status=[row.status for row in line],
            fitness=[row.fitness if row.status == COMPLETED else None for row in line],
            mutation=[row.mutation for row in line],
            origin=[row.origin for row in line],
            parent=None if parent is None else read_genome(parent),
        )

    @override
    def spark(self, search_id: str) -> tuple[list[float | None], list[str]]:
        with self._database.read() as tx:
            search = searches.find(tx, search_id)
            pools = [row.pool for row in baseline_rows(tx, search.id)]
            return chart_rows.spark_line(tx, search.id, search.next_number), pools

    def _holding(self, tx: Transaction, search_id: str, found: Followed, word: str) -> Flags:
        """Returns which trials a word of the filter holds of; texts are read once, then by seq."""
        digest = found.digest
        said = said_by_columns(digest, word)
        if said is not None:
            return said
        holds = np.zeros(digest.columns.size, bool)
        if word == "front":
            holds[chart_rows.numbers_on_front(tx, search_id)] = True
            return holds
        after, numbers = found.words.get(word, (0, set()))
        numbers.update(chart_rows.numbers_with(tx, search_id, word, after=after))
        found.words[word] = digest.columns.last_seq, numbers
        found.words.move_to_end(word)
        while len(found.words) > KEPT_WORDS:
            found.words.popitem(last=False)
        holds[[number for number in numbers if number < len(holds)]] = True
        return holds


def _shown(found: Followed, where: Stretch) -> Flags:
    return found.digest.columns.stretch(where.pool, where.first, where.last)
