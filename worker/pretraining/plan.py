"""What a training run is, apart from where it has got to: block, shapes, data, length, schedule."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from brainformer.search.errors import InvalidInput
from brainformer.search.export.provenance import Provenance
from brainformer.search.proxy.proxy import Proxy
from brainformer.search.space.genome import Genome

ScheduleName = Literal["wsd", "cosine", "constant"]
DECAY_SHARE = 0.2  # arXiv:2405.18392: a cooldown of a fifth does as well as a cosine
MOST_WARM_UP_STEPS = 2000
WARM_UP_BY_THE_CLOCK = 200  # steps, where nobody knows how many there will be
Steps = Annotated[int, Field(ge=1, le=2**40)]


class TrainingPlan(BaseModel):
    """What two runs must share to be the same run; devices and intervals are not in it.

    Attributes:
        genome: The block.
        proxy: The shapes that the genome leaves open, batch, optimiser, peak learning rate,
            precision, data set and its hash. Budget, clock and schedule of trials do not count.
        seed: Of the initial parameters and of the order of the data.
        schedule: `wsd` (warm up, stay, decay: arXiv:2404.06395) can be prolonged; `cosine` and
            `constant` are what their names say.
        warmup_steps: Steps in which the learning rate rises.
        decay_share: Of the run, what `wsd` decays in.
        total_steps: None while a run by the clock has not begun to decay.
        decay_steps: The last ones, in which `wsd` decays; None as long as the total is.
        hours: Of the whole run, without compiling; None where steps were asked for.
        tokenizer: Of the data.
        tokenizer_sha256: Of its file; "" for bytes.
        end_token: What ends a document, None for bytes.
        vocabulary: Tokens of the tokenizer; the model may have more.
        provenance: Of block and initial weights.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    genome: Genome
    proxy: Proxy
    seed: Annotated[int, Field(ge=0, le=2**63 - 1)] = 0
    schedule: ScheduleName = "wsd"
    warmup_steps: Annotated[int, Field(ge=0, le=2**40)] = 0
    decay_share: Annotated[float, Field(ge=0, le=1)] = DECAY_SHARE
    total_steps: Steps | None = None
    decay_steps: Annotated[int, Field(ge=0, le=2**40)] | None = None
    hours: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    tokenizer: Literal["bytes", "huggingface", "sentencepiece"] = "bytes"
    tokenizer_sha256: str = ""
    end_token: str | None = None
    vocabulary: Annotated[int, Field(ge=1)] = 256
    provenance: Provenance = Provenance()

    @property
    def tokens_per_step(self) -> int:
        """Tokens that one step predicts."""
        return self.proxy.batch_size * self.proxy.sequence_length

    @property
    def decay_start(self) -> int | None:
        """The first step whose learning rate falls; None while nobody knows it."""
        if self.total_steps is None:
            return None
        return self.total_steps - (self.decay_steps or 0)

    def rate(self, step: int) -> np.float32:
        """Returns the learning rate of a step, counted from 0.

        It depends on how long the run is only from where the decay begins, so a prolonged run is
        the run that would have been longer from the start. The decay is 1 - sqrt
        (arXiv:2405.18392).
        """
        rise = min(1.0, (step + 1) / self.warmup_steps) if self.warmup_steps else 1.0
        fall, total = 1.0, self.total_steps
        if self.schedule == "cosine" and total is not None:
            fall = 0.5 * (1.0 + math.cos(math.pi * step / total))
        start = self.decay_start
        if self.schedule == "wsd" and start is not None and total is not None and step > start:
            fall = 1.0 - math.sqrt((step - start) / (total - start))
        return np.float32(self.proxy.peak_learning_rate * rise * fall)

    def ending_at(self, total_steps: int) -> TrainingPlan:
        """Returns the plan with that many steps in all."""
        decay = round(self.decay_share * total_steps) if self.schedule == "wsd" else 0
        return self.model_copy(update={"total_steps": total_steps, "decay_steps": decay})

    def decaying_from(self, step: int) -> TrainingPlan:
        """Returns the plan of a run by the clock, whose decay begins now.

        Steps take equally long, so as many follow as the share says.
        """
        decay = max(1, round(step * self.decay_share / max(1e-9, 1.0 - self.decay_share)))
        return self.model_copy(update={"total_steps": step + decay, "decay_steps": decay})

    def differences(self, other: TrainingPlan) -> list[str]:
        """Returns the names of what differs from the other, but for what time has decided."""
        ours, theirs = _compared(self), _compared(other)
        return sorted(name for name in ours if ours[name] != theirs[name])


def _compared(plan: TrainingPlan) -> dict[str, Any]:
    found = plan.model_dump(exclude={"provenance", "genome", "proxy"})
    found |= {name.replace("_", " "): found.pop(name) for name in list(found)}
    found["genome"] = plan.genome.digest
    for name in TRAINED_WITH:
        found[name.replace("_", " ")] = getattr(plan.proxy, name)
    if plan.hours is not None:
        found["total steps"] = found["decay steps"] = None
    return found


# Of the proxy, what decides what is trained; the rest is for trials.
TRAINED_WITH = (
    *("blocks", "experts", "head_dim", "vocab_size", "sequence_length", "rope_base", "batch_size"),
    *("precision", "optimizer", "peak_learning_rate", "gradient_clip", "load_balance_weight"),
    *("adam_beta2", "router_z_weight", "dataset", "dataset_hash", "routing", "routing_groups"),
)


def whole_steps(tokens: int, proxy: Proxy) -> int:
    """Returns the least number of steps that train on so many tokens."""
    return math.ceil(tokens / (proxy.batch_size * proxy.sequence_length))


def default_warm_up(total_steps: int | None, proxy: Proxy) -> int:
    """Returns the proxy's share of the run, within bounds."""
    if total_steps is None:
        return WARM_UP_BY_THE_CLOCK
    return min(MOST_WARM_UP_STEPS, round(proxy.warmup_fraction * total_steps))


def check_length(plan: TrainingPlan) -> None:
    """Refuses a run that has no end, or that only warms up.

    Raises:
        InvalidInput: says which option to change.
    """
    if plan.total_steps is None and plan.schedule == "cosine":
        raise InvalidInput("a cosine needs to know its end: give --steps or --tokens, not --hours")
    if plan.total_steps is None and plan.hours is None:
        raise InvalidInput("say how long to train: --steps, --tokens or --hours")
    start = plan.decay_start
    if start is not None and plan.warmup_steps > start:
        raise InvalidInput(
            f"the learning rate must have risen before it falls, at step {start}: give more "
            "--steps, or fewer --warmup-steps",
            plan.warmup_steps,
            "/warmup_steps",
        )
