"""Spaces: the choices per field of a genome, as data.

Table 1 of arXiv:2306.00008 is the preset `brainformer-100m32e`; `nano` has the same shape at a
size that a CPU trains in seconds.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, cached_property, lru_cache
from importlib.resources import files
from typing import Annotated, Any, Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from brainformer.search.errors import InvalidSpace, NotFound
from brainformer.search.space.genome import (
    LAYER_KINDS,
    MAX_WIDTH,
    Genome,
    Layer,
    SubLayer,
    Width,
)
from brainformer.search.validation import BrokenRules, checked, first_problem
from brainformer.search.yaml_text import YamlProblem, read_yaml

Choice = int | float | str
LayerKey = tuple[str, tuple[tuple[str, Choice], ...]]  # kind, and each field's name and choice
OPERATOR_NAMES = frozenset(
    {"change_field", "change_kind", "insert", "delete", "swap", "change_model_dim"}
)
Choices = Annotated[tuple[Choice, ...], Field(min_length=1, max_length=256)]


class Dice(Protocol):
    """A source of numbers from 0 to below 1: NumPy's generator, or Python's, which is faster."""

    def random(self) -> float:
        """Returns the next number."""


class Space(BaseModel):
    """The choices per field and the range of block lengths.

    Attributes:
        layers: For each allowed kind of sub-layer, the choices of each field; fields that are not
            named keep their default.
        min_layers: Number of sub-layers of the shortest block.
        max_layers: Number of sub-layers of the longest block; may equal `min_layers`.
        mutation_weights: Relative frequency of each operator of `evolution/mutation.py`; those not
            named keep their default.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
    model_dim: Annotated[tuple[Width, ...], Field(min_length=1, max_length=256)]
    min_layers: Annotated[int, Field(ge=1, le=64)]
    max_layers: Annotated[int, Field(ge=1, le=64)]
    layers: Annotated[dict[str, dict[str, Choices]], Field(min_length=1)]
    mutation_weights: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = {}

    @model_validator(mode="after")
    def _consistent(self) -> Space:
        if self.min_layers > self.max_layers:
            raise ValueError(
                f"min_layers must be at most max_layers, got {self.min_layers} > {self.max_layers}"
            )
        unknown = set(self.mutation_weights) - OPERATOR_NAMES
        if unknown:
            known = sorted(OPERATOR_NAMES)
            raise ValueError(f"mutation_weights: unknown {sorted(unknown)}; known: {known}")
        for kind, fields in self.layers.items():
            if kind not in LAYER_KINDS:
                raise ValueError(f"layers.{kind}: unknown kind; known: {sorted(LAYER_KINDS)}")
            _check_fields(kind, fields)
        if len(set(self.model_dim)) != len(self.model_dim):
            raise ValueError(f"model_dim: duplicate choice in {list(self.model_dim)}")
        if len(self.mutation_weights) == len(OPERATOR_NAMES) and not any(
            self.mutation_weights.values()
        ):
            raise ValueError("mutation_weights: at least one must be above 0")
        _check_together(self.model_dim, self.layers)
        return self

    def sample(self, *, rng: np.random.Generator) -> Genome:
        """Returns a random genome: each field uniform over its choices."""
        length = int(rng.integers(self.min_layers, self.max_layers + 1))
        drawn = [self.draw_layer(rng=rng) for _ in range(length)]
        layers = tuple(make_layer(*key) for key in drawn)
        return Genome(model_dim=self.draw_model_dim(rng=rng), layers=layers)

    def draw_length(self, *, rng: Dice) -> int:
        """Returns a random number of sub-layers."""
        return self.min_layers + random_index(self.max_layers + 1 - self.min_layers, rng)

    def draw_model_dim(self, *, rng: Dice) -> int:
        """Returns a random model dim."""
        return int(_pick(self.model_dim, rng))

    def draw_layer(self, *, kind: str | None = None, rng: Dice) -> LayerKey:
        """Returns the arguments of `make_layer` for a random sub-layer, of `kind` if given."""
        kind = kind or _pick(tuple(self.layers), rng)
        fields = [(name, _pick(choices, rng)) for name, choices in self.layers[kind].items()]
        return kind, tuple(fields)

    @cached_property
    def open_fields(self) -> dict[str, tuple[str, ...]]:
        """The fields of each kind of sub-layer that have more than one choice."""
        return {
            kind: tuple(name for name, choices in fields.items() if len(choices) > 1)
            for kind, fields in self.layers.items()
        }

    def contains(self, genome: Genome) -> bool:
        """Returns whether every field of `genome` is one of this space's choices."""
        return self.objection(genome) is None

    def objection(self, genome: Genome) -> str | None:
        """Returns why `genome` is outside this space, None if it is inside."""
        if genome.model_dim not in self.model_dim:
            return f"model_dim {genome.model_dim} is not one of {list(self.model_dim)}"
        if not self.min_layers <= len(genome.layers) <= self.max_layers:
            count = len(genome.layers)
            return f"{count} sub-layers; this space has {self.min_layers} to {self.max_layers}"
        reasons = (self._against(layer, place) for place, layer in enumerate(genome.layers))
        return next((why for why in reasons if why is not None), None)

    def _against(self, layer: Layer, place: int) -> str | None:
        if layer.kind not in self.layers:
            return f"layers.{place}: kind {layer.kind} is not one of {sorted(self.layers)}"
        choices = self.layers[layer.kind]
        for name, info in type(layer).model_fields.items():
            if name == "kind":
                continue
            allowed = choices.get(name, (info.default,))
            value = getattr(layer, name)
            if value not in allowed:
                return f"layers.{place}: {layer.kind}.{name} {value} is not one of {list(allowed)}"
        return None

    def enumerate(self) -> Iterator[Genome]:
        """Yields every genome; only for spaces whose `size` is small."""
        every = [layer for kind in self.layers for layer in self.layers_of(kind)]
        for dim in self.model_dim:
            for length in range(self.min_layers, self.max_layers + 1):
                for layers in itertools.product(every, repeat=length):
                    yield Genome(model_dim=dim, layers=layers)

    def layers_of(self, kind: str) -> list[Layer]:
        """Returns every sub-layer of one kind."""
        fields = self.layers[kind]
        combinations = itertools.product(*fields.values())
        return [
            make_layer(kind, tuple(zip(fields, values, strict=True))) for values in combinations
        ]

    def size(self) -> int:
        """Returns the number of distinct genomes."""
        per_layer = sum(_product(fields) for fields in self.layers.values())
        lengths = range(self.min_layers, self.max_layers + 1)
        blocks: int = sum(per_layer**length for length in lengths)
        return len(self.model_dim) * blocks


@lru_cache(maxsize=65_536)
def make_layer(kind: str, fields: tuple[tuple[str, Choice], ...]) -> Layer:
    """Returns the sub-layer; cached, because a search draws the same few again and again."""
    return LAYER_KINDS[kind].model_validate(dict(fields))


def preset_names() -> list[str]:
    """Returns the names of the built-in spaces."""
    names = (path.name for path in (files("brainformer.search.space") / "presets").iterdir())
    return sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml"))


@cache
def load_preset(name: str) -> Space:
    """Returns the built-in space of that name.

    Raises:
        NotFound: there is none; the message lists the known ones.
    """
    if name not in preset_names():
        raise NotFound("space", name, preset_names())
    return parse_space(
        (files("brainformer.search.space") / "presets" / f"{name}.yaml").read_text("utf-8")
    )


def parse_space(data: object) -> Space:
    """Returns the space in YAML or JSON text, or in plain data.

    Raises:
        InvalidSpace: names every field that breaks a rule, and the line.
    """
    lines: Mapping[str, int] = {}
    if isinstance(data, str | bytes):
        try:
            text = read_yaml(data)
        except YamlProblem as error:
            raise InvalidSpace(f"the space is not YAML: {error}") from None
        data, lines = text.data, text.lines
    try:
        return checked(Space, data)
    except BrokenRules as broken:
        raise broken.as_error(InvalidSpace, lines) from None


def _check_fields(kind: str, fields: dict[str, tuple[Choice, ...]]) -> None:
    model = LAYER_KINDS[kind]
    names = [name for name in model.model_fields if name != "kind"]
    unknown = set(fields) - set(names)
    if unknown:
        raise ValueError(f"layers.{kind}: unknown fields {sorted(unknown)}; known: {names}")
    missing = [n for n in names if model.model_fields[n].is_required() and n not in fields]
    if missing:
        raise ValueError(f"layers.{kind}: choices missing for {missing}")
    first: dict[str, Any] = {name: choices[0] for name, choices in fields.items()}
    for name, choices in fields.items():
        if len(set(choices)) != len(choices):
            raise ValueError(f"layers.{kind}.{name}: duplicate choice in {list(choices)}")
        for choice in choices:
            _check_choice(f"layers.{kind}.{name}", model, first | {name: choice}, name)


def _check_choice(where: str, model: type[SubLayer], fields: dict[str, Any], name: str) -> None:
    """Refuses values that the sub-layer refuses or would read as something else ("4" as 4)."""
    try:
        read = getattr(model.model_validate(fields), name)
    except ValidationError as error:
        raise ValueError(f"{where}: {first_problem(error).rule}, got {fields[name]!r}") from None
    if read != fields[name]:
        raise ValueError(f"{where}: write {read!r}, not {fields[name]!r}")


def _check_together(model_dims: Sequence[int], layers: dict[str, dict[str, Choices]]) -> None:
    """Refuses choices if some combination of them is not a valid genome."""
    dense, experts = layers.get("feed_forward", {}), layers.get("moe", {})
    ranks, widths = dense.get("rank", (0,)), dense.get("hidden_dim", ())
    widest = max(int(rank) for rank in ranks)
    narrowest = min(*model_dims, *(int(width) for width in widths), MAX_WIDTH)
    if widest > narrowest:
        raise ValueError(
            "layers.feed_forward.rank: must be at most the smallest model_dim and hidden_dim = "
            f"{narrowest}, got {widest}"
        )
    if "expert_choice" in experts.get("gating", ()) and 0 in experts.get("capacity_factor", (1,)):
        raise ValueError(
            "layers.moe.capacity_factor: must be above 0 if gating can be expert_choice"
        )


def random_index(count: int, rng: Dice) -> int:
    """Returns a number below `count`, all equally likely."""
    return int(rng.random() * count)


def _pick(choices: tuple[Any, ...], rng: Dice) -> Any:
    return choices[random_index(len(choices), rng)]


def _product(fields: dict[str, tuple[Choice, ...]]) -> int:
    count = 1
    for choices in fields.values():
        count *= len(choices)
    return count
