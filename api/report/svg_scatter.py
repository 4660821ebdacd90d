"""A scatter plot as SVG text: no script, readable in print."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

STYLE = (
    "<style>text{font:12px system-ui,sans-serif;fill:currentColor}.axis{stroke:currentColor}"
    ".dot{fill:#1f77b4}.rival{fill:#d62728}</style>"
)
WIDTH, HEIGHT = 720, 360
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 12, 44


@dataclass(frozen=True)
class Point:
    """One mark; `kind` is its CSS class."""

    x: float
    y: float
    kind: str
    label: str


@dataclass(frozen=True)
class Line:
    """Places joined in their order; `kind` is its CSS class."""

    kind: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Axis:
    """A range of values along pixels from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float

    @classmethod
    def over(cls, values: Sequence[float], start: float, end: float) -> Axis:
        """Returns an axis with a margin of a twentieth around the values."""
        low, high = min(values), max(values)
        margin = (high - low) / 20 or abs(high) / 20 or 1.0
        return cls(low - margin, high + margin, start, end)

    def at(self, value: float) -> float:
        """Returns the pixel of a value."""
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self) -> list[float]:
        """Returns three to eight round values within the range."""
        rough = (self.high - self.low) / 5
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(f * power for f in (1, 2, 5, 10) if f * power >= rough)
        first = math.ceil(self.low / step)
        return [index * step for index in range(first, math.floor(self.high / step) + 1)]


def scatter(
    points: Sequence[Point],
    *,
    x_label: str,
    y_label: str,
    guides: Sequence[float] = (),
    lines: Sequence[Line] = (),
) -> str:
    """Returns the plot of at least one point or line.

    Args:
        points: The marks.
        x_label: What is across.
        y_label: What is up.
        guides: Levels of y that get a line across.
        lines: Drawn below the marks.
    """
    joined = [place for line in lines for place in line.points]
    across = [*(point.x for point in points), *(x for x, _ in joined)]
    x = Axis.over(across, LEFT, WIDTH - RIGHT)
    up = [*(point.y for point in points), *(y for _, y in joined), *guides]
    y = Axis.over(up, HEIGHT - BOTTOM, TOP)
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    frame = [
        f'<line class="axis" x1="{LEFT}" y1="{bottom}" x2="{right}" y2="{bottom}"/>',
        f'<line class="axis" x1="{LEFT}" y1="{TOP}" x2="{LEFT}" y2="{bottom}"/>',
        *(f'<line class="guide" x1="{LEFT}" y1="{y.at(v)}" x2="{right}" y2="{y.at(v)}"/>'
          for v in guides),
    ]  # fmt: skip
    ticks = [
        *(f'<text x="{x.at(v)}" y="{bottom + 18}" text-anchor="middle">{v:g}</text>'
          for v in x.ticks()),
        *(f'<text x="{LEFT - 6}" y="{y.at(v) + 4}" text-anchor="end">{v:.4g}</text>'
          for v in y.ticks()),
    ]  # fmt: skip
    marks = [
        f'<circle class="{escape(p.kind)}" cx="{x.at(p.x)}" cy="{y.at(p.y)}" r="3">'
        f"<title>{escape(p.label)}: {p.x:g}, {p.y:g}</title></circle>"
        for p in points
    ]
    paths = [
        f'<polyline class="{escape(line.kind)}" points="'
        f'{" ".join(f"{x.at(px)},{y.at(py)}" for px, py in line.points)}"/>'
        for line in lines
        if line.points
    ]
    labels = (
        f'<text x="{(LEFT + right) / 2}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x_label)}'
        f'</text><text x="12" y="{(TOP + bottom) / 2}" text-anchor="middle" '
        f'transform="rotate(-90 12 {(TOP + bottom) / 2})">{escape(y_label)}</text>'
    )
    told = escape(f"{y_label} against {x_label}")
    return (
        f'<svg class="drawn" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{told}">'
        f"{''.join(frame)}{''.join(ticks)}{''.join(paths)}{''.join(marks)}{labels}</svg>"
    )


def standing_alone(drawn: str) -> str:
    """Returns a plot as an SVG document of its own; marks of the kind `rival` are red."""
    head, body = drawn.split(">", 1)
    return f'{head} xmlns="http://www.w3.org/2000/svg">{STYLE}{body}\n'
