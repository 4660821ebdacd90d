"""The best trial as people read it: what its fresh runs say, beside its fellow finalists."""

from __future__ import annotations

from brainformer.search.estimates.comparison import mean, standard_deviation
from brainformer.search.estimates.verdict import verdict
from brainformer.search.spec import ASK_TELL_POOL
from brainformer.search.sql.rows.records import baseline_summary
from brainformer.search.sql.trials.completion import Best
from brainformer.search.sql.trials.finalists import Finalists
from brainformer.search.store.records import BestRecord, FinalistRecord, TrialRecord


def best_record(best: Best, trial: TrialRecord) -> BestRecord:
    """Returns the record of the best trial."""
    baseline = None if best.baseline is None else baseline_summary(best.baseline)
    if best.finalists is None:
        return BestRecord(trial=trial, baseline=baseline)
    race, level = best.finalists.race, _level(best)
    others = sorted(
        (_finalist(best.finalists, number, level) for number in best.finalists.rows), key=_by_gain
    )
    own = next(one for one in others if one.number == trial.number)
    return BestRecord(
        trial=trial,
        baseline=baseline,
        confirmed=own.runs > 0,
        repeats=own.runs,
        baseline_repeats=race.rival_runs(own.pool),
        diverged=own.diverged,
        mean_fitness=own.mean_fitness,
        deviation=own.deviation,
        interval=race.interval(trial.number),
        confidence=own.confidence,
        verdict=verdict(own.confidence, runs=own.runs),
        finalists=tuple(others),
    )


def _level(best: Best) -> float:
    """Returns the baseline's fitness: 0, but for searches whose caller tells it on any scale."""
    row = best.baseline
    if row is None or row.pool != ASK_TELL_POOL or row.validation_loss is None:
        return 0.0
    return -row.validation_loss


def _finalist(finalists: Finalists, number: int, level: float) -> FinalistRecord:
    race = finalists.race
    gains, runs, p = race.gains(number), race.finalist_runs(number), race.claim(number)
    return FinalistRecord(
        number=number,
        pool=race.pool_of(number),
        runs=runs,
        diverged=runs - len(gains),
        mean_fitness=level + mean(gains) if gains else None,
        deviation=standard_deviation(gains),
        confidence=None if p is None else 1 - p,
        dropped=number in race.dropped,
    )


def _by_gain(one: FinalistRecord) -> tuple[float, float, int]:
    share = one.diverged / one.runs if one.runs else 0.5
    return share, -(one.mean_fitness or 0.0), one.number
