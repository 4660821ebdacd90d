"""What to mind before a search's result is believed, in sentences that people read."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from brainformer.search.estimates.soundness import (
    FEWEST_TOKENS,
    edges,
    expected_tokens,
    tokens_per_parameter,
)
from brainformer.search.proxy.builtin_proxies import untuned_recipe
from brainformer.search.store.records import BaselineSummary, BestRecord, SearchRecord


class Soundness(BaseModel):
    """How long rival and best were trained for their size, and what to mind.

    Attributes:
        rival_tokens_per_parameter: By pool: tokens that the rival sees in its budget, over its
            activated parameters, embeddings apart. Missing until the pool has measured its rival.
        best_tokens_per_parameter: The same of the best trial; null while there is none.
        notes: Sentences; empty where there is nothing to mind.
    """

    model_config = ConfigDict(frozen=True)

    rival_tokens_per_parameter: dict[str, float]
    best_tokens_per_parameter: float | None = None
    notes: tuple[str, ...] = ()


def soundness(
    search: SearchRecord, baselines: Sequence[BaselineSummary], best: BestRecord | None
) -> Soundness:
    """Returns what the search's figures say of its proxy and its space."""
    proxy = search.spec.proxy
    members = search.spec.rivals()
    rivals: dict[str, float] = {}
    notes: list[str] = []
    for baseline in baselines:
        rival = baseline.rival or (members[0].genome if len(members) == 1 else None)
        if rival is None or not baseline.step_time_ms:
            continue
        seen = expected_tokens(proxy, baseline.step_time_ms)
        rivals[baseline.pool] = tokens_per_parameter(seen, rival, proxy)
        if rivals[baseline.pool] < FEWEST_TOKENS:
            notes.append(
                f"the rival on {baseline.pool} is undertrained: {rivals[baseline.pool]:.2g} tokens "
                f"per activated parameter, below {FEWEST_TOKENS:g}; ranks will favour small "
                "blocks. Use a longer budget or a smaller proxy"
            )
    untuned = untuned_recipe(proxy)
    if untuned and all(rival.proxy is None for rival in members):
        notes.append(
            f"optimiser and learning rate are those of the built-in proxy {untuned}, which nobody "
            "has tuned. A baseline family with learning_rates: [0.3, 1, 3] tells which rate its "
            "rival wants"
        )
    own = None
    if best is not None:
        trial = best.trial
        if trial.measurements.tokens:
            own = tokens_per_parameter(trial.measurements.tokens, trial.genome, proxy)
        on_edge = edges(trial.genome, search.spec.resolved_space())
        if on_edge:
            notes.append(
                f"the best block lies on an edge of its space: {'; '.join(on_edge)}. A wider "
                "space may hold a better one"
            )
    return Soundness(
        rival_tokens_per_parameter=rivals, best_tokens_per_parameter=own, notes=tuple(notes)
    )
