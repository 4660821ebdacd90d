"""Failures as data: what an exception in a trial says about the genome or the machine."""

from __future__ import annotations

import traceback

from search.errors import BrainformerError, InvalidGenome
from search.lease import Result
from search.trial import Outcome

OUT_OF_MEMORY_SIGNS = ("RESOURCE_EXHAUSTED", "out of memory", "Out of memory")


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
