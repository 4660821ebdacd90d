"""A search in SQL, driven by its caller through ask and tell; it goes on after a restart.

The tables are the controller's, so its page and its command line show the search. A trial that was
asked for stays open until it is told: there is no lease, and the pool keeps dispatchers away.
"""

from __future__ import annotations

import numpy as np
from sqlalchemy import bindparam, insert, select, update
from typing_extensions import override

from brainformer.search.ask_tell.contract import (
    AskedTrial,
    AskTell,
    Candidate,
    Compromise,
    Standing,
    by_speed,
    known_already,
    ranked,
)
from brainformer.search.ask_tell.evaluation import Evaluation
from brainformer.search.errors import Conflict, IllegalTransition, NotFound
from brainformer.search.space.genome import Genome
from brainformer.search.spec import ASK_TELL_POOL, SearchSpec
from brainformer.search.sql.connection.database import Database, Transaction, Values
from brainformer.search.sql.connection.migration import prepare
from brainformer.search.sql.connection.tables import UNENDED, baselines, searches, trials
from brainformer.search.sql.rows.table_rows import SearchRow, TrialRow
from brainformer.search.sql.rows.values import read_genome
from brainformer.search.sql.searches import create
from brainformer.search.sql.trials.baselines import as_baseline, baseline_row
from brainformer.search.sql.trials.completion import best_candidates
from brainformer.search.sql.trials.creation import NewTrial, new_trial
from brainformer.search.sql.trials.endings import finish
from brainformer.search.sql.trials.finalists import confirmations
from brainformer.search.sql.trials.front import FRONT
from brainformer.search.sql.trials.history import SearchCache, SqlHistory
from brainformer.search.sql.trials.state import SearchState, lock_search
from brainformer.search.status import SearchStatus
from brainformer.search.store.actor import Actor
from brainformer.search.trials.history import Observation, Proposal
from brainformer.search.trials.lease_rules import Settlement
from brainformer.search.trials.reward import Baseline
from brainformer.search.trials.trial import (
    OPEN,
    Measurements,
    Outcome,
    TrialKind,
    TrialStatus,
)

CALLER = Actor(name=ASK_TELL_POOL)
NAMED = select(searches).where(searches.c.name == bindparam("name"), UNENDED)
NUMBERED = select(trials).where(
    trials.c.search_id == bindparam("search"), trials.c.number == bindparam("number")
)
OF_STATUS = (
    select(trials)
    .where(trials.c.search_id == bindparam("search"), trials.c.status == bindparam("status"))
    .order_by(trials.c.number)
)
OUTCOMES = {
    TrialStatus.COMPLETED: Outcome.COMPLETED,
    TrialStatus.PRUNED: Outcome.PRUNED,
    TrialStatus.FAILED: Outcome.ERROR,
}
STARTED: dict[str, object] = {
    "attempt": 1,
    "tries": 1,
    "worker_id": ASK_TELL_POOL,
    "lease_expires_at": None,
}


def open_sql_search(spec: SearchSpec, url: str) -> SqlSearch:
    """Returns the search of the spec's name, as it was left, or a new one.

    Args:
        spec: From `ask_tell_spec`; its `name` names the search in the database.
        url: `sqlite:///FILE` or `postgresql+psycopg://...`.

    Raises:
        InvalidSpec: a seed lies outside the space.
        Conflict: an unfinished search of that name has another spec.
        StoreLocked: a controller holds the file.
        StorageUnavailable: the database does not answer.
    """
    cache = SearchCache(spec)  # refuses seeds outside the space before anything is written
    database = Database(url)
    try:
        prepare(database.engine)
        database.set_clock()
        with database.write() as tx:
            search_id = _find_or_create(tx, spec)
    except BaseException:
        database.close()
        raise
    return SqlSearch(database, search_id, cache)


def _find_or_create(tx: Transaction, spec: SearchSpec) -> str:
    rows = tx.all(SearchRow, NAMED, {"name": spec.name})
    if not rows:
        return create(tx, spec, actor=CALLER, idempotency_key=None).id
    if len(rows) > 1 or SearchSpec.model_validate_json(rows[0].spec) != spec:
        raise Conflict(
            f"an unfinished search {spec.name!r} with another spec is there already; "
            "give the same spec to go on with it, or another name"
        )
    return rows[0].id


class SqlSearch(AskTell):
    """Each call is one transaction: what has returned is in the database."""

    def __init__(self, database: Database, search_id: str, cache: SearchCache) -> None:
        self.spec = cache.spec
        self._database = database
        self._id = search_id
        self._cache = cache

    @override
    def ask(self) -> AskedTrial:
        with self._database.write() as tx:
            state = lock_search(tx, self._id)
            if state.status is not SearchStatus.RUNNING:
                raise Conflict(f"search {self.spec.name} is {state.status.value}; nothing to ask")
            asked = self._queued_confirmation(tx, state) if state.queued else None
            asked = asked or self._proposed(tx, state)
            state.save()
        return asked

    def _queued_confirmation(self, tx: Transaction, state: SearchState) -> AskedTrial | None:
        row = tx.first(TrialRow, OF_STATUS.limit(1), self._status(TrialStatus.QUEUED))
        if row is None:
            return None
        state.move(TrialStatus.QUEUED, TrialStatus.RUNNING)
        values = STARTED | {
            "status": TrialStatus.RUNNING.value,
            "seq": state.take_seq(),
            "started_at": tx.now,
        }
        tx.change(trials, row.id, values)
        return _asked(row)

    def _proposed(self, tx: Transaction, state: SearchState) -> AskedTrial:
        rng = np.random.default_rng([self.spec.seed, state.next_number])
        proposal = self._cache.proposer.propose(SqlHistory(tx, state, self._cache), rng=rng)
        trial = _add(tx, state, TrialKind.CANDIDATE, proposal, running=STARTED)
        return AskedTrial(
            number=trial.number,
            genome=proposal.genome,
            kind=TrialKind.CANDIDATE,
            seed=trial.seed,
            origin=proposal.origin,
            parent=proposal.parent,
            mutation=proposal.mutation,
        )

    @override
    def _record(self, number: int, evaluation: Evaluation) -> None:
        with self._database.write() as tx:
            state = lock_search(tx, self._id)
            seen = self._ended(tx, state, number, evaluation)
            state.save()
        if seen is not None:
            self._cache.add_finished(seen)

    def _ended(
        self, tx: Transaction, state: SearchState, number: int, evaluation: Evaluation
    ) -> Observation | None:
        """Ends a trial; returns it as evolution sees it, None if it does not."""
        outcome = OUTCOMES[evaluation.status]
        settled = Settlement(evaluation.status, outcome, evaluation.fitness, evaluation.reason)
        measured = Measurements(
            step_time_ms=evaluation.step_time_ms, parameters=evaluation.parameters
        )
        row = tx.first(TrialRow, NUMBERED, {"search": self._id, "number": number})
        if row is None:
            raise NotFound("trial", number)
        if row.status != TrialStatus.RUNNING.value:
            raise IllegalTransition("trial", number, row.status, settled.status.value)
        finish(tx, state, row, settled, measured)
        if row.kind != TrialKind.CANDIDATE.value or settled.fitness is None:
            return None
        counted = measured.parameters
        return Observation(
            number=number,
            finished=state.candidates_finished - 1,
            genome=read_genome(row.genome),
            fitness=settled.fitness,
            pruned=settled.status is TrialStatus.PRUNED,
            step_time_ms=measured.step_time_ms,
            parameters=row.parameters if counted is None else counted,
        )

    @override
    def _add_evaluated(self, genome: Genome, evaluation: Evaluation) -> int:
        with self._database.write() as tx:
            state = lock_search(tx, self._id)
            if SqlHistory(tx, state, self._cache).tried([genome.digest]):
                raise known_already(genome)
            running = STARTED | {"imported": True}
            proposal = Proposal(genome, "imported")
            number = _add(tx, state, TrialKind.CANDIDATE, proposal, running=running).number
            seen = self._ended(tx, state, number, evaluation)
            state.save()
        self._cache.imported = None
        if seen is not None:
            self._cache.add_finished(seen)
        return number

    @override
    def pending(self) -> list[AskedTrial]:
        with self._database.read() as tx:
            rows = tx.all(TrialRow, OF_STATUS, self._status(TrialStatus.RUNNING))
            return [_asked(row) for row in rows]

    @override
    def _set_baseline(self, baseline: Baseline) -> None:
        values = {
            "repeats": baseline.repeats,
            "needed": baseline.repeats,
            "validation_loss": baseline.validation_loss,
            "noise": baseline.noise,
        }
        with self._database.write() as tx:
            lock_search(tx, self._id)
            if baseline_row(tx, self._id, ASK_TELL_POOL) is None:
                tx.run(insert(baselines), values | {"search_id": self._id, "pool": ASK_TELL_POOL})
            else:
                tx.run(update(baselines).where(baselines.c.search_id == self._id).values(values))

    @override
    def confirm(self, count: int = 3, *, repeats: int = 2) -> int:
        with self._database.write() as tx:
            state = lock_search(tx, self._id)
            known = confirmations(tx, self._id)
            rows = best_candidates(tx, self._id, count)
            for row in rows:
                again = Proposal(read_genome(row.genome), "confirmation", row.number)
                first = len(known.get(row.number, ()))
                for repeat in range(first, first + repeats):
                    _add(tx, state, TrialKind.CONFIRMATION, again, repeat=repeat)
            state.save()
        return len(rows) * repeats

    @override
    def best(self, count: int = 1) -> list[Standing]:
        with self._database.read() as tx:
            again = confirmations(tx, self._id)
            rows = {row.number: row for row in best_candidates(tx, self._id, count)}
            for number in again.keys() - rows.keys():
                named = {"search": self._id, "number": number}
                rows[number] = tx.one(TrialRow, NUMBERED, named)
            pool = baseline_row(tx, self._id, ASK_TELL_POOL)
        known = Baseline(repeats=0) if pool is None else as_baseline(pool)
        candidates = [
            Candidate(number, read_genome(row.genome), row.fitness, _fresh(again.get(number, [])))
            for number, row in rows.items()
            if row.fitness is not None
        ]
        return ranked(candidates, known)[: max(0, count)]

    @override
    def pareto(self) -> list[Compromise]:
        with self._database.read() as tx:
            rows = tx.all(TrialRow, FRONT, {"search": self._id})
        return by_speed(
            Compromise(
                number=row.number,
                genome=read_genome(row.genome),
                fitness=row.fitness,
                step_time_ms=row.step_time_ms,
                parameters=row.parameters,
            )
            for row in rows
            if row.fitness is not None
        )

    def close(self) -> None:
        """Releases the database; the search stays as it is."""
        self._database.close()

    def _status(self, status: TrialStatus) -> dict[str, str]:
        return {"search": self._id, "status": status.value}


def _fresh(repeats: list[TrialRow]) -> list[float | None]:
    """Returns what the confirmations that have ended were told; None for one that failed."""
    return [
        one.fitness if one.status == TrialStatus.COMPLETED.value else None
        for one in repeats
        if one.status not in OPEN
    ]


def _add(
    tx: Transaction,
    state: SearchState,
    kind: TrialKind,
    proposal: Proposal,
    *,
    repeat: int | None = None,
    running: Values | None = None,
) -> NewTrial:
    return new_trial(
        tx,
        state,
        kind,
        proposal.genome,
        pool=ASK_TELL_POOL,
        origin=proposal.origin,
        parent=proposal.parent,
        mutation=proposal.mutation,
        repeat=repeat,
        running=None if running is None else {**running, "started_at": tx.now},
    )


def _asked(row: TrialRow) -> AskedTrial:
    return AskedTrial(
        number=row.number,
        genome=read_genome(row.genome),
        kind=TrialKind(row.kind),
        seed=row.seed,
        origin=row.origin,
        parent=row.parent_number,
        mutation=row.mutation,
        repeat=row.repeat,
    )
