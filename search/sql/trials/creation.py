"""New trials: one row, one number, one seed."""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import insert

from brainformer.search.cost.cost import embedding_parameters, stacked_parameters
from brainformer.search.proxy.proxy import Proxy
from brainformer.search.space.genome import Genome, digest_of
from brainformer.search.sql.connection.database import Transaction, Values
from brainformer.search.sql.connection.tables import trials
from brainformer.search.sql.trials.state import SearchState
from brainformer.search.trials.events import EventKind
from brainformer.search.trials.trial import TrialKind, TrialStatus, repeat_seed, training_seed

INSERT = insert(trials).returning(trials.c.id)


class NewTrial(NamedTuple):
    """What was given to a new trial."""

    id: int
    number: int
    seed: int


def new_trial(
    tx: Transaction,
    state: SearchState,
    kind: TrialKind,
    genome: Genome,
    *,
    pool: str | None,
    origin: str,
    parent: int | None = None,
    mutation: str = "",
    repeat: int | None = None,
    proxy: Proxy | None = None,
    label: str = "",
    running: Values | None = None,
) -> NewTrial:
    """Adds a trial.

    Args:
        tx: Of the caller.
        state: The search.
        kind: Why the trial is run.
        genome: What is evaluated.
        pool: Where it must run; None for anywhere.
        origin: Where the genome comes from: "seed", "mutation" ...
        parent: Number of the trial that it descends from or repeats.
        mutation: What was done to the parent.
        repeat: Which repeat this is: with its seed the repeats of all genomes compare in pairs.
        proxy: The trial's own; None for the search's.
        label: What tells the trial from others of its kind.
        running: Columns of the first attempt, if the trial starts at once; else it is queued.
    """
    status = TrialStatus.QUEUED if running is None else TrialStatus.RUNNING
    state.move(None, status)
    if kind is TrialKind.CANDIDATE:
        state.add(candidates_proposed=1, candidates_open=1)
    values = trial_values(
        state,
        kind,
        genome,
        status=status,
        pool=pool,
        origin=origin,
        parent=parent,
        mutation=mutation,
        repeat=repeat,
        proxy=proxy,
        label=label,
    )
    values |= running or {}
    trial_id: int = tx.run(INSERT, values).scalar_one()
    if running is None:
        tx.emit(
            EventKind.TRIAL_CREATED,
            state.id,
            number=values["number"],
            kind_of_trial=kind.value,
            origin=origin,
        )
    return NewTrial(trial_id, values["number"], values["seed"])


def trial_values(
    state: SearchState,
    kind: TrialKind,
    genome: Genome,
    *,
    status: TrialStatus,
    pool: str | None,
    origin: str,
    parent: int | None = None,
    mutation: str = "",
    repeat: int | None = None,
    proxy: Proxy | None = None,
    label: str = "",
) -> dict[str, Any]:
    """Returns the columns of a new trial, with its number; see `new_trial`."""
    number = state.take_number()
    text = genome.canonical_json()
    own = proxy or state.spec.proxy
    stacked, activated = stacked_parameters(genome, own)
    if repeat is None:
        seed = training_seed(state.spec.seed, number)
    else:
        seed = repeat_seed(state.spec.seed, repeat)
    return {
        "search_id": state.id,
        "number": number,
        "seq": state.take_seq(),
        "kind": kind.value,
        "status": status.value,
        "pool": pool,
        "genome": text,
        "digest": digest_of(text),
        "origin": origin,
        "parent_number": parent,
        "mutation": mutation,
        "attempt": 0,
        "lease_key": "",
        "tries": 0,
        "seed": seed,
        "parameters": stacked + embedding_parameters(genome, own),
        "activated_parameters": activated,
        "worker_id": None,
        "created_at": state.tx.now,
        "started_at": None,
        "lease_seconds": state.spec.lease_seconds,
        "lease_expires_at": None,
        "repeat": repeat,
        "proxy": None if proxy is None else proxy.model_dump_json(),
        "label": label,
    }
