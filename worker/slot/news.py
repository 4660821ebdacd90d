"""What a slot has to tell: it runs in an actor, and people look at the dispatcher's console."""

from __future__ import annotations

import threading
from collections import deque

from brainformer.search.errors import BrainformerError
from brainformer.search.trials.lease_messages import Lease, Result
from brainformer.search.trials.trial import Outcome

MOST_KEPT = 200


class News:
    """Sentences in the order in which they were told, until they are taken. Thread-safe."""

    def __init__(self) -> None:
        self._sentences: deque[str] = deque(maxlen=MOST_KEPT)
        self._lock = threading.Lock()
        self._refusal: dict[str, str] = {}  # why the controller no longer takes this worker

    def tell(self, sentence: str) -> None:
        """Adds a sentence; one that was just told is not repeated."""
        with self._lock:
            if not self._sentences or self._sentences[-1] != sentence:
                self._sentences.append(sentence)

    def refuse(self, error: BrainformerError) -> None:
        """Says that the controller refuses this worker for good."""
        self._refusal = {"refusal": error.message, "refused_as": error.code}

    def take(self) -> dict[str, str]:
        """Returns what was told since the last time, as fields of a Tune result."""
        with self._lock:
            told = {"news": "\n".join(self._sentences)} if self._sentences else {}
            self._sentences.clear()
        return told | self._refusal


def claimed(lease: Lease) -> str:
    """Returns the sentence of a lease that is begun."""
    return f"claimed {_name(lease)} ({lease.kind.value}, attempt {lease.attempt})"


def ended(lease: Lease, result: Result) -> str:
    """Returns the sentence of a lease that has ended."""
    loss = result.measurements.validation_loss
    if result.outcome is Outcome.COMPLETED and loss is not None:
        steps = result.measurements.steps
        spent = "" if steps is None else f" after {steps:,} steps"
        return f"{_name(lease)} completed: loss {loss:.4f}{spent}"
    why = f": {result.message}" if result.message else ""
    return f"{_name(lease)} ended as {result.outcome.value}{why}"


def lost(lease: Lease) -> str:
    """Returns the sentence of a lease that the controller has given to somebody else."""
    return f"{_name(lease)} was given up: the controller no longer counts on this attempt"


def _name(lease: Lease) -> str:
    return f"trial {lease.trial_number} of {lease.search_name}"
