"""Promotions in SQL: created, and read with what they show."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select

from brainformer.search.errors import InvalidSpec, NotFound
from brainformer.search.sql.connection.database import Transaction
from brainformer.search.sql.connection.tables import trials
from brainformer.search.sql.pools import OutOfWork
from brainformer.search.sql.rows.table_rows import SearchRow, TrialRow
from brainformer.search.sql.rows.values import lean_measurements, read_genome, read_spec
from brainformer.search.sql.searches import to_record
from brainformer.search.sql.studies.study import (
    MOST_CANDIDATES,
    check_manned,
    create_study,
    find_parent,
    known_proxy,
    ready_pool,
    studies_of,
    unmanned,
)
from brainformer.search.sql.trials.baselines import rival_of
from brainformer.search.sql.trials.completion import best_candidates
from brainformer.search.sql.trials.finalists import Finalists, read_finalists
from brainformer.search.sql.trials.study_runs import RUNS, RunRow, how_ended, read_plan
from brainformer.search.store.actor import Actor
from brainformer.search.store.records import PromotionRecord, SearchRecord
from brainformer.search.studies.plan import StudyKind
from brainformer.search.studies.promotion import Caps, Finalist, PromotionRequest
from brainformer.search.studies.promotion_points import Field
from brainformer.search.studies.promotion_result import promotion_result
from brainformer.search.studies.promotion_stages import plan_promotion, planned_run
from brainformer.search.studies.promotion_table import Figures
from brainformer.search.trials.trial import TrialKind, TrialStatus


def create_promotion(
    tx: Transaction,
    named: str,
    request: PromotionRequest,
    *,
    pool: str | None,
    out: OutOfWork,
    caps: Caps,
    actor: Actor,
) -> SearchRecord:
    """Creates a promotion of a search's best blocks and queues its first runs.

    Raises:
        NotFound: there is no such search.
        Conflict: no pool of the search has a rival yet, it does not know the one named, or nobody
            works on that.
        InvalidSpec: there is nothing to promote, or not to these points with this budget.
    """
    parent = find_parent(tx, named)
    spec = read_spec(parent.spec)
    ready_pool(tx, parent, pool, out.retired)
    home, chosen = chosen_finalists(tx, parent, request, pool)
    ready = ready_pool(tx, parent, home, out.retired)
    check_manned(tx, ready.pool, out)
    rival, proxy = rival_of(ready, spec), known_proxy(parent)
    field = Field(
        finalists=[Finalist(row.number, read_genome(row.genome)) for row in chosen],
        rival=rival.genome,
        proxy=proxy,
        rival_proxy=proxy.model_copy(
            update={"peak_learning_rate": (rival.proxy or proxy).peak_learning_rate}
        ),
        step_time_ms=ready.step_time_ms,
        caps=caps,
    )
    plan = plan_promotion(request, field, ready.pool)
    planned = [planned_run(plan, run) for run in plan.runs]
    expected = plan.expected
    return create_study(
        tx, parent, StudyKind.PROMOTION, plan, planned, actor=actor, expected=expected
    )


def chosen_finalists(
    tx: Transaction, parent: SearchRow, request: PromotionRequest, pool: str | None
) -> tuple[str | None, list[TrialRow]]:
    """Returns the pool to promote on and the trials, distinct blocks, the best first.

    Those that the race among finalists has confirmed come before those of a single run. Fitness is
    compared within a pool: that of the best block, or the one that is asked for.

    Raises:
        InvalidSpec: a trial that is named has not completed, or nothing has.
    """
    if request.trials:
        named = _named_trials(tx, parent, request.trials)
        return pool or named[0].pool, named
    race = read_finalists(tx, parent.id, read_spec(parent.spec))
    confirmed = [race.rows[one] for one in race.race.ranked if one in race.rows]
    rows = [*confirmed, *best_candidates(tx, parent.id, MOST_CANDIDATES)]
    if not rows:
        raise InvalidSpec(
            f"search {parent.name} has no completed candidate to promote; let it run on",
            pointer="/top",
        )
    distinct = {row.digest: row for row in reversed(rows)}
    ordered = [row for row in rows if distinct[row.digest] is row]
    home = pool or _measured_on(ordered[0], race)
    own = [row for row in ordered if _measured_on(row, race) == home]
    if len(own) < request.top:
        raise InvalidSpec(
            f"search {parent.name} has {len(own)} different completed candidates on pool "
            f"{home}; ask for at most that many",
            request.top,
            "/top",
        )
    return home, own[: request.top]


def _measured_on(row: TrialRow, finalists: Finalists) -> str | None:
    """Returns the pool of a candidate's fresh runs; without any, of its single run."""
    return finalists.race.pool_of(row.number) if row.number in finalists.rows else row.pool


def _named_trials(tx: Transaction, parent: SearchRow, numbers: Sequence[int]) -> list[TrialRow]:
    query = select(trials).where(trials.c.search_id == parent.id, trials.c.number.in_(numbers))
    rows = {row.number: row for row in tx.all(TrialRow, query)}
    digests: dict[str, int] = {}
    for place, number in enumerate(numbers):
        row, pointer = rows.get(number), f"/trials/{place}"
        if row is None or not _is_promotable(row):
            state = "there is none" if row is None else f"it is a {row.status} {row.kind}"
            rule = f"what is promoted must be a completed candidate; {state} in {parent.name}"
            raise InvalidSpec(rule, number, pointer)
        if row.digest in digests:
            rule = f"the same block as trial {digests[row.digest]}; name it once"
            raise InvalidSpec(rule, number, pointer)
        digests[row.digest] = number
    return [rows[number] for number in numbers]


def _is_promotable(row: TrialRow) -> bool:
    completed = row.status == TrialStatus.COMPLETED.value
    return completed and row.kind == TrialKind.CANDIDATE.value


def promotions_of(tx: Transaction, named: str) -> list[PromotionRecord]:
    """Returns the promotions of a search, newest first, with what they show so far."""
    return [_promotion(tx, row) for row in studies_of(tx, named, StudyKind.PROMOTION)]


def promotion(tx: Transaction, named: str, study: str) -> PromotionRecord:
    """Returns one promotion of a search, by its id or name.

    Raises:
        NotFound: the search has none of that id.
    """
    found = studies_of(tx, named, StudyKind.PROMOTION, study=study)
    if not found:
        raise NotFound("promotion of this search", study)
    return _promotion(tx, found[0])


def _promotion(tx: Transaction, row: SearchRow) -> PromotionRecord:
    plan = read_plan(row.plan or "{}")
    figures = tuple(_figures(one) for one in tx.all(RunRow, RUNS, {"search": row.id}))
    record = to_record(tx, row)
    waiting = "" if record.status.ended else unmanned(tx, plan.pool)
    return PromotionRecord(
        study=record,
        pool=plan.pool,
        request=plan.request,
        planned_seconds=plan.expected_seconds,
        waiting=waiting,
        result=promotion_result(plan, figures),
    )


def _figures(row: RunRow) -> Figures:
    measured = lean_measurements(row.measurements)
    return Figures(how_ended(row), measured.bits_per_byte, measured.step_time_ms, measured.tokens)
