"""Trials that another search has evaluated, as the first of a new one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import insert

from brainformer.search.campaign.evaluated import EvaluatedTrial
from brainformer.search.campaign.fitting import Campaign, Carried, CarriedPool
from brainformer.search.evolution.pareto import ParetoArchive
from brainformer.search.sql.connection.database import Transaction, Values
from brainformer.search.sql.connection.storable_text import storable
from brainformer.search.sql.connection.tables import baselines, trials
from brainformer.search.sql.trials.creation import trial_values
from brainformer.search.sql.trials.state import SearchState
from brainformer.search.trials.events import EventKind
from brainformer.search.trials.history import Observation
from brainformer.search.trials.lease_rules import Settlement
from brainformer.search.trials.reward import REPEAT
from brainformer.search.trials.trial import Outcome, TrialKind, TrialStatus

TOGETHER = 500  # rows a statement
FINISHED = frozenset({TrialStatus.COMPLETED, TrialStatus.PRUNED})


def import_campaign(tx: Transaction, state: SearchState, campaign: Campaign) -> None:
    """Adds what other searches have evaluated to a search that was just created.

    Every pool's baseline with its runs, and the candidates in the order in which they were
    proposed. They count, are never proposed again and are marked as imported; one event tells of
    them all.
    """
    rows: list[Values] = []
    for pool in campaign.pools:
        rows += _baseline_of(tx, state, pool)
    rows += _candidates(state, campaign.candidates)
    for first in range(0, len(rows), TOGETHER):
        tx.run(insert(trials), rows[first : first + TOGETHER])
    tx.emit(EventKind.TRIALS_IMPORTED, state.id, candidates=len(campaign.candidates))
    for pool in campaign.pools:
        loss = pool.baseline.validation_loss
        tx.emit(EventKind.BASELINE_READY, state.id, pool=pool.pool, validation_loss=loss)


def _baseline_of(
    tx: Transaction, state: SearchState, pool: CarriedPool
) -> Iterator[dict[str, Any]]:
    own = None if pool.rival.proxy is None else pool.rival.proxy.model_dump_json()
    values = {
        "search_id": state.id,
        "pool": pool.pool,
        "needed": state.spec.baseline_repeats,
        "rival": pool.rival.genome.canonical_json(),
        "rival_proxy": own,
    }
    tx.run(insert(baselines), values | asdict(pool.baseline))
    done = Settlement(TrialStatus.COMPLETED, Outcome.COMPLETED)
    for index, trial in enumerate(pool.repeats):
        state.move(None, TrialStatus.COMPLETED)
        yield _row(
            state,
            TrialKind.BASELINE,
            trial,
            done,
            pool=pool.pool,
            origin=REPEAT,
            repeat=index,
            proxy=pool.rival.proxy,
            label=pool.rival.label,
        )


def _candidates(state: SearchState, carried: Sequence[Carried]) -> list[dict[str, Any]]:
    numbers: dict[tuple[int, int | None], int] = {}
    fronts: defaultdict[str, ParetoArchive] = defaultdict(ParetoArchive)
    rows = []
    for one in carried:
        row = _candidate(state, one, numbers.get((one.source, one.trial.parent_number)))
        numbers[one.source, one.trial.number] = row["number"]
        rows.append(row)
        if one.settled.status is TrialStatus.COMPLETED:
            fronts[one.pool].add(_seen(row, one))
    best = {seen.number for front in fronts.values() for seen in front.members}
    return [row | {"on_front": row["number"] in best} for row in rows]


def _candidate(state: SearchState, carried: Carried, parent: int | None) -> dict[str, Any]:
    trial, settled = carried.trial, carried.settled
    state.move(None, settled.status)
    state.add(candidates_proposed=1)
    row = _row(
        state,
        TrialKind.CANDIDATE,
        trial,
        settled,
        pool=carried.pool,
        origin=trial.origin,
        parent=parent,
        mutation=trial.mutation,
        label=trial.label,
    )
    if settled.status in FINISHED:
        row["finished_rank"] = state.candidates_finished
        state.add(candidates_finished=1)
    best, fitness = state.best_fitness, settled.fitness
    completed = settled.status is TrialStatus.COMPLETED
    if completed and fitness is not None and (best is None or fitness > best):
        state.set(best_number=row["number"], best_fitness=fitness)
    return row


def _row(
    state: SearchState, kind: TrialKind, trial: EvaluatedTrial, settled: Settlement, **more: Any
) -> dict[str, Any]:
    """Returns the columns of an imported trial: it has ended, and keeps the seed that it had."""
    measured = trial.measurements
    row = trial_values(state, kind, trial.genome, status=settled.status, **more)
    row |= {
        "seed": trial.seed,
        "imported": True,
        "attempt": 1,
        "tries": 1,
        "outcome": settled.outcome.value,
        "message": storable(settled.message),
        "fitness": settled.fitness,
        "finished_rank": None,
        "on_front": False,
        "measurements": measured.model_dump_json(exclude_none=True, exclude_defaults=True),
        "step_time_ms": measured.step_time_ms,
        "finished_at": state.tx.now,
    }
    if measured.parameters is not None:
        row["parameters"] = measured.parameters
    if measured.activated_parameters is not None:
        row["activated_parameters"] = measured.activated_parameters
    return row


def _seen(row: dict[str, Any], carried: Carried) -> Observation:
    return Observation(
        number=row["number"],
        finished=row["number"],
        genome=carried.trial.genome,
        fitness=carried.settled.fitness or 0.0,
        step_time_ms=row["step_time_ms"],
        parameters=row["parameters"],
    )
