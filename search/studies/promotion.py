"""Promotions: the best blocks of a search at the scale and time that its user wants.

The second half of Algorithm 1 of arXiv:2306.00008. At every point (a multiple of the widths, or a
target) the finalists and a family around the rival are first tuned by single runs on the validation
split; then the best of each are run with fresh, paired seeds and judged on the test split, the
rival over a ladder of budgets.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from brainformer.search.errors import InvalidSpec
from brainformer.search.proxy.proxy import Name, Proxy
from brainformer.search.scaling.target import Parameters, Target, target_of_size
from brainformer.search.space.genome import Genome
from brainformer.search.validation import BrokenRules, checked

MOST_POINTS = 8
Multiple = Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)]
Multiples = Annotated[tuple[Multiple, ...], Field(min_length=1, max_length=8)]
Seconds = Annotated[float, Field(gt=0, le=30 * 24 * 3600, allow_inf_nan=False)]


class PromotionRequest(BaseModel):
    """What is asked of a promotion.

    Attributes:
        top: How many of the search's best blocks.
        trials: Numbers of the trials to promote instead.
        scales: Multiples of the widths and of the number of blocks, under the search's own proxy.
        targets: Sizes in activated parameters, or whole targets.
        budget_seconds: Of training, for each block: one for every point, scales first, or one for
            the point of the most activated parameters, of which the others get their share.
        repeats: Fresh seeds of every finalist, and of the rival at every rung of the ladder.
        learning_rates: Multiples of each point's peak learning rate that everybody is tried with.
        rival_depths: Multiples of the rival's number of sub-layers that are tried at every point.
        rival_widths: The same of its widths.
        ladder: Multiples of the budget that the rival is trained for, 1 among them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    top: Annotated[int, Field(ge=1, le=20)] = 3
    trials: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(max_length=20)] = ()
    scales: Annotated[tuple[Multiple, ...], Field(max_length=MOST_POINTS)] = ()
    targets: Annotated[tuple[Parameters | Target, ...], Field(max_length=MOST_POINTS)] = ()
    budget_seconds: Annotated[tuple[Seconds, ...], Field(min_length=1, max_length=MOST_POINTS)]
    repeats: Annotated[int, Field(ge=2, le=50)] = 5
    learning_rates: Multiples = (0.5, 1.0, 2.0)
    rival_depths: Multiples = (0.5, 1.0, 2.0)
    rival_widths: Multiples = (0.5, 1.0, 2.0)
    ladder: Annotated[tuple[Multiple, ...], Field(min_length=2, max_length=8)] = (
        *(0.25, 0.5, 1.0, 2.0, 4.0),
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        points = len(self.scales) + len(self.targets)
        if not points:
            raise ValueError("a promotion needs scales, targets or both")
        if points > MOST_POINTS:
            raise ValueError(f"at most {MOST_POINTS} scales and targets together, got {points}")
        if len(self.budget_seconds) not in {1, points}:
            raise ValueError(
                f"budget_seconds needs one value, or one for each of the {points} scales and "
                f"targets, got {len(self.budget_seconds)}"
            )
        for name in (
            *("trials", "scales", "targets", "learning_rates"),
            *("rival_depths", "rival_widths", "ladder"),
        ):
            values = getattr(self, name)
            if len(set(values)) != len(values):
                raise ValueError(f"{name}: duplicate choice in {list(values)}")
        for name in ("rival_depths", "rival_widths", "ladder"):
            if 1.0 not in getattr(self, name):
                raise ValueError(f"{name}: 1 must be among {list(getattr(self, name))}")
        return self

    def wanted_targets(self) -> list[Target]:
        """Returns the targets; a size alone keeps the search's data and its vocabulary."""
        return [
            target_of_size(one).model_copy(update={"vocab_size": None})
            if isinstance(one, int)
            else one
            for one in self.targets
        ]


def checked_request(data: object) -> PromotionRequest:
    """Returns a request in plain data.

    Raises:
        InvalidSpec: names every field that breaks a rule.
    """
    try:
        return checked(PromotionRequest, data)
    except BrokenRules as broken:
        raise broken.as_error(InvalidSpec) from None


class Caps(NamedTuple):
    """The largest model that may be trained: an operator's settings; None for no cap."""

    parameters: int | None = None
    memory_bytes: int | None = None


NO_CAPS = Caps()


class Finalist(NamedTuple):
    """A block that is promoted, and the trial that found it."""

    number: int
    genome: Genome


class Shape(BaseModel):
    """A block at a point, as it is trained: its proxy has the point's budget and learning rate."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    label: str
    genome: Genome
    proxy: Proxy


class Entrant(BaseModel):
    """A finalist at a point, or the rival: one shape, or for the rival a family of them.

    Attributes:
        trial: Number of the trial that found it; None for the rival.
        shapes: Empty where the block cannot be scaled to the point.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    trial: int | None
    shapes: tuple[Shape, ...] = ()

    @property
    def name(self) -> str:
        """What people call it."""
        return "rival" if self.trial is None else f"trial {self.trial}"


class PromotionPoint(BaseModel):
    """A scale or target: a budget, and who is trained for it, the rival last."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    label: str
    budget_seconds: float
    entrants: tuple[Entrant, ...]


class Stage(StrEnum):
    """What a run is for."""

    TUNING = "tuning"
    PROOF = "proof"


class PromotedRun(BaseModel):
    """Where one run stands: its point, entrant and shape by index.

    Attributes:
        rate: Multiple of the shape's peak learning rate.
        rung: Multiple of the point's budget.
        repeat: Which repeat; tuning has the first, proof the others.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    point: int
    entrant: int
    shape: int
    rate: float
    stage: Stage
    rung: float = 1.0
    repeat: int = 0


class PromotionPlan(BaseModel):
    """A promotion: its points, and for every trial so far, in order, where it stands.

    Runs are added as tuning ends; `expected` says how many there will be.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["promotion"] = "promotion"
    request: PromotionRequest
    pool: Name
    points: tuple[PromotionPoint, ...]
    runs: tuple[PromotedRun, ...] = ()
    expected: int = 0
    expected_seconds: float = 0.0
    left_out: tuple[str, ...] = ()

    @property
    def dataset(self) -> str:
        """What all of it is trained on."""
        return self.points[0].entrants[-1].shapes[0].proxy.dataset

    @property
    def is_whole(self) -> bool:
        """Whether the proof of every point is among the runs, so that none will follow."""
        proven = {run.point for run in self.runs if run.stage is Stage.PROOF}
        return len(proven) == len(self.points)

    def with_runs(self, runs: Sequence[PromotedRun]) -> PromotionPlan:
        """Returns the plan with further runs."""
        return self.model_copy(update={"runs": (*self.runs, *runs)})

    def shape_of(self, run: PromotedRun) -> Shape:
        """Returns what a run trains."""
        return self.points[run.point].entrants[run.entrant].shapes[run.shape]
