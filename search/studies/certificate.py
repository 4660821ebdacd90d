"""Certificates: how well a search's proxy ranks blocks, by trials of longer and larger training.

The best blocks of the search and others spread over the rest are run with several seeds, for the
proxy's budget and multiples of it, at its width and multiples. What the proxy's ranks say of the
others is what they are worth (see `estimates/fidelity.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from brainformer.search.cost.trainable import check_trainable
from brainformer.search.errors import InvalidGenome, InvalidSpec
from brainformer.search.proxy.proxy import Proxy
from brainformer.search.scaling.widths import ScaleModelDim
from brainformer.search.space.family import spread
from brainformer.search.space.genome import Genome
from brainformer.search.studies.plan import PlannedRun

FEWEST_BLOCKS = 8
Multiple = Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)]
Multiples = Annotated[tuple[Multiple, ...], Field(min_length=1, max_length=8)]


class CertificateRequest(BaseModel):
    """What is asked of a certificate.

    Attributes:
        blocks: Half of them the search's best, half spread over its other completed candidates.
        repeats: Seeds of each block.
        budgets: Multiples of the proxy's budget, 1 among them; the largest is the target.
        scales: Multiples of the block's widths, 1 among them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    blocks: Annotated[int, Field(ge=FEWEST_BLOCKS, le=200)] = 16
    repeats: Annotated[int, Field(ge=1, le=20)] = 2
    budgets: Multiples = (1.0, 3.0, 6.0)
    scales: Multiples = (1.0, 2.0)


class CertifiedRun(BaseModel):
    """Where one run stands in the certificate: its block, budget, scale and repeat by index."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    block: int
    budget: int
    scale: int
    repeat: int


class CertificatePlan(BaseModel):
    """A certificate: the blocks, and for every trial, by number, where it stands.

    The last block is the rival, which is run like the others and compared with, not ranked.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["certificate"] = "certificate"
    request: CertificateRequest
    blocks: tuple[Genome, ...]
    parents: tuple[int | None, ...]
    runs: tuple[CertifiedRun, ...]
    left_out: tuple[str, ...] = ()


def plan_certificate(
    request: CertificateRequest,
    candidates: Sequence[tuple[int, Genome]],
    rival: Genome,
    proxy: Proxy,
    pool: str,
) -> tuple[CertificatePlan, list[PlannedRun]]:
    """Returns the plan and its runs, cheap ones first, so that a part of it says something.

    Args:
        request: What is asked for.
        candidates: Numbers and genomes of completed candidates, the best first.
        rival: What the search compares with.
        proxy: The search's, with the hash of its data.
        pool: Where all of it runs.

    Raises:
        InvalidSpec: there are fewer candidates than blocks, or 1 is not among the multiples.
    """
    _check(request, len(candidates))
    chosen = spread_over(candidates, request.blocks)
    blocks = (*(genome for _, genome in chosen), rival)
    parents = (*(number for number, _ in chosen), None)
    runs: list[CertifiedRun] = []
    planned: list[PlannedRun] = []
    left_out: list[str] = []
    for budget in sorted(range(len(request.budgets)), key=request.budgets.__getitem__):
        for scale, factor in enumerate(request.scales):
            own = _longer(proxy, request.budgets[budget])
            for block, genome in enumerate(blocks):
                try:
                    wider = _wider(genome, factor, own)
                except InvalidGenome as error:
                    left_out.append(f"block {block} at width x{factor:g}: {error.message}")
                    continue
                label = f"block {block}, budget x{request.budgets[budget]:g}, width x{factor:g}"
                for repeat in range(request.repeats):
                    at = {"block": block, "budget": budget, "scale": scale, "repeat": repeat}
                    runs.append(CertifiedRun.model_validate(at))
                    common = {"repeat": repeat, "label": label, "parent": parents[block]}
                    planned.append(PlannedRun(genome=wider, proxy=own, pool=pool, **common))
    plan = CertificatePlan(
        request=request,
        blocks=blocks,
        parents=parents,
        runs=tuple(runs),
        left_out=tuple(dict.fromkeys(left_out)),
    )
    return plan, planned


def _check(request: CertificateRequest, candidates: int) -> None:
    for name, multiples in (("budgets", request.budgets), ("scales", request.scales)):
        if 1.0 not in multiples or len(set(multiples)) != len(multiples):
            rule = f"{name} must be distinct multiples with 1, the proxy's own, among them"
            raise InvalidSpec(rule, list(multiples), f"/{name}")
    if candidates < request.blocks:
        raise InvalidSpec(
            f"a certificate of {request.blocks} blocks needs as many completed candidates; the "
            f"search has {candidates}: ask for fewer blocks (at least {FEWEST_BLOCKS}) or let it "
            "run on",
            pointer="/blocks",
        )


def _longer(proxy: Proxy, multiple: float) -> Proxy:
    return proxy.model_copy(update={"budget_seconds": multiple * proxy.budget_seconds})


def _wider(genome: Genome, factor: float, proxy: Proxy) -> Genome:
    wider = genome if factor == 1 else ScaleModelDim(factor)(genome)
    check_trainable(wider, proxy)
    return wider


def spread_over(candidates: Sequence[tuple[int, Genome]], count: int) -> list[tuple[int, Genome]]:
    """Returns the best half, and as many more evenly spaced over the ranks below."""
    best = list(candidates[: count - count // 2])
    return best + list(spread(candidates[len(best) :], count - len(best)))
