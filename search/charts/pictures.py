"""What pictures are drawn from, as it goes over REST: columns rather than rows.

All lists of one model have the same length, one entry a trial, stretch, cell or group. Fitness is
in nats a token against the baseline of the trial's own pool, times are seconds since 1970, and null
stands where nothing was measured: a pruned trial has no fitness here.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from brainformer.search.space.genome import Genome

Value = float | None


class Picture(BaseModel):
    """Base of the answers."""

    model_config = ConfigDict(frozen=True)


class Points(Picture):
    """Single trials. `pool` counts in the list of pools that comes beside it; -1 is none."""

    number: list[int]
    kind: list[str]
    status: list[str]
    pool: list[int]
    parent: list[int | None]
    fitness: list[Value]
    step_time_ms: list[Value]
    parameters: list[Value]
    finished: list[Value]
    member: list[bool]


class Band(Picture):
    """Fitness over stretches of `width` trials on one pool: extremes, quartiles and median."""

    pool: int
    width: int
    number: list[int]
    count: list[int]
    low: list[Value]
    lower: list[Value]
    median: list[Value]
    upper: list[Value]
    high: list[Value]
    finished: list[Value]


class Steps(Picture):
    """The best single run so far: the trials at which it rose."""

    number: list[int]
    fitness: list[Value]
    finished: list[Value]


class PoolLevel(Picture):
    """What everything on a pool is relative to.

    `noise` is the standard deviation of the baseline's loss over its `repeats` runs, `limit_ms` the
    slowest step that is allowed; `failure` says why the pool has no baseline.
    """

    pool: str
    repeats: int = 0
    needed: int = 0
    loss: Value = None
    bits_per_byte: Value = None
    noise: Value = None
    step_time_ms: Value = None
    limit_ms: Value = None
    failure: str = ""


class Overview(Picture):
    """A search, or a stretch of it, thinned to what an eye can tell apart.

    Attributes:
        seq: Of the last change that is in it: `after_seq` of the next request.
        total: Trials of the search.
        first: Number of the first trial shown; `last` of the last one.
        kinds: How many trials there are by kind and status; `totals` counts those of all pools.
        points: Every trial of the stretch where it has at most 3,000, else those that are open,
            repeats, and the newest.
        bands: Empty where `points` holds every trial.
        best: The best single run so far.
        whole: Whether the page must read the whole again: more has changed than a difference holds.
    """

    seq: int
    total: int
    first: int
    last: int
    pools: list[str]
    levels: list[PoolLevel]
    kinds: dict[str, dict[str, int]]
    totals: dict[str, dict[str, int]]
    points: Points
    bands: list[Band]
    best: Steps
    whole: bool = True


class Cells(Picture):
    """Trials by gain and relative step time, counted in the cells of a grid."""

    ratio: list[float]
    fitness: list[float]
    pool: list[int]
    count: list[int]
    best: list[int]


class Front(Picture):
    """Gain against step time.

    `number`, `pool`, `ratio` and `fitness` are those that no other trial of their pool beats in
    both; a ratio is the step time over that of the pool's baseline.
    """

    number: list[int]
    pool: list[int]
    ratio: list[float]
    fitness: list[float]
    pools: list[str]
    cells: Cells
    cell_ratio: float = 0.0
    cell_fitness: float = 0.0


class Gain(Picture):
    """By how much children beat their parents after one kind of change.

    `low` and `high` bound the mean with 95% confidence (Student's t); null with too few pairs.
    """

    operator: str
    gene: str
    pairs: int
    better: int
    lost: int
    mean: Value
    low: Value
    high: Value


class Gains(Picture):
    """What helps, by kind of mutation and by gene; parent and child ran on the same pool."""

    operators: list[Gain]
    genes: list[Gain]


class Composition(Picture):
    """What candidates are made of, over stretches in order of completion.

    Shares are those of sub-layers by kind and of experts by gating; widths are means.
    """

    first: list[int]
    count: list[int]
    kinds: dict[str, list[Value]]
    gatings: dict[str, list[Value]]
    widths: dict[str, list[Value]]


class Lineage(Picture):
    """Births against fitness: who descends from whom.

    `best` is the best trial and its ancestors, the youngest first; `cut` says that more than 2,000
    trials belong here and some are left out.
    """

    number: list[int]
    parent: list[int | None]
    fitness: list[Value]
    pool: list[int]
    status: list[str]
    member: list[bool]
    best: list[int]
    pools: list[str]
    cut: bool = False


class FailureGroup(Picture):
    """Trials that ended for the same reason; `newest` is the latest of them."""

    status: str
    outcome: str
    reason: str
    count: int
    newest: int
    pools: list[str]
    message: str = ""
    traceback: str = ""


class Failures(Picture):
    """Failed, cancelled and pruned trials, the most frequent reason first."""

    items: list[FailureGroup]


class Spans(Picture):
    """What a search's workers did: attempts, the newest first, at most 2,000."""

    worker: list[str]
    pool: list[str]
    number: list[int]
    outcome: list[str | None]
    started: list[float]
    finished: list[Value]
    now: float


class SubLayerCost(Picture):
    """What one sub-layer of a block costs; operations are those of a forward pass."""

    kind: str
    parameters: float
    activated_parameters: float
    flops_per_token: float


class Costs(Picture):
    """What a trial's block costs, sub-layer by sub-layer, once (not times the stack)."""

    items: list[SubLayerCost]
    blocks: int


class Ancestors(Picture):
    """A trial, its parent, its parent's parent ..., at most 200. `parent` is its parent's block."""

    number: list[int]
    status: list[str]
    fitness: list[Value]
    mutation: list[str]
    origin: list[str]
    parent: Genome | None
