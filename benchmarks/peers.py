"""Searches to measure ours against, each driven one evaluation at a time in this process.

A genome is as many categorical choices as it has fields: its length, its model dim, and for every
sub-layer its kind and then the fields of that kind.
"""

from __future__ import annotations

import importlib
import random
from collections.abc import Callable
from types import ModuleType
from typing import Any

from benchmarks.objectives.objective import Evaluation
from brainformer.search.errors import EnvironmentProblem
from brainformer.search.space.genome import LAYER_KINDS, Genome
from brainformer.search.space.space import Space

Evaluate = Callable[[Genome], Evaluation]
POPULATION, TOURNAMENT = 50, 10


def peer(name: str) -> ModuleType:
    """Returns a peer's package.

    Raises:
        EnvironmentProblem: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError:
        raise EnvironmentProblem(
            f"this benchmark measures against {name}, which is not installed",
            "pip install -e .[bench]",
        ) from None


def tpe(space: Space, evaluate: Evaluate, evaluations: int, seed: int) -> None:
    """Runs Optuna's tree-structured Parzen estimator with its defaults."""
    _optuna(space, evaluate, evaluations, peer("optuna").samplers.TPESampler(seed=seed))


def nsga2(space: Space, evaluate: Evaluate, evaluations: int, seed: int) -> None:
    """Runs Optuna's NSGA-II with its defaults."""
    _optuna(space, evaluate, evaluations, peer("optuna").samplers.NSGAIISampler(seed=seed))


def pyglove(space: Space, evaluate: Evaluate, evaluations: int, seed: int) -> None:
    """Runs PyGlove's regularized evolution with a population and a tournament like ours."""
    pg = peer("pyglove")
    random.seed(seed)
    algorithm = pg.evolution.regularized_evolution(
        population_size=POPULATION, tournament_size=TOURNAMENT, seed=seed
    )
    template = _template(pg, space)
    for example, feedback in pg.sample(template, algorithm, num_examples=evaluations):
        length = space.min_layers + int(example.get("more", 0))
        plans = [dict(plan.sym_items()) for plan in list(example["layers"])[:length]]
        layers = tuple(_layer(plan) for plan in plans)
        feedback(evaluate(Genome(model_dim=example["model_dim"], layers=layers)).fitness)


def _template(pg: Any, space: Space) -> Any:
    def choice(values: Any) -> Any:
        values = list(values)
        return values[0] if len(values) == 1 else pg.oneof(values)

    def layer() -> Any:
        kinds = [
            pg.Dict(kind=kind, **{name: choice(values) for name, values in fields.items()})
            for kind, fields in space.layers.items()
        ]
        return kinds[0] if len(kinds) == 1 else pg.oneof(kinds)

    return pg.Dict(
        model_dim=choice(space.model_dim),
        more=choice(range(space.max_layers - space.min_layers + 1)),
        layers=pg.List([layer() for _ in range(space.max_layers)]),
    )


def _optuna(space: Space, evaluate: Evaluate, evaluations: int, sampler: Any) -> None:
    optuna = peer("optuna")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for _ in range(evaluations):
        trial = study.ask()
        study.tell(trial, evaluate(suggested(trial, space)).fitness)


def suggested(trial: Any, space: Space) -> Genome:
    """Returns the genome that an Optuna trial suggests."""

    def pick(name: str, choices: Any) -> Any:
        choices = list(choices)
        return choices[0] if len(choices) == 1 else trial.suggest_categorical(name, choices)

    length = pick("length", range(space.min_layers, space.max_layers + 1))
    plans = []
    for at in range(length):
        kind = pick(f"{at}.kind", space.layers)
        fields = space.layers[kind].items()
        plans.append(
            {"kind": kind} | {name: pick(f"{at}.{kind}.{name}", some) for name, some in fields}
        )
    dim = pick("model_dim", space.model_dim)
    return Genome(model_dim=dim, layers=tuple(_layer(plan) for plan in plans))


def _layer(plan: dict[str, Any]) -> Any:
    return LAYER_KINDS[plan["kind"]].model_validate(plan)
