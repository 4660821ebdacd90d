"""What stands in columns as text or seconds, as the values that it means."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import lru_cache

from pydantic_core import from_json

from brainformer.search.proxy.proxy import Proxy
from brainformer.search.space.genome import LAYER_KINDS, Genome, Layer
from brainformer.search.spec import Limits, SearchSpec
from brainformer.search.trials.trial import CurvePoint, Measurements

NO_MEASUREMENTS = Measurements()
CURVE = ',"curve":['


def when(seconds: float | None) -> datetime | None:
    """Returns a time as people's software reads it."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def at(seconds: float) -> datetime:
    """Returns a time that is there."""
    return datetime.fromtimestamp(seconds, UTC)


@lru_cache(maxsize=256)
def read_spec(text: str) -> SearchSpec:
    """Returns the spec; kept, since every claim needs it."""
    return SearchSpec.model_validate_json(text)


@lru_cache(maxsize=8192)
def read_limits(text: str) -> Limits:
    """Returns the limits in a stored spec without reading the rest; kept, as the spec is."""
    return Limits.model_validate(from_json(text)["limits"])


@lru_cache(maxsize=256)
def read_proxy(text: str) -> Proxy:
    """Returns a trial's own proxy; kept, since many trials share one."""
    return Proxy.model_validate_json(text)


@lru_cache(maxsize=8192)
def read_genome(text: str) -> Genome:
    """Returns the genome of a canonical JSON; kept, since listings show the same ones again.

    Genomes of a search are many, their sub-layers few: only those are validated.
    """
    plain = from_json(text)
    layers = tuple(read_layer(layer.pop("kind"), tuple(layer.items())) for layer in plain["layers"])
    return Genome.model_construct(**(plain | {"layers": layers}))


@lru_cache(maxsize=8192)
def read_layer(kind: str, fields: tuple[tuple[str, object], ...]) -> Layer:
    """Returns the sub-layer of these fields; kept, since a search has few different ones."""
    return LAYER_KINDS[kind].model_validate(dict(fields))


def read_measurements(text: str | None, points: str | None = None) -> Measurements:
    """Returns what was measured; while the trial runs, the points it has reported."""
    measured = NO_MEASUREMENTS if text is None else Measurements.model_validate_json(text)
    if points is None or measured.curve:
        return measured
    curve = tuple(CurvePoint.model_validate(point) for point in json.loads(points))
    return measured.model_copy(update={"curve": curve})


def lean_measurements(text: str | None) -> Measurements:
    """Returns what was measured without curve and expert loads, which make listings heavy."""
    return NO_MEASUREMENTS if text is None else Measurements.model_validate(lean_values(text))


def lean_values(text: str | None) -> dict[str, object]:
    """Returns the values of a stored measurement without curve and expert loads.

    The curve is the last field and most of the text: it is cut off before the rest is parsed.
    Quotes within strings are escaped, so nothing else can look like its beginning.
    """
    if text is None:
        return {}
    head, cut, _ = text.partition(CURVE)
    values: dict[str, object] = from_json(f"{head}}}" if cut else text)
    values.pop("curve", None)
    values.pop("expert_load", None)
    return values
