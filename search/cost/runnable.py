"""The rule by which a genome may run in a search: known, inside the space, fit for the proxy."""

from __future__ import annotations

from brainformer.search.cost.trainable import check_trainable
from brainformer.search.errors import InvalidGenome, NotFound
from brainformer.search.proxy.proxy import Proxy
from brainformer.search.space.genome import Genome
from brainformer.search.space.space import Space
from brainformer.search.space.zoo import resolve_genome


def runnable_genome(named: str | Genome, space: Space, proxy: Proxy | None) -> Genome:
    """Returns the genome itself, or the zoo's of that name, if a search may run it.

    Args:
        named: A zoo name or a genome.
        space: Of the search.
        proxy: Of the search; None where its caller evaluates genomes, by whatever means.

    Raises:
        InvalidGenome: no zoo genome has that name, the genome lies outside the space, or the proxy
            cannot train it; names the field.
    """
    try:
        genome = resolve_genome(named, space)
    except NotFound as error:
        raise InvalidGenome(error.message) from None
    if proxy is not None:
        check_trainable(genome, proxy)
    why = space.objection(genome)
    if why is not None:
        raise InvalidGenome(f"the genome lies outside the space {space.name!r}: {why}")
    return genome
