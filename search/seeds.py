"""Genomes to begin a search with: from a file, or the best of earlier searches.

What comes back goes into `SearchSpec.seeds`; zoo names may stand beside it. Resolved once, when the
spec is written, so that a search never depends on what another one does later.
"""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from search.errors import InvalidGenome
from search.genome import Genome, parse_genome
from search.store import SearchStore, TrialFilter
from search.trial import TrialKind, TrialStatus

Seed = str | Genome


def seeds_from_file(path: Path) -> tuple[Seed, ...]:
    """Returns the genomes and zoo names in a file: JSON or YAML (one or a list), or JSON lines.

    Raises:
        InvalidGenome: the file is none of these, or names the entry that is no genome.
    """
    text = path.read_text("utf-8")
    try:
        data = _lines(text) if path.suffix == ".jsonl" else yaml.safe_load(text)
    except (yaml.YAMLError, json.JSONDecodeError) as error:
        raise InvalidGenome(f"{path.name} is neither JSON nor YAML: {error}") from None
    entries = data if isinstance(data, list) else [data]
    return tuple(_seed(entry, place) for place, entry in enumerate(entries))


def best_seeds(store: SearchStore, search_id: str, count: int) -> tuple[Genome, ...]:
    """Returns the fittest completed candidates of an earlier search, the best first.

    Raises:
        NotFound: there is no such search.
    """
    where = TrialFilter(
        statuses=(TrialStatus.COMPLETED,), kinds=(TrialKind.CANDIDATE,), sort="-fitness"
    )
    page = store.list_trials(search_id, where=where, limit=count)
    return tuple(trial.genome for trial in page.items)


def _lines(text: str) -> list[object]:
    return [json.loads(line) for line in text.splitlines() if line.strip()]


def _seed(entry: object, place: int) -> Seed:
    if isinstance(entry, str):
        return entry
    try:
        return parse_genome(entry)
    except InvalidGenome as error:
        raise InvalidGenome(error.rule, error.value, f"/{place}{error.pointer}") from None
