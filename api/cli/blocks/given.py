"""What a user gives on the command line as a genome, a space or a proxy."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from brainformer.search.errors import InvalidInput, InvalidSpace, NotFound
from brainformer.search.export.genome_file import GenomeExport, read_export
from brainformer.search.export.seed_files import seeds_from_file
from brainformer.search.proxy.builtin_proxies import PROXIES, load_proxy
from brainformer.search.proxy.proxy import Proxy
from brainformer.search.space.genome import Genome
from brainformer.search.space.space import Space, load_preset, parse_space, preset_names
from brainformer.search.space.zoo import zoo_genome, zoo_names

STDIN = Path("/dev/stdin")
EXPORTED = b'"brainformer-genome"'


class Given(NamedTuple):
    """A genome and where it stood: a zoo name, or a file with its line or entry."""

    where: str
    genome: Genome


def genomes_given(source: str, space: Space) -> list[Given]:
    """Returns the genomes that a zoo name, a file or - for standard input holds.

    Args:
        source: As typed.
        space: Where zoo genomes are moved to.

    Raises:
        NotFound: it is neither a zoo name nor a file.
        InvalidGenome: names the file, the line or the entry, and what is wrong.
    """
    if source in zoo_names():
        return [Given(source, zoo_genome(source, space))]
    path = STDIN if source == "-" else Path(source)
    if source != "-" and not path.exists():
        raise NotFound("zoo genome or file", source, zoo_names())
    found = []
    for place, seed in enumerate(seeds_from_file(path), 1):
        genome = zoo_genome(seed, space) if isinstance(seed, str) else seed
        found.append(Given(f"{source}, genome {place}", genome))
    return found


def genome_given(source: str, space: Space) -> Genome:
    """Returns the one genome that a source holds; see `genomes_given`.

    Raises:
        InvalidInput: it holds several.
    """
    found = genomes_given(source, space)
    if len(found) > 1:
        raise InvalidInput(f"{source} holds {len(found)} genomes; give a file with one")
    return found[0].genome


def export_given(path: Path) -> GenomeExport | None:
    """Returns the exported genome in a file; None if there is no file, or something else in it.

    Raises:
        InvalidExport: it is an export that a newer version wrote, or that was changed.
    """
    if not path.is_file() or EXPORTED not in path.read_bytes():
        return None
    return read_export(path)


def space_given(named: str) -> Space:
    """Returns a built-in space, or the one in a file.

    Raises:
        NotFound: there is neither.
        InvalidSpace: names the first field that breaks a rule.
    """
    path = Path(named)
    if named in preset_names() or not path.exists():
        return load_preset(named)
    try:
        return parse_space(path.read_text("utf-8"))
    except OSError as error:
        raise InvalidSpace(f"cannot read the space {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InvalidSpace(f"the space {path} is not UTF-8 text") from None


def proxy_given(named: str | None, space: str) -> Proxy:
    """Returns the built-in proxy of that name; without one that of the space, or `nano`.

    Raises:
        NotFound: there is none; the message lists what there is.
    """
    return load_proxy(named or (space if space in PROXIES else "nano"))
