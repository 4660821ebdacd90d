"""A database with one large search in it, written through SQL as the controller would have left it.

The search is made, and its baseline measured, by the store itself; then candidates are mutated from
tournament winners of the population, judged by a made-up but smooth landscape, and inserted in
batches with all that belongs to a trial: learning curve, attempts, events, counters, Pareto front.
"""

from __future__ import annotations

import json
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sqlalchemy import Table, func, insert, select, update

from brainformer.search.cost.cost import activated_parameters, flops_per_token, parameters
from brainformer.search.evolution.mutation import mutate
from brainformer.search.space.genome import Genome
from brainformer.search.spec import SearchSpec, parse_spec
from brainformer.search.sql.connection.tables import (
    attempts,
    events,
    searches,
    trials,
    workers,
)
from brainformer.search.sql.store import open_store
from brainformer.search.status import SearchStatus
from brainformer.search.store.actor import Actor
from brainformer.search.store.contract import TrialFilter
from brainformer.search.trials.events import EventKind
from brainformer.search.trials.lease_messages import ClaimRequest, Result
from brainformer.search.trials.trial import CurvePoint, Measurements, Outcome

POOL = "cpu"
WORKERS = 40
BATCH = 2_000
SPEC: dict[str, Any] = {
    "name": "large",
    "space": "nano",
    "limits": {"trials": 1_000_000},
    "population_size": 100,
    "tournament_size": 10,
    "proxy": {"experts": 8, "head_dim": 16, "sequence_length": 64, "batch_size": 16},
}
BASELINE_LOSS, BASELINE_STEP_MS = 2.5, 40.0
SECONDS_A_TRIAL = 60.0


@dataclass
class Shelf:
    """Rows that wait to be written, table by table."""

    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def add(self, table: Table, **values: Any) -> None:
        """Keeps one row."""
        self.rows.setdefault(table.name, []).append(values)


def build(url: str, *, count: int, seed: int = 1, small_searches: int = 20) -> str:
    """Fills an empty database; returns the large search's id.

    Args:
        url: Of the database.
        count: Candidates of the large search.
        seed: Of everything random.
        small_searches: Other, paused searches, so that listings have several.
    """
    store = open_store(url)
    try:
        actor = Actor(name="benchmark")
        for index in range(small_searches):
            spec = parse_spec({**SPEC, "name": f"small-{index}"})
            made = store.create_search(spec, actor=actor)
            store.change_status(made.id, SearchStatus.PAUSED, actor=actor)
        spec = parse_spec(SPEC)
        search_id = store.create_search(spec, actor=actor).id
        _measure_baseline(store)
        maker = Maker(spec, search_id, np.random.default_rng(seed))
        last = store.list_trials(search_id, where=TrialFilter(sort="-seq"), limit=1).items[0]
        maker.start, maker.seq, maker.next_id = last.number + 1, last.seq, last.id
        engine = store._database.engine
        for first in range(0, count, BATCH):
            shelf = Shelf()
            for index in range(first, min(first + BATCH, count)):
                maker.add(shelf, index)
            with engine.begin() as connection:
                for table in (trials, attempts, events):
                    connection.execute(insert(table), shelf.rows[table.name])
        with engine.begin() as connection:
            maker.finish(connection)
    finally:
        store.close()
    return search_id


class Maker:
    """Makes the trials of one search, one after another."""

    def __init__(self, spec: SearchSpec, search_id: str, rng: np.random.Generator) -> None:
        self.spec = spec
        self.search_id = search_id
        self.rng = rng
        self.space = spec.resolved_space()
        self.population: deque[tuple[float, int, Genome]] = deque(maxlen=spec.population_size)
        self.front: list[tuple[float, float, int, int]] = []  # the last is the number
        self.counts = {"completed": 0, "pruned": 0, "failed": 0}
        self.best: tuple[float, int] = (-1.0, 0)
        self.start = 0
        self.seq = 0
        self.began = time.time() - 3 * 86_400
        self.next_id = 0

    def add(self, shelf: Shelf, index: int) -> None:
        """Adds one finished candidate with its attempts and events."""
        number = self.start + index
        genome, parent, mutation = self._proposed()
        at = self.began + index * 2.0
        self.seq += 3
        self.next_id += 1
        status, outcome, fitness, measured = self._outcome(genome)
        rank = self.counts["completed"] + self.counts["pruned"]
        self.counts[status] += 1
        worker = f"worker-{index % WORKERS}"
        finished = status != "failed"
        if finished:
            self.population.append((fitness if fitness is not None else -1.0, number, genome))
        if status == "completed" and fitness is not None and measured.step_time_ms is not None:
            self.best = max(self.best, (fitness, number))
            self._join_front(fitness, measured, number)
        shelf.add(
            trials,
            id=self.next_id,
            search_id=self.search_id,
            number=number,
            seq=self.seq,
            kind="candidate",
            status=status,
            pool=POOL,
            genome=genome.canonical_json(),
            digest=genome.digest,
            origin="random" if parent is None else "mutation",
            parent_number=parent,
            mutation=mutation,
            attempt=1,
            tries=1,
            seed=int(self.rng.integers(2**31)),
            outcome=outcome,
            message="" if finished else "the loss is not finite",
            fitness=fitness,
            finished_rank=rank if finished else None,
            measurements=measured.model_dump_json(exclude_none=True, exclude_defaults=True),
            step_time_ms=measured.step_time_ms,
            parameters=parameters(genome, self.spec.proxy),
            activated_parameters=activated_parameters(genome, self.spec.proxy),
            worker_id=worker,
            created_at=at,
            started_at=at,
            finished_at=at + SECONDS_A_TRIAL,
            lease_seconds=self.spec.lease_seconds,
        )
        shelf.add(
            attempts,
            trial_id=self.next_id,
            attempt=1,
            worker_id=worker,
            pool=POOL,
            outcome=outcome,
            accepted=True,
            report_hash=genome.digest,
            receipt_status=status,
            receipt_fitness=fitness,
            started_at=at,
            finished_at=at + SECONDS_A_TRIAL,
        )
        self._add_events(shelf, number, status, outcome, fitness, at)

    def finish(self, connection: Any) -> None:
        """Writes counters, front and workers."""
        count = sum(self.counts.values())
        ended = self.counts["completed"] + self.counts["pruned"]
        connection.execute(
            update(searches)
            .where(searches.c.id == self.search_id)
            .values(
                next_number=self.start + count,
                trial_seq=self.seq,
                completed=searches.c.completed + self.counts["completed"],
                pruned=self.counts["pruned"],
                failed=self.counts["failed"],
                candidates_proposed=count,
                candidates_finished=ended,
                best_number=self.best[1],
                best_fitness=self.best[0],
            )
        )
        if connection.dialect.name == "postgresql":  # ids were given, its sequence knows nothing
            last = select(func.setval(func.pg_get_serial_sequence("trials", "id"), self.next_id))
            connection.execute(last)
        numbers = [number for *_, number in self.front]
        connection.execute(
            update(trials)
            .where(trials.c.search_id == self.search_id, trials.c.number.in_(numbers))
            .values(on_front=True)
        )
        for index in range(WORKERS):
            values = {
                "worker_id": f"worker-{index}",
                "pool": POOL,
                "first_seen": self.began,
                "last_seen": time.time(),
                "finished": count // WORKERS,
            }
            connection.execute(insert(workers), values)

    def _proposed(self) -> tuple[Genome, int | None, str]:
        if len(self.population) < self.spec.population_size:
            return self.space.sample(rng=self.rng), None, ""
        size = self.spec.tournament_size
        picks = self.rng.integers(len(self.population), size=size)
        _, parent, genome = max(self.population[int(i)] for i in picks)
        step = mutate(genome, self.space, rng=self.rng)
        return step.genome, parent, step.description

    def _outcome(self, genome: Genome) -> tuple[str, str, float | None, Measurements]:
        flops = flops_per_token(genome, self.spec.proxy)
        step_ms = 15.0 + flops / 2e5 + float(self.rng.normal(0, 0.3))
        digest = int(genome.digest[:8], 16) / 2**32
        loss = BASELINE_LOSS - 0.2 * np.tanh(flops / 6e6) - 0.1 * digest
        loss = float(loss + self.rng.normal(0, 0.005))
        draw = self.rng.random()
        measured = self._measured(genome, loss, max(step_ms, 1.0))
        if draw < 0.03:
            return "failed", Outcome.DIVERGED.value, None, Measurements()
        if draw < 0.13:
            return "pruned", Outcome.PRUNED.value, -1.0, measured
        return "completed", Outcome.COMPLETED.value, BASELINE_LOSS - loss, measured

    def _measured(self, genome: Genome, loss: float, step_ms: float) -> Measurements:
        curve = tuple(
            CurvePoint(
                fraction=part / 8,
                step=125 * part,
                training_seconds=7.5 * part,
                training_loss=round(loss + 1.6 / (1 + part), 4),
                validation_loss=round(loss + 1.5 / (1 + part), 4),
                gradient_norm=1.0 / (1 + part),
            )
            for part in range(9)
        )
        proxy = self.spec.proxy
        return Measurements(
            validation_loss=loss,
            bits_per_byte=loss / float(np.log(2)),
            step_time_ms=step_ms,
            step_time_spread_ms=step_ms / 50,
            steps=1000,
            tokens=1_024_000,
            training_seconds=60.0,
            elapsed_seconds=71.5,
            occupied_seconds=74.0,
            compile_seconds=6.0,
            parameters=parameters(genome, proxy),
            activated_parameters=activated_parameters(genome, proxy),
            peak_memory_bytes=80_000_000,
            drop_fraction=0.01,
            expert_load=tuple([0.125] * 8),
            gradient_norm=0.1,
            utilisation=0.83,
            contention=1.02,
            clock="calibrated",
            platform="cpu",
            device="cpu",
            curve=curve,
        )

    def _add_events(
        self, shelf: Shelf, number: int, status: str, outcome: str, fitness: float | None, at: float
    ) -> None:
        base = {"number": number, "kind_of_trial": "candidate", "attempt": 1}
        told: list[tuple[EventKind, float, dict[str, Any]]] = [
            (EventKind.TRIAL_STARTED, at, {**base, "pool": POOL, "seq": self.seq - 2}),
            (
                EventKind.TRIAL_FINISHED,
                at + SECONDS_A_TRIAL,
                {**base, "status": status, "outcome": outcome, "fitness": fitness, "seq": self.seq},
            ),
        ]
        for kind, when, data in told:
            row = {
                "search_id": self.search_id,
                "kind": kind.value,
                "at": when,
                "data": json.dumps(data),
            }
            shelf.add(events, **row)

    def _join_front(self, fitness: float, measured: Measurements, number: int) -> None:
        time_ms, size = measured.step_time_ms or 0.0, measured.parameters or 0
        if any(f >= fitness and t <= time_ms and p <= size for f, t, p, _ in self.front):
            return
        self.front = [
            one
            for one in self.front
            if not (one[0] <= fitness and one[1] >= time_ms and one[2] >= size)
        ]
        self.front.append((fitness, time_ms, size, number))


def _measure_baseline(store: Any) -> None:
    claim = ClaimRequest(worker_id="worker-base", pool=POOL)
    for repeat in range(SPEC.get("baseline_repeats", 3)):
        [lease] = store.claim(claim)
        point = CurvePoint(fraction=0.25, step=250, training_seconds=15, validation_loss=3.0)
        measured = Measurements(
            validation_loss=BASELINE_LOSS + repeat / 1000,
            bits_per_byte=3.6,
            step_time_ms=BASELINE_STEP_MS + repeat / 10,
            curve=(point,),
        )
        store.result(lease.lease_id, Result(outcome=Outcome.COMPLETED, measurements=measured))
