"""A search at a glance: what is thinned says the same as what is not."""

from __future__ import annotations

import numpy as np
import pytest

from brainformer.search.charts.buckets import MOST_BUCKETS, width_for
from brainformer.search.charts.columns import TrialCells
from brainformer.search.charts.front import front, unbeaten
from brainformer.search.charts.lineage import descendants, line_of, lineage
from brainformer.search.charts.mutation_words import change_told
from brainformer.search.charts.overview import MOST_POINTS, SearchDigest, overview
from brainformer.search.charts.pictures import PoolLevel
from brainformer.search.evolution.mutation import OPERATORS, mutate
from brainformer.search.space.space import load_preset


def cell(number: int, seq: int, fitness: float | None, **changes: object) -> TrialCells:
    row = TrialCells(
        number=number,
        seq=seq,
        kind="candidate",
        status="completed" if fitness is not None else "failed",
        pool="cpu" if number % 3 else "h200",
        parent=number // 2 if number > 3 else None,
        rank=number,
        mutation="swap 0 and 1",
        outcome="completed",
        message="",
        fitness=fitness,
        step_time_ms=10.0 + number % 7,
        parameters=1000,
        started=float(number),
        finished=float(number + 1),
    )
    return row._replace(**changes)


def digest_of(count: int, seed: int = 0) -> SearchDigest:
    values = np.random.default_rng(seed).normal(0, 1, count).tolist()
    digest = SearchDigest(population_size=50)
    digest.levels = tuple(PoolLevel(pool=p, loss=2.0, step_time_ms=10.0) for p in ("cpu", "h200"))
    digest.columns.take([cell(n, n + 1, v) for n, v in enumerate(values)])
    return digest


def test_few_trials_come_one_by_one_and_many_in_bands():
    few = overview(digest_of(MOST_POINTS))
    assert (len(few.points.number), few.bands) == (MOST_POINTS, [])
    many = overview(digest_of(MOST_POINTS + 1), most=100)
    assert len(many.points.number) < 1000
    for band in many.bands:
        assert len(band.number) <= 100
    assert sum(sum(band.count) for band in many.bands) == MOST_POINTS + 1


def test_bands_that_grew_with_the_search_equal_those_of_the_whole():
    whole = digest_of(5000, seed=3)
    grown = SearchDigest(population_size=50)
    rows = [
        cell(n, n + 1, v)
        for n, v in enumerate(np.random.default_rng(3).normal(0, 1, 5000).tolist())
    ]
    for start in range(0, 5000, 37):
        grown.changed(grown.columns.take(rows[start : start + 37]))
        overview(grown, most=64)
    assert overview(grown, most=64).bands == overview(whole, most=64).bands


def test_a_trial_that_changes_moves_its_stretch_alone():
    digest = digest_of(4096)
    before = overview(digest, most=64).bands
    digest.changed(digest.columns.take([cell(100, 9_000, 50.0)]))
    after = overview(digest, most=64).bands
    moved = [
        (band, at)
        for band in range(2)
        for at, (old, new) in enumerate(zip(before[band].high, after[band].high, strict=True))
        if old != new
    ]
    assert moved == [(digest.columns.whole("pool")[100], 100 // 64)]


@pytest.mark.parametrize("trials", [1, 1999, 2000, 2001, 100_000, 10_000_000])
def test_no_width_makes_more_stretches_than_allowed(trials):
    width = width_for(trials)
    assert -(-trials // width) <= MOST_BUCKETS
    assert width == 1 or -(-trials // (width // 2)) > MOST_BUCKETS


def test_what_failed_or_was_pruned_is_in_no_quantile():
    digest = digest_of(4000)
    lost = [cell(n, 5000 + n, -1.0, status="pruned") for n in range(4000)]
    digest.changed(digest.columns.take(lost))
    found = overview(digest)
    assert found.bands == [] or all(not band.count for band in found.bands)
    assert found.best.number == []


def test_front_holds_who_is_beaten_by_none_of_their_pool():
    digest = digest_of(400)
    found = front(digest, digest.columns.known, cells=False)
    fitness, ratio = digest.columns.figure("fitness"), digest.ratio()
    pool = digest.columns.whole("pool")
    for number in range(400):
        beaten = (pool == pool[number]) & (fitness >= fitness[number]) & (ratio <= ratio[number])
        beaten &= (fitness > fitness[number]) | (ratio < ratio[number])
        assert (number in found.number) == (not beaten.any())


def test_cells_count_every_trial_once():
    digest = digest_of(5000)
    found = front(digest, digest.columns.known, cells=True)
    assert sum(found.cells.count) == 5000
    assert len(found.cells.count) <= 2 * 2000


def test_of_equals_the_front_keeps_one():
    same = np.asarray([1.0, 1.0, 2.0])
    assert unbeaten(np.arange(3), same, np.asarray([5.0, 5.0, 5.0])).tolist() == [0]


def test_lineage_is_bounded_and_says_so():
    digest = digest_of(9000)
    below = lineage(digest, best=None, root=4)
    assert len(below.number) == 2000
    assert below.cut
    parent = digest.columns.whole("parent")
    line = line_of(parent, 8999)
    assert line[-1] <= 3
    assert descendants(parent, line[-1])[line].all()


@pytest.mark.parametrize("kind", ["repeat", "confirmation"])
def test_a_repeat_descends_from_nobody(kind):
    digest = digest_of(12)
    whole = lineage(digest, best=None, root=5)
    assert whole.number == [5, 10, 11]
    digest.columns.take([cell(12, 13, 1.0, kind=kind, parent=5, rank=None, mutation="")])
    assert lineage(digest, best=None, root=5).number == whole.number


def test_every_phrase_of_a_mutation_is_understood():
    space = load_preset("nano")
    rng = np.random.default_rng(0)
    genome, seen = space.sample(rng=rng), set()
    for _ in range(600):
        step = mutate(genome, space, rng=rng)
        assert step is not None
        operator, gene = change_told(step.description)
        assert operator != "other", step.description
        assert gene
        seen.add(operator)
        genome = step.genome
    assert len(seen) == len(OPERATORS)


def test_a_cell_tells_its_best_trial_the_oldest_of_equals():
    digest = digest_of(4_000)
    tied = [cell(n, 9_000 + n, round(n * 7919 % 97 / 97, 1)) for n in range(4_000)]
    digest.changed(digest.columns.take(tied))
    found = front(digest, digest.columns.known, cells=True).cells
    fitness, ratio = digest.columns.figure("fitness"), digest.ratio()
    pool = digest.columns.whole("pool")
    # Here every pair of fitness and step time has a cell of its own.
    together = np.stack([pool, ratio, fitness])
    for best, count in zip(found.best, found.count, strict=True):
        same = np.flatnonzero((together == together[:, [best]]).all(axis=0))
        assert (same[0], len(same)) == (best, count)


def test_lineage_holds_all_ancestors_of_the_population():
    digest = digest_of(300)
    parent = digest.columns.whole("parent")
    wanted = {
        above for one in np.flatnonzero(digest.members).tolist() for above in line_of(parent, one)
    }
    assert wanted <= set(range(300))
    assert lineage(digest, best=None).number == sorted(wanted)
