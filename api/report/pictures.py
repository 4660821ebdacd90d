"""Two plain pictures of a report, for where no script runs.

Everything is relative to the baseline of a trial's own pool, so that pools of any speed share a
picture; each has its colour.
"""

from __future__ import annotations

from html import escape

from brainformer.api.report.svg_scatter import Line, Point, scatter
from brainformer.search.charts.pictures import Front, Overview

COLOURS = ("#1f77b4", "#b65491", "#0b7a57", "#a86f00", "#5b4bb3", "#c8470a")
GAIN = "nats a token better than the pool's baseline"
STYLE = "".join(
    f".drawn .pool-{at} {{ fill: {colour}; stroke: {colour}; }} .key-{at} {{ color: {colour}; }} "
    for at, colour in enumerate(COLOURS)
) + (
    ".drawn .line { fill: none; stroke-width: 1.4; } .drawn .best { stroke: currentColor; } "
    ".drawn circle { stroke: none; opacity: .65; }"
)


def fitness_picture(overview: Overview) -> str:
    """Returns fitness over trials; where they are many, medians and best of stretches of them."""
    shown = overview.points
    points = [
        Point(number, fitness, _colour(pool), f"trial {number}")
        for number, fitness, pool in zip(shown.number, shown.fitness, shown.pool, strict=True)
        if fitness is not None
    ]
    lines = [_steps("line best", overview.best.number, overview.best.fitness, overview.last)]
    for band in overview.bands:
        middle = [number + band.width / 2 for number in band.number]
        for values in (band.median, band.high):
            pairs = zip(middle, values, strict=True)
            known = [(x, y) for x, y in pairs if y is not None]
            lines.append(Line(f"line {_colour(band.pool)}", known))
    if not points and not any(line.points for line in lines):
        return ""
    drawn = scatter(points, x_label="trial", y_label=GAIN, guides=[0.0], lines=lines)
    thinned = (
        "Thinner lines are the median and the best of stretches of trials. " if lines[1:] else ""
    )
    return (
        f"<p>Single runs; the black line is the best so far, which flatters. {thinned}"
        f"{_key(overview.pools)}</p>{drawn}"
    )


def step_time_picture(overview: Overview, front: Front) -> str:
    """Returns gain against step time as a multiple of the baseline's, with each pool's front."""
    levels = {level.pool: level for level in overview.levels}
    points: list[Point] = []
    shown = overview.points
    for number, pool, fitness, step, kind in zip(
        shown.number, shown.pool, shown.fitness, shown.step_time_ms, shown.kind, strict=True
    ):
        base = levels[overview.pools[pool]].step_time_ms if pool >= 0 else None
        if kind == "candidate" and fitness is not None and step is not None and base:
            points.append(Point(step / base, fitness, _colour(pool), f"trial {number}"))
    cells = front.cells
    points += [
        Point(ratio, fitness, _colour(pool), f"trial {best}, the best of {count}")
        for ratio, fitness, pool, best, count in zip(
            cells.ratio, cells.fitness, cells.pool, cells.best, cells.count, strict=True
        )
    ]
    if not points:
        return ""
    lines = []
    for at in range(len(front.pools)):
        own = [
            (ratio, fitness)
            for ratio, fitness, pool in zip(front.ratio, front.fitness, front.pool, strict=True)
            if pool == at
        ]
        lines.append(Line(f"line {_colour(at)}", own))
    label = "step time, as a multiple of the baseline's on the same pool"
    drawn = scatter(points, x_label=label, y_label=GAIN, guides=[0.0], lines=lines)
    return f"<p>Lines join the front of each pool. {_key(overview.pools)}</p>{drawn}"


def _steps(kind: str, numbers: list[int], values: list[float | None], last: int) -> Line:
    points: list[tuple[float, float]] = []
    for number, value in zip(numbers, values, strict=True):
        if value is None:
            continue
        if points:
            points.append((number, points[-1][1]))
        points.append((number, value))
    if points:
        points.append((last, points[-1][1]))
    return Line(kind, points)


def _colour(pool: int) -> str:
    return f"pool-{max(0, pool) % len(COLOURS)}"


def _key(pools: list[str]) -> str:
    """Returns which colour is which pool, where there are several."""
    if len(pools) < 2:
        return ""
    named = (
        f'<span class="key-{at % len(COLOURS)}">● {escape(name)}</span>'
        for at, name in enumerate(pools)
    )
    return f"Pools: {', '.join(named)}."
