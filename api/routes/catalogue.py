"""What a search may be made of: spaces, zoo, data sets; who works; what a genome costs."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from brainformer.api.dependencies import Parts, Reads
from brainformer.api.gate.admission import BUILT_IN_DATASETS
from brainformer.api.gate.strict_body import body_schema, strict_body
from brainformer.api.problems.problem import problems
from brainformer.api.routes.answers import answer
from brainformer.api.schemas import (
    DataSet,
    DataSets,
    GenomeFacts,
    GenomeQuestion,
    NamedSpace,
    Spaces,
    Workers,
    Zoo,
    ZooGenome,
)
from brainformer.search.cost import cost
from brainformer.search.cost.trainable import check_trainable
from brainformer.search.errors import InvalidGenome
from brainformer.search.proxy.builtin_proxies import UNTUNED, load_proxy
from brainformer.search.space.space import load_preset, preset_names
from brainformer.search.space.zoo import zoo_genome, zoo_names

router = APIRouter(tags=["catalogue"], dependencies=[Reads])


@router.get("/spaces", response_model=Spaces, responses=problems())
def list_spaces() -> Response:
    """Lists the built-in spaces, each with the proxy that is named after it."""
    found = ((name, load_preset(name)) for name in preset_names())
    items = tuple(
        NamedSpace(
            name=name,
            size=float(space.size()),
            space=space,
            proxy=load_proxy(name),
            tuned=name not in UNTUNED,
        )
        for name, space in found
    )
    return answer(Spaces(items=items))


@router.get("/zoo", response_model=Zoo, responses=problems(404))
def list_zoo(
    space: Annotated[
        str, Query(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$", description="A built-in space.")
    ] = "nano",
) -> Response:
    """Lists the named genomes of the literature, moved to a space."""
    home = load_preset(space)
    genomes = ((name, zoo_genome(name, home)) for name in zoo_names())
    items = tuple(ZooGenome(name=name, genome=g, digest=g.digest) for name, g in genomes)
    return answer(Zoo(space=space, items=items))


@router.post(
    "/genomes/facts",
    response_model=GenomeFacts,
    responses=problems(413),
    openapi_extra=body_schema(GenomeQuestion),
)
def tell_genome_facts(
    question: Annotated[GenomeQuestion, strict_body(GenomeQuestion)],
) -> Response:
    """Checks a genome and tells its digest, size, FLOPs and memory under a proxy."""
    genome, proxy = question.genome, question.proxy
    reason = ""
    try:
        check_trainable(genome, proxy)
    except InvalidGenome as error:
        reason = error.message
    facts = GenomeFacts(
        digest=genome.digest,
        genome=genome,
        parameters=cost.parameters(genome, proxy),
        activated_parameters=cost.activated_parameters(genome, proxy),
        flops_per_token=cost.flops_per_token(genome, proxy),
        memory_bytes=cost.memory_bytes(genome, proxy),
        trainable=not reason,
        reason=reason,
    )
    return answer(facts)


@router.get("/datasets", response_model=DataSets, responses=problems())
def list_datasets(parts: Parts) -> Response:
    """Lists the data set ids that a search may name."""
    items = tuple(
        DataSet(id=name, built_in=name in BUILT_IN_DATASETS, hash=digest)
        for name, digest in parts.datasets.all().items()
    )
    return answer(DataSets(items=items))


@router.get("/workers", response_model=Workers, responses=problems())
def list_workers(parts: Parts) -> Response:
    """Lists the workers that have claimed leases, latest first."""
    return answer(Workers.model_construct(items=tuple(parts.store.workers())))
