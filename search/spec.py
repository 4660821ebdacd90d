"""The spec of a search: one pydantic model, YAML for people and JSON over REST."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from brainformer.search.errors import InvalidSpec
from brainformer.search.proxy.builtin_proxies import check_named, resolve_proxy
from brainformer.search.proxy.proxy import Name, PositiveFloat, Proxy
from brainformer.search.space.genome import Genome
from brainformer.search.space.space import Space, load_preset
from brainformer.search.validation import (
    DEFINITION,
    NAME,
    NAME_OR_DEFINITION,
    BrokenRules,
    checked,
)
from brainformer.search.yaml_text import LIMIT_BYTES, YamlProblem, read_yaml


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


# The pool of searches that their caller evaluates: dispatchers never serve it.
ASK_TELL_POOL = "ask-tell"

NamedSpace: TypeAlias = Annotated[
    Annotated[str, NAME] | Annotated[Space, DEFINITION], NAME_OR_DEFINITION
]
NamedGenome: TypeAlias = Annotated[
    Annotated[str, NAME] | Annotated[Genome, DEFINITION], NAME_OR_DEFINITION
]
Algorithm: TypeAlias = Literal["regularized_evolution", "random", "nsga2"]


class SearchSpec(BaseModel):
    """One campaign, as its owner writes it.

    Attributes:
        space: A preset's name or a whole definition.
        proxy: A built-in proxy's name, or fields of a proxy: those that are left out come from
            the built-in one that `preset` names, or that bears the space's name.
        baseline: A zoo name or a genome; every pool runs it first, `baseline_repeats` times.
        seeds: Zoo names or genomes that are proposed first.
        screening: `none`, `gaussian_process`, or a mapping with that as its `kind`.
        limits: `trials` counts candidates alone.
        step_time_slack: A candidate is infeasible above (1 + slack) x the baseline's step time;
            None turns the constraint off.
        pools: Kinds of hardware that may work on this search; empty means any.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    space: NamedSpace
    proxy: Proxy = Proxy()
    baseline: NamedGenome = "glam"
    baseline_repeats: Annotated[int, Field(ge=1, le=100)] = 3
    seeds: Annotated[tuple[NamedGenome, ...], Field(max_length=1000)] = ()
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

    @model_validator(mode="before")
    @classmethod
    def _whole_proxy(cls, data: Any) -> Any:
        if not isinstance(data, dict) or isinstance(data.get("proxy"), Proxy):
            return data
        return {**data, "proxy": resolve_proxy(data.get("proxy", {}), data.get("space"))}

    @field_validator("screening", mode="before")
    @classmethod
    def _named_screening(cls, given: Any) -> Any:
        return {"kind": given} if isinstance(given, str) else given

    @field_validator("proxy", mode="before")
    @classmethod
    def _known_proxy(cls, given: Any) -> Any:
        return check_named(given)

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


def parse_spec(data: object, *, limit_bytes: int = LIMIT_BYTES) -> SearchSpec:
    """Returns the spec in YAML or JSON text, or in plain data.

    Args:
        data: The spec.
        limit_bytes: Of a text.

    Raises:
        InvalidSpec: names every field that breaks a rule, its value, the rule and the line.
    """
    lines: Mapping[str, int] = {}
    if isinstance(data, str | bytes):
        try:
            text = read_yaml(data, limit_bytes=limit_bytes)
        except YamlProblem as error:
            raise InvalidSpec(f"the spec is not YAML: {error}") from None
        data, lines = text.data, text.lines
    if not isinstance(data, dict):
        raise InvalidSpec("a spec is a mapping of fields", type(data).__name__)
    try:
        return checked(SearchSpec, data)
    except BrokenRules as broken:
        raise broken.as_error(InvalidSpec, lines) from None
