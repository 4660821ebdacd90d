"""The spec of a search: one pydantic model, YAML for people and JSON over REST."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    StrictBool,
    Tag,
    field_validator,
    model_validator,
)

from brainformer.search.cost.runnable import runnable_genome
from brainformer.search.errors import InvalidGenome, InvalidSpec, NotFound
from brainformer.search.proxy.builtin_proxies import check_named, resolve_proxy
from brainformer.search.proxy.proxy import Name, PositiveFloat, Proxy
from brainformer.search.space.family import BaselineFamily, Member, is_family, read_shorthand
from brainformer.search.space.genome import Genome
from brainformer.search.space.space import Space, load_preset
from brainformer.search.space.zoo import resolve_genome
from brainformer.search.validation import (
    DEFINITION,
    NAME,
    NAME_OR_DEFINITION,
    BrokenRules,
    checked,
)
from brainformer.search.yaml_text import LIMIT_BYTES, YamlProblem, read_yaml


class Screening(BaseModel):
    """How one of many mutated children is chosen; `none` is the paper's algorithm."""

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


def _kind_of_baseline(given: object) -> str:
    return "of-a-family" if is_family(given) else "one-block"


NamedBaseline: TypeAlias = Annotated[
    Annotated[NamedGenome, Tag("one-block")] | Annotated[BaselineFamily, Tag("of-a-family")],
    Discriminator(_kind_of_baseline),
]
Algorithm: TypeAlias = Literal["regularized_evolution", "random", "nsga2"]


class Rival(NamedTuple):
    """A block that candidates may be compared with.

    Attributes:
        proxy: None for the search's own.
        label: What tells it from the family's other members.
    """

    genome: Genome
    proxy: Proxy | None = None
    label: str = ""


class SearchSpec(BaseModel):
    """One campaign, as its owner writes it.

    Attributes:
        space: A preset's name or a whole definition.
        proxy: A built-in proxy's name, or fields of a proxy: those that are left out come from
            the built-in one that `preset` names, or that has the space's name.
        baseline: What candidates are compared with: a zoo name, a genome, or a family of which
            every pool first finds its best member ("glam*", or a mapping with `family`).
        baseline_repeats: Runs of the baseline on every pool before its first candidate.
        seeds: Zoo names or genomes that are proposed first.
        screening: `none`, `gaussian_process`, or a mapping with that as its `kind`.
        limits: `trials` counts candidates only.
        confirmations: How many of the best are finalists, run again with fresh seeds.
        confirmation_repeats: Fresh runs that every finalist starts with, and the baseline beside
            them.
        confirmation_limit: Fresh runs in total, those of the baseline that it does not start with
            included; they go to the finalists between which they decide. By default twice what all
            finalists start with, plus two.
        step_time_slack: A candidate is infeasible above (1 + slack) x the baseline's step time;
            None turns the constraint off.
        pools: Kinds of hardware that may work on this search; empty means any.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    space: NamedSpace
    proxy: Proxy = Proxy()
    baseline: NamedBaseline = "glam"
    baseline_repeats: Annotated[int, Field(ge=1, le=100)] = 3
    seeds: Annotated[tuple[NamedGenome, ...], Field(max_length=1000)] = ()
    algorithm: Algorithm = "regularized_evolution"
    population_size: Annotated[int, Field(ge=2, le=100_000)] = 50
    tournament_size: Annotated[int, Field(ge=1, le=100_000)] = 10
    screening: Screening = Screening()
    limits: Limits
    confirmations: Annotated[int, Field(ge=0, le=100)] = 3
    confirmation_repeats: Annotated[int, Field(ge=1, le=100)] = 3
    confirmation_limit: Annotated[int, Field(ge=0, le=10_000)] | None = None
    step_time_slack: Annotated[float, Field(ge=0, le=100)] | None = 0.05
    inference_time_slack: Annotated[float, Field(ge=0, le=100)] | None = None
    hurdle: StrictBool = True
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
    def _test_split_is_left_alone(self) -> SearchSpec:
        if self.proxy.evaluation_split != "validation":
            raise ValueError(
                "a search is judged by the validation split; the test split is for promotions, "
                "so leave proxy.evaluation_split out"
            )
        return self

    @model_validator(mode="after")
    def _tournament_fits(self) -> SearchSpec:
        if self.tournament_size > self.population_size:
            raise ValueError(
                f"tournament_size must be at most population_size = {self.population_size}, "
                f"got {self.tournament_size}"
            )
        return self

    @field_validator("baseline", mode="before")
    @classmethod
    def _family_by_its_shorthand(cls, given: Any) -> Any:
        return read_shorthand(given)

    @property
    def confirmation_runs(self) -> int:
        """Fresh runs that confirming may spend."""
        if self.confirmation_limit is not None:
            return self.confirmation_limit
        return 2 * self.confirmations * self.confirmation_repeats + 2

    def rivals(self) -> list[Rival]:
        """Returns the baseline, or every member of its family that can be trained.

        Raises:
            InvalidGenome: there is no zoo genome of that name, or no member fits; names why the
                first one does not.
        """
        space = self.resolved_space()
        if not isinstance(self.baseline, BaselineFamily):
            return [Rival(runnable_genome(self.baseline, space, self.proxy))]
        members = self.baseline.members(space, head_dim=self.proxy.head_dim)
        members = _runnable(members, space, self.proxy)
        return [
            self._rival(member, rate) for member in members for rate in self.baseline.learning_rates
        ]

    def _rival(self, member: Member, rate: float) -> Rival:
        genome, label = member.genome, member.shape
        if isinstance(self.baseline, BaselineFamily) and self.baseline.also:
            label = f"{member.block}, {label}"
        if rate == 1:
            return Rival(genome, None, label)
        peak = rate * self.proxy.peak_learning_rate
        proxy = self.proxy.model_copy(update={"peak_learning_rate": peak})
        return Rival(genome, proxy, f"{label}, learning rate x{rate:g}")

    def resolved_space(self) -> Space:
        """Returns the space, read from the presets where the spec names one."""
        return load_preset(self.space) if isinstance(self.space, str) else self.space


def _runnable(members: list[Member], space: Space, proxy: Proxy) -> list[Member]:
    """Returns the members that a search may run.

    Raises:
        InvalidGenome: it may run none of them; names why not the first one.
    """
    found: list[Member] = []
    refused: list[InvalidGenome] = []
    for member in members:
        try:
            genome = runnable_genome(member.genome, space, proxy)
            found.append(member._replace(genome=genome))
        except InvalidGenome as error:
            refused.append(error)
    if not found:
        raise refused[0]
    return found


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
        met = "nothing" if data is None else "a list" if isinstance(data, list) else "one value"
        raise InvalidSpec(
            f"a spec must be a mapping with name, space, limits ..., and this is {met}"
        )
    try:
        return checked(SearchSpec, data)
    except BrokenRules as broken:
        raise broken.as_error(InvalidSpec, lines) from None


def read_spec_file(file: Path) -> str:
    """Returns the text of a spec file.

    Raises:
        InvalidSpec: it cannot be read.
    """
    try:
        return file.read_text("utf-8-sig")
    except OSError as error:
        raise InvalidSpec(f"cannot read the spec {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InvalidSpec(f"the spec {file} is not UTF-8 text") from None


class ResolvedSpec(NamedTuple):
    """What a spec names.

    Attributes:
        space: Read from the presets where the spec names one.
        rivals: The baseline, or the members of its family that the search may run.
        seeds: By the JSON pointer of where they stand in the spec.
    """

    space: Space
    rivals: list[Rival]
    seeds: dict[str, Genome]


def resolve_spec(spec: SearchSpec) -> ResolvedSpec:
    """Returns the space and the genomes that a spec names, all of which its search may run.

    Raises:
        InvalidSpec: names the field.
    """
    try:
        space = spec.resolved_space()
    except NotFound as error:
        raise InvalidSpec(error.message, pointer="/space") from None
    seeds = {f"/seeds/{index}": seed for index, seed in enumerate(spec.seeds)}
    return ResolvedSpec(
        space,
        _rivals_of(spec, space),
        {where: genome_at(where, one, space, spec.proxy) for where, one in seeds.items()},
    )


def _rivals_of(spec: SearchSpec, space: Space) -> list[Rival]:
    if not isinstance(spec.baseline, BaselineFamily):
        return [Rival(genome_at("/baseline", spec.baseline, space, spec.proxy))]
    named = {"/baseline/family": spec.baseline.family}
    named |= {f"/baseline/also/{at}": one for at, one in enumerate(spec.baseline.also)}
    for where, block in named.items():
        try:
            resolve_genome(block, space)
        except NotFound as error:
            raise InvalidSpec(error.message, pointer=where) from None
    try:
        return spec.rivals()
    except InvalidGenome as error:
        raise InvalidSpec(error.message, pointer="/baseline") from None


def genome_at(where: str, named: str | Genome, space: Space, proxy: Proxy | None) -> Genome:
    """Returns a genome that a spec names, if its search may run it.

    Args:
        where: JSON pointer of where it stands in the spec.
        named: A zoo name or a genome.
        space: Of the search.
        proxy: Of the search; None where its caller evaluates genomes.

    Raises:
        InvalidSpec: it may not; names the field.
    """
    try:
        return runnable_genome(named, space, proxy)
    except InvalidGenome as error:
        if isinstance(named, str):
            raise InvalidSpec(error.message, pointer=where) from None
        raise InvalidSpec(error.rule, error.value, where + error.pointer) from None
