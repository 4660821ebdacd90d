"""The spec of a search: one pydantic model, YAML for people and JSON over REST."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, TypeAlias

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from search.errors import InvalidSpec
from search.genome import Genome
from search.space import Space, load_preset

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class SearchStatus(StrEnum):
    """Where a search stands. pause: no new trials; stop: none, and the running ones finish."""

    RUNNING = "running"
    PAUSED = "paused"
    STOPPING = "stopping"
    COMPLETED = "completed"
    STOPPED = "stopped"
    CANCELLED = "cancelled"
    FAILED = "failed"


SEARCH_TRANSITIONS: dict[SearchStatus, frozenset[SearchStatus]] = {
    SearchStatus.RUNNING: frozenset(
        {
            SearchStatus.PAUSED,
            SearchStatus.STOPPING,
            SearchStatus.COMPLETED,
            SearchStatus.STOPPED,
            SearchStatus.CANCELLED,
            SearchStatus.FAILED,
        }
    ),
    SearchStatus.PAUSED: frozenset(
        {
            SearchStatus.RUNNING,
            SearchStatus.STOPPING,
            SearchStatus.STOPPED,
            SearchStatus.COMPLETED,
            SearchStatus.CANCELLED,
        }
    ),
    SearchStatus.STOPPING: frozenset(
        {SearchStatus.STOPPED, SearchStatus.COMPLETED, SearchStatus.CANCELLED}
    ),
    SearchStatus.COMPLETED: frozenset(),
    SearchStatus.STOPPED: frozenset(),
    SearchStatus.CANCELLED: frozenset(),
    SearchStatus.FAILED: frozenset(),
}


class Proxy(BaseModel):
    """What all trials of a search share beside the genome.

    Attributes:
        blocks: How often the block is stacked (three in arXiv:2306.00008, section 3.4).
        experts: Experts in every MoE sub-layer.
        head_dim: Width of one attention head; a constant, since 12, 16 and 20 do not divide d.
        batch_size: Sequences a step.
        clock: `wall` stops when the measured training seconds reach the budget; `calibrated`
            turns the budget into a number of steps; `auto` is calibrated on CPU, else wall.
        routing: `causal` always, but to reproduce the paper's leaking rule: `paper`.
        peak_learning_rate: Of the schedule over the fraction of the budget spent.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    blocks: Annotated[int, Field(ge=1, le=256)] = 3
    experts: Annotated[int, Field(ge=1, le=1024)] = 32
    head_dim: Annotated[int, Field(ge=2, le=512, multiple_of=2)] = 64
    vocab_size: Annotated[int, Field(ge=2, le=1_000_000)] = 256
    sequence_length: Annotated[int, Field(ge=2, le=131_072)] = 1024
    batch_size: Annotated[int, Field(ge=1, le=65_536)] = 32
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    optimizer: Literal["adam", "adafactor"] = "adafactor"
    peak_learning_rate: PositiveFloat = 0.01
    warmup_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.05
    schedule: Literal["cosine", "inverse_sqrt", "linear", "constant"] = "cosine"
    gradient_clip: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    load_balance_weight: Annotated[float, Field(ge=0, le=10)] = 0.01
    router_z_weight: Annotated[float, Field(ge=0, le=10)] = 0.001
    dataset: Name = "python-stdlib"
    dataset_hash: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    validation_tokens: Annotated[int, Field(ge=1, le=2**40)] = 65_536
    budget_seconds: Annotated[float, Field(gt=0, le=30 * 24 * 3600)] = 600
    clock: Literal["auto", "wall", "calibrated"] = "auto"
    routing: Literal["causal", "paper"] = "causal"


class Screening(BaseModel):
    """Which of many mutated children is evaluated; `none` is the paper's algorithm."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["none", "gaussian_process"] = "gaussian_process"


class Limits(BaseModel):
    """When a search ends; at least one of the two."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trials: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    hours: PositiveFloat | None = None

    @model_validator(mode="after")
    def _one_limit(self) -> Limits:
        if self.trials is None and self.hours is None:
            raise ValueError("limits need trials, hours or both")
        return self


Algorithm: TypeAlias = Literal["regularized_evolution", "random", "nsga2"]


class SearchSpec(BaseModel):
    """One campaign, as its owner writes it.

    Attributes:
        space: A preset's name or a whole definition.
        baseline: A zoo name or a genome; every pool runs it first, `baseline_repeats` times.
        seeds: Zoo names or genomes that are proposed first.
        limits: `trials` counts candidates alone.
        step_time_slack: A candidate is infeasible above (1 + slack) x the baseline's step time;
            None turns the constraint off.
        pools: Kinds of hardware that may work on this search; empty means any.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    space: str | Space
    proxy: Proxy = Proxy()
    baseline: str | Genome = "glam"
    baseline_repeats: Annotated[int, Field(ge=1, le=100)] = 3
    seeds: Annotated[tuple[str | Genome, ...], Field(max_length=1000)] = ()
    algorithm: Algorithm = "regularized_evolution"
    population_size: Annotated[int, Field(ge=2, le=100_000)] = 50
    tournament_size: Annotated[int, Field(ge=1, le=100_000)] = 10
    screening: Screening = Screening()
    limits: Limits
    confirmations: Annotated[int, Field(ge=0, le=100)] = 3
    confirmation_repeats: Annotated[int, Field(ge=1, le=100)] = 2
    step_time_slack: Annotated[float, Field(ge=0, le=100)] | None = 0.05
    inference_time_slack: Annotated[float, Field(ge=0, le=100)] | None = None
    hurdle: bool = True
    pools: Annotated[tuple[Name, ...], Field(max_length=100)] = ()
    seed: Annotated[int, Field(ge=0, le=2**63 - 1)] = 0
    max_attempts: Annotated[int, Field(ge=1, le=100)] = 3
    lease_seconds: Annotated[float, Field(ge=1, le=86_400)] = 60

    @model_validator(mode="after")
    def _tournament_fits(self) -> SearchSpec:
        if self.tournament_size > self.population_size:
            raise ValueError(
                f"tournament_size must be at most population_size = {self.population_size}, "
                f"got {self.tournament_size}"
            )
        return self

    def resolved_space(self) -> Space:
        """Returns the space, read from the presets where the spec names one."""
        return load_preset(self.space) if isinstance(self.space, str) else self.space


def parse_spec(data: object) -> SearchSpec:
    """Returns the spec in YAML or JSON text, or in plain data.

    Raises:
        InvalidSpec: names the first field that breaks a rule, its value and the rule.
    """
    if isinstance(data, str | bytes):
        try:
            data = yaml.safe_load(data)
        except yaml.YAMLError as error:
            raise InvalidSpec(f"the spec is not YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(data, dict):
        raise InvalidSpec("a spec is a mapping of fields", type(data).__name__)
    try:
        return SearchSpec.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        pointer = "/" + "/".join(str(part) for part in first["loc"])
        value = first.get("input")
        shown = value if isinstance(value, str | int | float | bool) else None
        raise InvalidSpec(first["msg"], shown, pointer) from None
