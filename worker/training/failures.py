"""Failures as data: what an exception or a stop says about the genome or the machine."""

from __future__ import annotations

import traceback

from brainformer.search.errors import BrainformerError, InvalidGenome
from brainformer.search.trials.lease_messages import Result
from brainformer.search.trials.trial import Outcome

OUT_OF_MEMORY_SIGNS = ("RESOURCE_EXHAUSTED", "out of memory", "Out of memory")
# The process that gave one of these is sound, and serves on.
SOUND_OUTCOMES = frozenset(
    {Outcome.COMPLETED, Outcome.PRUNED, Outcome.INFEASIBLE, Outcome.CANCELLED}
    | {Outcome.DIVERGED, Outcome.LEAKS_FUTURE}
)


def failed_result(error: BaseException) -> Result:
    """Returns the result that stands for an exception, its traceback kept for the trial's page."""
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, InvalidGenome):
        outcome, text = Outcome.INFEASIBLE, error.message
    elif isinstance(error, BrainformerError):
        outcome, text = Outcome.ERROR, error.message
    elif isinstance(error, MemoryError) or any(sign in text for sign in OUT_OF_MEMORY_SIGNS):
        outcome = Outcome.OUT_OF_MEMORY
    else:
        outcome = Outcome.ERROR
    told = "".join(traceback.format_exception(error))
    return Result(outcome=outcome, message=text[:2000], traceback=told[-50_000:])
