"""Whether proxy and space let a search find anything: training length, and edges of the space.

A proxy tells architectures apart where its rival has seen about 5 to 50 tokens for each activated
parameter; below, ranks favour whatever is small. And a best block on an edge of its space says that
the space ended before the search did.
"""

from __future__ import annotations

from collections.abc import Iterable

from brainformer.search.cost.cost import activated_parameters
from brainformer.search.proxy.proxy import Proxy
from brainformer.search.space.genome import Genome
from brainformer.search.space.space import Space

FEWEST_TOKENS = 5.0  # per activated parameter, embeddings apart


def expected_tokens(proxy: Proxy, step_time_ms: float) -> float:
    """Returns the tokens that training sees in the budget at a step time."""
    steps = 1000 * proxy.budget_seconds / step_time_ms
    return steps * proxy.batch_size * proxy.sequence_length


def tokens_per_parameter(tokens: float, genome: Genome, proxy: Proxy) -> float:
    """Returns D/N: tokens seen per activated parameter, embeddings apart."""
    return tokens / activated_parameters(genome, proxy)


def edges(genome: Genome, space: Space) -> list[str]:
    """Returns where a genome lies on an edge of its space, in words, the block as a whole first.

    Numeric fields with at least three choices count; a sub-layer's field only where all the
    sub-layers that have it are at the same end.
    """
    found = _ends("model dim", [genome.model_dim], space.model_dim)
    lengths = range(space.min_layers, space.max_layers + 1)
    found += _ends("number of sub-layers", [len(genome.layers)], lengths)
    for kind, fields in space.layers.items():
        layers = [layer.model_dump() for layer in genome.layers if layer.kind == kind]
        for name, choices in fields.items():
            values = [layer[name] for layer in layers]
            found += _ends(f"{kind} {name}".replace("_", " "), values, choices)
    return found


def _ends(name: str, values: list[object], choices: Iterable[object]) -> list[str]:
    ordered = sorted(x for x in choices if isinstance(x, int | float))
    if len(ordered) < 3 or len(set(values)) != 1:
        return []
    (value,) = set(values)
    ends = {ordered[0]: "smallest", ordered[-1]: "largest"}
    return [f"{name} {value} is the {ends[value]} choice"] if value in ends else []
