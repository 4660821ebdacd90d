"""Seeds that `brainformer search create` adds to a spec: zoo names, earlier searches, files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from brainformer.api.cli.terminal.address import search_path
from brainformer.api.cli.terminal.controller_client import ControllerClient
from brainformer.api.cli.terminal.output import say
from brainformer.search.errors import InvalidInput, NotFound
from brainformer.search.export.seed_files import Seed, check_seed, seeds_from_file
from brainformer.search.space.genome import Genome, parse_genome
from brainformer.search.spec import SearchSpec, parse_spec
from brainformer.search.trials.trial import TrialKind, TrialStatus

EARLIER = re.compile(r"([A-Za-z0-9._-]+)(?::([0-9]{1,4}))?")
BEST = 10  # of an earlier search, if no number is given
MOST = 1000  # seeds that a spec may have


def with_seeds(
    spec: SearchSpec,
    client: ControllerClient,
    *,
    zoo: Sequence[str] = (),
    searches: Sequence[str] = (),
    files: Sequence[Path] = (),
) -> SearchSpec:
    """Returns the spec with further seeds behind its own; files are read before anyone is asked.

    Args:
        spec: As its owner wrote it.
        client: Of the controller that holds the earlier searches.
        zoo: Names in the zoo.
        searches: "SEARCH" or "SEARCH:COUNT", id or name, for its best completed candidates.
        files: See `seeds_from_file`.

    Raises:
        InvalidGenome: a seed is not a genome, or one that this search cannot run.
        InvalidInput: a search is not written as above, or the spec has too many seeds.
        NotFound: there is no such search, or it has no completed candidate.
    """
    earlier = [_parse_earlier(text) for text in searches]
    for name in zoo:
        check_seed(name, spec, f"--seed-zoo {name}")
    filed = [seed for path in files for seed in seeds_from_file(path, spec=spec)]
    best = [seed for named, count in earlier for seed in _best(client, spec, named, count)]
    added: list[Seed] = [*zoo, *best, *filed]
    if not added:
        return spec
    plain = spec.model_dump(mode="json")
    seeds = [seed if isinstance(seed, str) else seed.canonical() for seed in added]
    return parse_spec(plain | {"seeds": [*plain["seeds"], *seeds]})


def _parse_earlier(text: str) -> tuple[str, int]:
    match = EARLIER.fullmatch(text)
    count = BEST if match is None or match[2] is None else int(match[2])
    if match is None or not 1 <= count <= MOST:
        raise InvalidInput(
            f"--seed-search takes SEARCH or SEARCH:COUNT, a count from 1 to {MOST}", text
        )
    return match[1], count


def _best(client: ControllerClient, spec: SearchSpec, named: str, count: int) -> list[Genome]:
    search = client.get(f"/searches/{search_path(named)}")["id"]
    page = client.get(
        f"/searches/{search}/trials",
        status=TrialStatus.COMPLETED.value,
        kind=TrialKind.CANDIDATE.value,
        sort="-fitness",
        limit=count,
    )
    if not page["items"]:
        raise NotFound("completed candidate in search", named)
    if len(page["items"]) < count:
        say(f"search {named} has {len(page['items'])} completed candidates; all of them are seeds")
    genomes = []
    for row in page["items"]:
        genome = parse_genome(row["genome"])
        check_seed(genome, spec, f"trial {row['number']} of search {named}")
        genomes.append(genome)
    return genomes
