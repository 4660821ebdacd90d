"""The points of a promotion: who is trained at each scale or target, in which shapes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from brainformer.search.cost.cost import (
    activated_parameters,
    flops_per_token,
    memory_bytes,
    parameters,
)
from brainformer.search.cost.trainable import check_trainable
from brainformer.search.errors import InvalidGenome, InvalidSpec
from brainformer.search.proxy.proxy import Proxy
from brainformer.search.scaling.solving import MAX_BLOCKS, count, scaled_to
from brainformer.search.scaling.target import Target
from brainformer.search.scaling.widths import ScaleModelDim
from brainformer.search.space.genome import Genome
from brainformer.search.studies.promotion import (
    NO_CAPS,
    Caps,
    Entrant,
    Finalist,
    PromotionPoint,
    PromotionRequest,
    Shape,
)

FEWEST_STEPS = 20  # of the shortest rung; fewer are all warm-up
LONGEST_BUDGET_SECONDS = 30 * 24 * 3600
# Learning rates fall as 1 / width; see `LearningRate`, whose rule a target may change.
RATE_EXPONENT = 1.0


@dataclass(frozen=True)
class Scaling:
    """One point that is wanted: how a block gets there.

    Attributes:
        label: "x2", "1B" ...
        field: Where it stands in the request, as a JSON pointer.
        shape: Of a block under the search's proxy; raises where it cannot get there.
        exponent: By which learning rates fall with the width.
    """

    label: str
    field: str
    shape: Callable[[Genome, Proxy], tuple[Genome, Proxy]]
    exponent: float


@dataclass(frozen=True)
class Field:
    """Who enters a promotion.

    Attributes:
        finalists: The blocks.
        rival: What the search compares with on the pool.
        proxy: The search's, with the hash of its data.
        rival_proxy: The same with the rival's own learning rate.
        step_time_ms: Of the rival under it; None where it is not known.
        caps: The largest model that may be trained.
    """

    finalists: Sequence[Finalist]
    rival: Genome
    proxy: Proxy
    rival_proxy: Proxy
    step_time_ms: float | None = None
    caps: Caps = NO_CAPS


def promotion_points(
    request: PromotionRequest, field: Field
) -> tuple[list[PromotionPoint], list[str]]:
    """Returns the points of a promotion, and what had to be left out.

    Raises:
        InvalidSpec: neither the rival nor any finalist gets to a point, or its budget is too small
            to train anything.
    """
    scalings = _scalings(request)
    left_out: list[str] = []
    _check_data(request, field.proxy.dataset)
    drawn = [_entrants(request, one, field, left_out) for one in scalings]
    budgets = _budgets(request, [entrants[-1].shapes[0] for entrants in drawn])
    points = []
    for scaling, entrants, budget in zip(scalings, drawn, budgets, strict=True):
        _check_budget(request, scaling, entrants[-1].shapes[0], field, budget)
        points.append(
            PromotionPoint(
                label=scaling.label,
                budget_seconds=budget,
                entrants=tuple(_trained_for(entrant, budget) for entrant in entrants),
            )
        )
    return points, list(dict.fromkeys(left_out))


def _scalings(request: PromotionRequest) -> list[Scaling]:
    found = [
        Scaling(f"x{scale:g}", f"/scales/{at}", _multiplied(scale), RATE_EXPONENT)
        for at, scale in enumerate(request.scales)
    ]
    for at, target in enumerate(request.wanted_targets()):
        exponent = target.learning_rate.exponent
        found.append(Scaling(count(target.parameters), f"/targets/{at}", _solved(target), exponent))
    return found


def _check_data(request: PromotionRequest, own: str) -> None:
    """Refuses points on different data: a study is given to workers that have its data.

    Raises:
        InvalidSpec: names the first target whose data is not that of the others.
    """
    used = [own] * len(request.scales)
    for at, target in enumerate(request.wanted_targets()):
        name = target.dataset or own
        if used and name != used[0]:
            raise InvalidSpec(
                f"all scales and targets of a promotion train on one data set, and those before "
                f"this one train on {used[0]}; ask for it in a promotion of its own",
                name,
                f"/targets/{at}/dataset",
            )
        used.append(name)


def _capped(genome: Genome, proxy: Proxy, caps: Caps) -> None:
    """Refuses a model beyond the caps.

    Raises:
        InvalidGenome: it has too many parameters, or needs too much memory.
    """
    for name, cap, size in (
        ("parameters", caps.parameters, parameters(genome, proxy)),
        ("memory_bytes", caps.memory_bytes, memory_bytes(genome, proxy)),
    ):
        if cap is not None and size > cap:
            raise InvalidGenome(f"at most {cap} {name} are allowed here (setting max_{name})", size)


def _multiplied(scale: float) -> Callable[[Genome, Proxy], tuple[Genome, Proxy]]:
    """Returns what multiplies a block's widths and depth; its rate falls with its width."""

    def shape(genome: Genome, proxy: Proxy) -> tuple[Genome, Proxy]:
        wide = ScaleModelDim(scale)(genome)
        blocks = max(1, round(proxy.blocks * scale))
        if blocks > MAX_BLOCKS:
            raise InvalidSpec(f"scaled, blocks must be at most {MAX_BLOCKS}", blocks)
        rate = proxy.peak_learning_rate * (genome.model_dim / wide.model_dim) ** RATE_EXPONENT
        changes = {"blocks": blocks, "peak_learning_rate": rate}
        scaled = proxy.model_copy(update=changes)
        check_trainable(wide, scaled)
        return wide, scaled

    return shape


def _solved(target: Target) -> Callable[[Genome, Proxy], tuple[Genome, Proxy]]:
    def shape(genome: Genome, proxy: Proxy) -> tuple[Genome, Proxy]:
        scaled = scaled_to(genome, proxy, target)
        return scaled.genome, scaled.proxy

    return shape


def _entrants(
    request: PromotionRequest, scaling: Scaling, field: Field, left_out: list[str]
) -> list[Entrant]:
    """Returns the finalists and the rival's family at a point, the family's middle first.

    Raises:
        InvalidSpec: the rival or all of the finalists cannot get there.
    """
    try:
        rival, proxy = scaling.shape(field.rival, field.rival_proxy)
        _capped(rival, proxy, field.caps)
    except (InvalidGenome, InvalidSpec) as error:
        rule = f"the rival cannot be scaled to {scaling.label}: {error.message}"
        raise InvalidSpec(rule, pointer=scaling.field) from None
    entrants = []
    why = ""
    for finalist in field.finalists:
        shapes: tuple[Shape, ...] = ()
        try:
            genome, own = scaling.shape(finalist.genome, field.proxy)
            _capped(genome, own, field.caps)
            shapes = (Shape(label=_told(genome, own), genome=genome, proxy=own),)
        except (InvalidGenome, InvalidSpec) as error:
            why = error.message
            left_out.append(f"trial {finalist.number} at {scaling.label}: {why}")
        entrants.append(Entrant(trial=finalist.number, shapes=shapes))
    if not any(entrant.shapes for entrant in entrants):
        rule = f"no block can be scaled to {scaling.label}: {why}"
        raise InvalidSpec(rule, pointer=scaling.field)
    family = _family(request, scaling, (rival, proxy), field.caps, left_out)
    return [*entrants, Entrant(trial=None, shapes=tuple(family))]


def _family(
    request: PromotionRequest,
    scaling: Scaling,
    scaled: tuple[Genome, Proxy],
    caps: Caps,
    left_out: list[str],
) -> list[Shape]:
    """Returns the rival at a point in several depths and widths; as it is comes first."""
    rival, proxy = scaled
    found = [Shape(label=_told(rival, proxy), genome=rival, proxy=proxy)]
    for depth in request.rival_depths:
        for width in request.rival_widths:
            if depth == width == 1:
                continue
            try:
                genome, own = _resized(rival, proxy, depth, width, scaling.exponent)
                check_trainable(genome, own)
                _capped(genome, own, caps)
            except InvalidGenome as error:
                what = f"the rival at {scaling.label}, depth x{depth:g}, width x{width:g}"
                left_out.append(f"{what}: {error.message}")
                continue
            shape = Shape(label=_told(genome, own), genome=genome, proxy=own)
            if all(shape.label != one.label or shape.genome != one.genome for one in found):
                found.append(shape)
    return found


def _resized(
    genome: Genome, proxy: Proxy, depth: float, width: float, exponent: float
) -> tuple[Genome, Proxy]:
    """Returns a block at multiples of its depth and width: other stacking, else a shorter block.

    Raises:
        InvalidGenome: the depth is no whole number of sub-layers, or a width leaves its range.
    """
    layers = genome.layers
    blocks = proxy.blocks * depth
    if blocks != round(blocks) or not 1 <= blocks <= MAX_BLOCKS:
        kept = len(layers) * depth
        if depth > 1 or kept != round(kept) or kept < 1:
            rule = f"{proxy.blocks} blocks of {len(layers)} sub-layers have no such multiple"
            raise InvalidGenome(rule, depth)
        layers, blocks = layers[: round(kept)], proxy.blocks
    resized = ScaleModelDim(width)(genome.model_copy(update={"layers": layers}))
    rate = proxy.peak_learning_rate * (genome.model_dim / resized.model_dim) ** exponent
    return resized, proxy.model_copy(update={"blocks": round(blocks), "peak_learning_rate": rate})


def _told(genome: Genome, proxy: Proxy) -> str:
    return f"{proxy.blocks} x {len(genome.layers)} sub-layers, d={genome.model_dim}"


def _budgets(request: PromotionRequest, rivals: Sequence[Shape]) -> list[float]:
    """Returns the seconds of every point: as asked, or in proportion to the rival's size."""
    if len(request.budget_seconds) == len(rivals):
        return list(request.budget_seconds)
    sizes = [activated_parameters(one.genome, one.proxy) for one in rivals]
    return [request.budget_seconds[0] * size / max(sizes) for size in sizes]


def _check_budget(
    request: PromotionRequest, scaling: Scaling, rival: Shape, field: Field, budget: float
) -> None:
    """Refuses a budget whose shortest rung is no training, or whose longest no trial may have.

    Raises:
        InvalidSpec: it is too small, or too large.
    """
    longest = budget * max(request.ladder)
    if longest > LONGEST_BUDGET_SECONDS:
        rule = f"the longest rung at {scaling.label} must take at most 30 days; ask for less"
        raise InvalidSpec(rule, longest, "/budget_seconds")
    if field.step_time_ms is None:
        return
    growth = _flops_per_step(rival.genome, rival.proxy) / _flops_per_step(
        field.rival, field.rival_proxy
    )
    step_seconds = field.step_time_ms / 1000 * growth
    shortest = budget * min(request.ladder)
    steps = shortest / step_seconds
    if steps < FEWEST_STEPS:
        needed = FEWEST_STEPS * step_seconds / min(request.ladder)
        raise InvalidSpec(
            f"a budget of {span(budget)} at {scaling.label} leaves about {steps:.0f} steps for the "
            f"shortest rung, at least {FEWEST_STEPS} are needed: ask for {span(needed)} there, for "
            "fewer or smaller scales, or for a ladder without short rungs",
            budget,
            "/budget_seconds",
        )


def span(seconds: float) -> str:
    """Returns a time in words: 45 s, 30 min, 2 h."""
    for size, unit in ((3600.0, "h"), (60.0, "min")):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


def _flops_per_step(genome: Genome, proxy: Proxy) -> float:
    return flops_per_token(genome, proxy) * proxy.batch_size * proxy.sequence_length


def _trained_for(entrant: Entrant, budget: float) -> Entrant:
    shapes = tuple(
        shape.model_copy(
            update={"proxy": shape.proxy.model_copy(update={"budget_seconds": budget})}
        )
        for shape in entrant.shapes
    )
    return entrant.model_copy(update={"shapes": shapes})
