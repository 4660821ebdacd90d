"""Genomes to begin a search with: from a file, or the best of earlier searches.

What comes back goes into `SearchSpec.seeds`; zoo names may stand beside it. Resolved once, when the
spec is written, so that a search never depends on what another one does later.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from brainformer.search.cost.runnable import runnable_genome
from brainformer.search.errors import InvalidGenome, InvalidInput
from brainformer.search.space.genome import Genome, parse_genome
from brainformer.search.space.zoo import ZOO, zoo_names
from brainformer.search.spec import SearchSpec
from brainformer.search.store.contract import SearchStore, TrialFilter
from brainformer.search.yaml_text import YamlProblem, read_yaml

Seed = str | Genome
JSON_LINES = frozenset({".jsonl", ".ndjson", ".jsonlines"})
LIMIT_BYTES = 16 * 2**20


def seeds_from_file(path: Path | str, *, spec: SearchSpec | None = None) -> tuple[Seed, ...]:
    """Returns the genomes and zoo names in a file, in its order.

    JSON or YAML, one entry or a list of them, or JSON lines, one a line. An entry is a zoo name, a
    genome, or what holds one as "genome": an exported block, a trial.

    Args:
        path: The file; .json and .jsonl (or .ndjson) are read as such, anything else as YAML.
        spec: Of the search to begin; given one, seeds that it cannot run are refused too.

    Raises:
        InvalidGenome: names the file, the line or the entry, and what is wrong.
    """
    path = Path(path)
    seeds = []
    for where, entry in _entries(path):
        seed = _seed(entry, where)
        if spec is not None:
            check_seed(seed, spec, where)
        seeds.append(seed)
    if not seeds:
        raise InvalidGenome(f"{path} holds no genome")
    return tuple(seeds)


def best_seeds(store: SearchStore, search_id: str, count: int) -> tuple[Genome, ...]:
    """Returns the fittest completed candidates of an earlier search, the best first.

    Raises:
        NotFound: there is no such search.
    """
    page = store.list_trials(search_id, where=TrialFilter.fittest(), limit=count)
    return tuple(trial.genome for trial in page.items)


def check_seed(seed: Seed, spec: SearchSpec, where: str) -> None:
    """Refuses a seed that the search cannot run.

    Args:
        seed: A zoo name or a genome.
        spec: Of the search.
        where: Where the seed comes from, for the message.

    Raises:
        InvalidGenome: it is unknown, outside the space, or the proxy cannot train it.
    """
    try:
        runnable_genome(seed, spec.resolved_space(), spec.proxy)
    except InvalidGenome as error:
        raise InvalidGenome(f"{where}: {error.message}") from None


def _entries(path: Path) -> Iterator[tuple[str, Any]]:
    """Yields what is in the file, each with where it is."""
    text = _text(path)
    if path.suffix.lower() in JSON_LINES:
        for number, line in enumerate(text.split("\n"), 1):  # U+2028 and its like end no line
            if line.strip():
                where = f"{path}, line {number}"
                yield where, _json(line, where)
        return
    plain = path.suffix.lower() == ".json"
    data = _json(text, str(path)) if plain else _yaml(text, path)
    for place, entry in enumerate(data if isinstance(data, list) else [data], 1):
        yield f"{path}, entry {place}", entry


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > LIMIT_BYTES:
            raise InvalidGenome(f"{path} has more than {LIMIT_BYTES // 2**20} MiB")
        return path.read_text("utf-8-sig")
    except OSError as error:
        raise InvalidGenome(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InvalidGenome(f"{path} is not UTF-8 text") from None


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, " if "\n" in text.strip() else ""
        raise InvalidGenome(
            f"{where}: not JSON: {error.msg} ({place}column {error.colno})"
        ) from None
    except RecursionError:
        raise InvalidGenome(f"{where}: nested too deep") from None
    except _AppearsTwiceError as error:
        raise InvalidGenome(f"{where}: {error}") from None
    except ValueError:  # Python reads no integer of more than 4,300 digits
        raise InvalidGenome(f"{where}: a number is too long to be read") from None


class _AppearsTwiceError(ValueError):
    """A key of a JSON object that appears twice."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _AppearsTwiceError(f"{twice!r} appears twice in one object")
    return found


def _yaml(text: str, path: Path) -> Any:
    try:
        return read_yaml(text, limit_bytes=LIMIT_BYTES).data
    except YamlProblem as error:
        raise InvalidGenome(f"{path}: neither JSON nor YAML: {error}") from None


def _seed(entry: Any, where: str) -> Seed:
    if isinstance(entry, str):
        if entry not in ZOO:
            known = ", ".join(zoo_names())
            raise InvalidGenome(f"{where}: no zoo genome {entry!r}; known: {known}")
        return entry
    held = isinstance(entry, dict) and "genome" in entry
    try:
        genome = parse_genome(entry["genome"] if held else entry)
    except InvalidInput as error:
        raise InvalidGenome(f"{where}: {error.rule}", error.value, error.pointer) from None
    if held and entry.get("digest", genome.digest) != genome.digest:
        raise InvalidGenome(f"{where}: the genome does not have the digest stated beside it")
    return genome
