"""From what a user asks for to a plan: of a new run, of one that branches off, of one that goes on.

A run goes on as it was begun; whoever wants something else begins a run of their own from one of
its checkpoints. So a run's folder has one past, and nothing in it is ever replaced.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from pydantic import ValidationError

from brainformer.search.errors import Conflict, InvalidCheckpoint, InvalidData, InvalidSpec
from brainformer.search.export.provenance import Provenance
from brainformer.search.proxy.proxy import Proxy
from brainformer.search.space.genome import Genome
from brainformer.search.validation import first_problem
from brainformer.worker.datasets.dataset import Dataset
from brainformer.worker.datasets.kept_tokenizer import kept_tokenizer
from brainformer.worker.datasets.stdlib_text import BUILT_IN
from brainformer.worker.datasets.tokenizers import Tokenizer, load_tokenizer
from brainformer.worker.pretraining.manifest import CheckpointManifest
from brainformer.worker.pretraining.plan import (
    ScheduleName,
    TrainingPlan,
    check_length,
    default_warm_up,
    whole_steps,
)

OF_THE_PROXY = {
    "batch_size": "batch_size",
    "sequence_length": "sequence_length",
    "rope_base": "rope_base",
    "precision": "precision",
    "learning_rate": "peak_learning_rate",
}


@dataclass(frozen=True)
class Wishes:
    """What a user may say about a run; None where they did not.

    Attributes:
        steps: In all, those of earlier processes too; so are tokens and hours.
        learning_rate: The peak.
    """

    steps: int | None = None
    tokens: int | None = None
    hours: float | None = None
    schedule: ScheduleName | None = None
    warmup_steps: int | None = None
    decay_share: float | None = None
    learning_rate: float | None = None
    batch_size: int | None = None
    sequence_length: int | None = None
    rope_base: float | None = None
    precision: str | None = None
    seed: int | None = None

    @property
    def length_given(self) -> bool:
        """Whether they say how long."""
        return (self.steps, self.tokens, self.hours) != (None, None, None)


def new_plan(
    genome: Genome,
    proxy: Proxy,
    wishes: Wishes,
    data: Dataset,
    *,
    provenance: Provenance | None = None,
    with_weights: bool = False,
) -> TrainingPlan:
    """Returns the plan of a new run.

    Args:
        genome: The block.
        proxy: Its shapes, and how it was trained.
        wishes: What of it the user wants otherwise, and how long.
        data: To train on; without weights its vocabulary is the model's.
        provenance: Of block and weights.
        with_weights: Whether the model comes with weights, whose tokenizer the data must share.

    Raises:
        InvalidSpec: the shapes do not work together.
        InvalidInput: the run has no length.
        InvalidData: the data's tokenizer is not that of the weights, or there is too little.
    """
    told = provenance or Provenance()
    manifest = data.manifest
    if with_weights:
        _check_tokenizer(told, proxy, data)
    else:
        proxy = _changed(proxy, {"vocab_size": max(2, manifest.vocab_size)})
    proxy = _changed(_with_data(proxy, data), _proxy_wishes(wishes))
    fields_given: dict[str, Any] = {
        "genome": genome,
        "proxy": proxy,
        "seed": wishes.seed or 0,
        "schedule": wishes.schedule or "wsd",
        "provenance": told,
    }
    plan = _sound(fields_given | _tokenizer_fields(data))
    if wishes.decay_share is not None:
        plan = plan.model_copy(update={"decay_share": wishes.decay_share})
    plan = _with_length(plan, wishes)
    warmup = wishes.warmup_steps
    warmup = default_warm_up(plan.total_steps, proxy) if warmup is None else warmup
    plan = plan.model_copy(update={"warmup_steps": warmup})
    plan = _sound(plan.model_dump())
    check_length(plan)
    _check_data(plan, data)
    return plan


def branched_plan(manifest: CheckpointManifest, wishes: Wishes, data: Dataset) -> TrainingPlan:
    """Returns the plan of a run that begins where a checkpoint of another one stands.

    What the state depends on stays: shapes, seed and warm-up. Length, learning rate, batch and
    data of the same tokenizer may change.

    Raises:
        InvalidCheckpoint: the state cannot go on like that.
        InvalidInput: the run has no length.
    """
    old = manifest.plan
    _check_same_tokenizer(old, data)
    proxy = _changed(_with_data(old.proxy, data), _proxy_wishes(wishes))
    changes = {
        name: value
        for name in ("schedule", "warmup_steps", "decay_share", "seed")
        if (value := getattr(wishes, name)) is not None
    }
    plan = old.model_copy(update={"proxy": proxy, **changes})
    if wishes.length_given:
        plan = _with_length(plan, wishes)
    elif plan.total_steps is not None:
        plan = plan.ending_at(plan.total_steps)
    if plan.total_steps is not None and plan.total_steps <= manifest.step:
        raise InvalidCheckpoint(
            f"the run would end at step {plan.total_steps}, and the checkpoint is at "
            f"{manifest.step}; --steps and --tokens count from the run's beginning: give more",
        )
    plan = _sound(plan.model_dump())
    check_length(plan)
    _check_data(plan, data)
    return plan


def prolonged_plan(manifest: CheckpointManifest, wishes: Wishes, data: Dataset) -> TrainingPlan:
    """Returns the plan of a longer run that would have passed through a checkpoint, too.

    Raises:
        InvalidCheckpoint: the schedule depends on its end, or the checkpoint is within the decay
            of the old plan or the new one.
    """
    old, step = manifest.plan, manifest.step
    if old.schedule == "cosine":
        raise InvalidCheckpoint(
            "a cosine falls from its first step on, so its run cannot be prolonged; begin a new "
            "one, with --schedule wsd"
        )
    plan = branched_plan(manifest, wishes, data)
    start = plan.decay_start
    if start is not None and start < step:
        raise InvalidCheckpoint(
            f"a run of {plan.total_steps} steps would decay from step {start} on, and the "
            f"checkpoint to go on from is at step {step}; give more --steps"
        )
    return plan


def check_goes_on(manifest: CheckpointManifest, wishes: Wishes, data: Dataset) -> None:
    """Refuses wishes that would change a run that goes on.

    Raises:
        Conflict: names them.
    """
    old = manifest.plan
    if old.proxy.dataset_hash not in {None, data.manifest.hash}:
        raise Conflict(
            f"the run was begun on data set {old.proxy.dataset} with hash "
            f"{str(old.proxy.dataset_hash)[:12]}, here it is {data.manifest.id} with "
            f"{data.manifest.hash[:12]}; give that one, or branch off with --output NEW"
        )
    wanted = {
        one.name: value
        for one in fields(wishes)
        if (value := getattr(wishes, one.name)) is not None
    }
    plan = old.proxy.model_dump() | old.model_dump(exclude={"proxy", "genome"})
    plan |= {"learning_rate": old.proxy.peak_learning_rate, "steps": old.total_steps}
    if "tokens" in wanted:
        wanted["steps"] = whole_steps(wanted.pop("tokens"), old.proxy)
    other = sorted(name for name, value in wanted.items() if plan[name] != value)
    if other:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in other)
        raise Conflict(
            f"a run goes on as it was begun; with another {names} it would not be the same: leave "
            "that out, or give --output NEW, with --prolong for a longer run"
        )


def tokenizer_of(data: Dataset, given: str | None) -> Tokenizer | None:
    """Returns the tokenizer that a data set was made with: the one it keeps, or a given file.

    Raises:
        InvalidData: the given one is another.
    """
    told = data.manifest
    if given is None:
        return kept_tokenizer(
            data.place, kind=told.tokenizer, digest=told.tokenizer_sha256, end_token=told.end_token
        )
    found = load_tokenizer(given, None if given == "bytes" else told.end_token)
    if (found.kind, found.digest) != (told.tokenizer, told.tokenizer_sha256):
        raise InvalidData(
            f"data set {told.id} was prepared with another tokenizer ({told.tokenizer} "
            f"{told.tokenizer_sha256[:12]}), not with {given}; give that one"
        )
    return found


def _with_length(plan: TrainingPlan, wishes: Wishes) -> TrainingPlan:
    """Returns the plan with the length that is wished for."""
    if wishes.hours is not None:
        update = {"hours": wishes.hours, "total_steps": None, "decay_steps": None}
        return plan.model_copy(update=update)
    steps = wishes.steps
    if wishes.tokens is not None:
        steps = whole_steps(wishes.tokens, plan.proxy)
    if steps is None:
        return plan
    return plan.model_copy(update={"hours": None}).ending_at(steps)


def _sound(plan: dict[str, Any]) -> TrainingPlan:
    """Returns a plan that a checkpoint can hold and read back; a changed copy is not checked.

    Raises:
        InvalidSpec: a wish breaks a rule.
    """
    try:
        return TrainingPlan.model_validate(plan)
    except ValidationError as error:
        raise InvalidSpec(*first_problem(error)) from None


def _proxy_wishes(wishes: Wishes) -> dict[str, Any]:
    found = {field: getattr(wishes, name) for name, field in OF_THE_PROXY.items()}
    return {name: value for name, value in found.items() if value is not None}


def _with_data(proxy: Proxy, data: Dataset) -> Proxy:
    told = data.manifest
    return _changed(proxy, {"dataset": told.id, "dataset_hash": told.hash, "mesh": "auto"})


def _changed(proxy: Proxy, changes: dict[str, Any]) -> Proxy:
    try:
        return Proxy.model_validate(proxy.model_dump() | changes)
    except ValidationError as error:
        raise InvalidSpec(*first_problem(error)) from None


def _tokenizer_fields(data: Dataset) -> dict[str, Any]:
    told = data.manifest
    return {
        "tokenizer": told.tokenizer,
        "tokenizer_sha256": told.tokenizer_sha256,
        "end_token": told.end_token,
        "vocabulary": told.vocab_size,
    }


def _check_tokenizer(told: Provenance, proxy: Proxy, data: Dataset) -> None:
    """Refuses data whose tokens mean something else than those that weights were trained on."""
    name = data.manifest.id
    known = told.tokenizer or ("bytes" if told.dataset == BUILT_IN else None)
    theirs = (data.manifest.tokenizer, data.manifest.tokenizer_sha256)
    if told.origin == "trained" and known and (known, told.tokenizer_sha256) != theirs:
        raise InvalidData(
            f"data set {name} was prepared with another tokenizer than the weights were trained "
            "with; prepare it again with that one"
        )
    if data.manifest.vocab_size > proxy.vocab_size:
        raise InvalidData(
            f"data set {name} has {data.manifest.vocab_size} tokens in its vocabulary, the model "
            f"with its weights {proxy.vocab_size}; give the block without weights, or other data"
        )


def _check_same_tokenizer(plan: TrainingPlan, data: Dataset) -> None:
    told = data.manifest
    if (plan.tokenizer, plan.tokenizer_sha256) != (told.tokenizer, told.tokenizer_sha256):
        raise InvalidData(
            f"data set {told.id} was prepared with another tokenizer ({told.tokenizer} "
            f"{told.tokenizer_sha256[:12]}) than the checkpoint was trained with "
            f"({plan.tokenizer} {plan.tokenizer_sha256[:12]}); prepare it again with that one"
        )


def _check_data(plan: TrainingPlan, data: Dataset) -> None:
    proxy = plan.proxy
    data.check_fits(
        vocab_size=proxy.vocab_size,
        batch_size=proxy.batch_size,
        length=proxy.sequence_length + 1,
    )
