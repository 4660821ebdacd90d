"""Which evaluated trials a new search may take: those of its own space, proxy, data and rival.

Fitness is relative to the baseline of the pool that a trial ran on, so a pool's candidates come
only together with its complete baseline. Nothing else of a file is believed: fitness, constraints
and the baseline's figures are computed again from the measurements.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from brainformer.search.campaign.evaluated import EvaluatedSearch, EvaluatedTrial
from brainformer.search.cost.runnable import runnable_genome
from brainformer.search.errors import InvalidGenome, InvalidInput, NotFound
from brainformer.search.spec import Rival, SearchSpec, resolve_spec
from brainformer.search.trials.lease_rules import RETRIED, Settlement, settle
from brainformer.search.trials.reward import REPEAT, Baseline, summarise
from brainformer.search.trials.trial import Outcome, TrialKind, TrialStatus

ENDED = frozenset({TrialStatus.COMPLETED, TrialStatus.PRUNED, TrialStatus.FAILED})
NOT_COMPARED = frozenset({"dataset_hash"})  # of a proxy: it has a rule and a message of its own


class Found(NamedTuple):
    """A trial, and which of the searches it is of."""

    source: int
    search: str
    trial: EvaluatedTrial

    def __str__(self) -> str:
        return f"trial {self.trial.number} of search {self.search}"


class Carried(NamedTuple):
    """A candidate to be taken, and what it counts for in the new search.

    Attributes:
        source: Which of the searches it comes from; numbers are those of one search.
    """

    source: int
    pool: str
    trial: EvaluatedTrial
    settled: Settlement


class CarriedPool(NamedTuple):
    """What was evaluated on one pool.

    Attributes:
        rival: The block that the pool's candidates are compared with.
        repeats: Its runs; as many as the new search asks for, or more.
        baseline: What they showed.
    """

    pool: str
    rival: Rival
    repeats: tuple[EvaluatedTrial, ...]
    baseline: Baseline


class Campaign(NamedTuple):
    """What a new search begins with.

    Attributes:
        candidates: In the order in which they were proposed, search by search.
        left_out: Candidates that were not taken: evaluated twice, or ended by something else than
            their genome.
    """

    dataset_hash: str | None
    pools: tuple[CarriedPool, ...]
    candidates: tuple[Carried, ...]
    left_out: int


def carried_into(spec: SearchSpec, searches: Sequence[EvaluatedSearch]) -> Campaign:
    """Returns what a new search may take from others.

    Args:
        spec: Of the new search.
        searches: As `read_evaluated` returns them; of a genome that was evaluated twice on a pool
            the first counts.

    Raises:
        InvalidSpec: the new spec names what it cannot run.
        InvalidInput: a search has another space, proxy or data set; a pool has no complete
            baseline, or one that this spec does not compare with; a genome may not run here; or
            there are more candidates than the spec's limit.
    """
    resolve_spec(spec)
    data = {spec.proxy.dataset_hash} - {None}
    by_pool: dict[str, list[Found]] = {}
    for source, one in enumerate(searches):
        _check_conditions(spec, one)
        data |= {one.header.spec.proxy.dataset_hash} - {None}
        for trial in one.trials:
            if trial.pool is not None:
                by_pool.setdefault(trial.pool, []).append(Found(source, one.header.name, trial))
    if len(data) > 1:
        raise InvalidInput(
            f"the trials were evaluated on different versions of data set {spec.proxy.dataset!r}; "
            "only those of one can be compared"
        )
    campaign = _campaign(spec, next(iter(data), None), by_pool)
    taken, limit = len(campaign.candidates), spec.limits.trials
    if not taken:
        raise InvalidInput("the files hold no evaluated candidate")
    if limit is not None and taken >= limit:
        raise InvalidInput(
            f"the files hold {taken} candidates, which count, and limits.trials is {limit}; "
            "raise it",
            pointer="/limits/trials",
        )
    return campaign


def _campaign(
    spec: SearchSpec, dataset_hash: str | None, by_pool: dict[str, list[Found]]
) -> Campaign:
    pools: list[CarriedPool] = []
    carried: list[Carried] = []
    left_out = 0
    for pool, found in by_pool.items():
        candidates = [one for one in found if one.trial.kind is TrialKind.CANDIDATE]
        taken = _first_of_each(candidates)
        left_out += len(candidates) - len(taken)
        if taken:
            pools.append(_pool(spec, pool, [one.trial for one in found]))
            carried += [_carried(spec, pools[-1], one, outcome) for one, outcome in taken]
    carried.sort(key=lambda one: (one.source, one.trial.number))
    return Campaign(dataset_hash, tuple(pools), tuple(carried), left_out)


def _check_conditions(spec: SearchSpec, one: EvaluatedSearch) -> None:
    theirs, name = one.header.spec, one.header.name
    try:
        same = theirs.resolved_space() == spec.resolved_space()
    except NotFound:  # a preset of another release
        same = False
    if not same:
        raise InvalidInput(
            f"search {name} has another space than this spec, so its trials cannot be imported"
        )
    wanted, given = spec.proxy.model_dump(), theirs.proxy.model_dump()
    for field in wanted.keys() - NOT_COMPARED:
        if wanted[field] != given[field]:
            raise InvalidInput(
                f"search {name} has {field} = {given[field]!r} in its proxy and this spec has "
                f"{wanted[field]!r}, so their trials cannot be compared",
                pointer=f"/proxy/{field}",
            )


def _first_of_each(candidates: Sequence[Found]) -> list[tuple[Found, Outcome]]:
    """Returns the candidates whose genome decided how they ended, one of each genome."""
    found: dict[str, tuple[Found, Outcome]] = {}
    for one in candidates:
        outcome = one.trial.outcome
        if outcome is not None and outcome not in RETRIED and one.trial.status in ENDED:
            found.setdefault(one.trial.genome.digest, (one, outcome))
    return list(found.values())


def _pool(spec: SearchSpec, pool: str, trials: Sequence[EvaluatedTrial]) -> CarriedPool:
    rival, repeats = _baseline(spec, pool, trials)
    if len(repeats) < spec.baseline_repeats:
        raise InvalidInput(
            f"pool {pool} has {len(repeats)} completed runs of its baseline in the file and this "
            f"spec asks for {spec.baseline_repeats}; without them fitness there has no reference"
        )
    return CarriedPool(pool, rival, repeats, summarise([one.measurements for one in repeats]))


def _baseline(
    spec: SearchSpec, pool: str, trials: Sequence[EvaluatedTrial]
) -> tuple[Rival, tuple[EvaluatedTrial, ...]]:
    """Returns the rival of the pool's first search, and its completed runs, each once.

    Of a family with several learning rates the label tells which member it was.
    """
    runs: dict[tuple[str, str], dict[tuple[int, float | None], EvaluatedTrial]] = {}
    for trial in trials:
        repeat = trial.kind is TrialKind.BASELINE and trial.origin == REPEAT
        if repeat and trial.status is TrialStatus.COMPLETED:
            known = runs.setdefault((trial.genome.digest, trial.label), {})
            known.setdefault((trial.seed, trial.measurements.validation_loss), trial)
    if not runs:
        raise InvalidInput(
            f"the file holds no completed run of the baseline on pool {pool}; export the whole "
            "search, since fitness is relative to it"
        )
    ran, known = next(iter(runs.items()))
    for rival in spec.rivals():
        if ran == (rival.genome.digest, rival.label):
            return rival, tuple(known.values())
    raise InvalidInput(
        f"the baseline that ran on pool {pool} is not one that this spec compares with",
        pointer="/baseline",
    )


def _carried(spec: SearchSpec, pool: CarriedPool, one: Found, outcome: Outcome) -> Carried:
    trial = one.trial
    try:
        runnable_genome(trial.genome, spec.resolved_space(), spec.proxy)
    except InvalidGenome as error:
        raise InvalidInput(f"{one}: {error.message}") from None
    if outcome is Outcome.COMPLETED and trial.measurements.validation_loss is None:
        raise InvalidInput(f"{one} has completed without a validation loss")
    settled = settle(
        spec,
        pool.baseline,
        TrialKind.CANDIDATE,
        outcome=outcome,
        measured=trial.measurements,
        message=trial.message,
        tries=spec.max_attempts,
    )
    return Carried(one.source, pool.pool, trial, settled)
