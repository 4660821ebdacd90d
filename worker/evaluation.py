"""Evaluation: the validation loss on a fixed set of windows, and what is derived from it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from search.spec import Proxy
from worker.data import Batch, Dataset

FRACTIONS = (0.25, 0.5, 0.75, 1.0)


class ValidationSet:
    """The same evenly spaced windows of the validation split for every trial of a search."""

    def __init__(self, dataset: Dataset, proxy: Proxy) -> None:
        length = proxy.sequence_length + 1
        wanted = max(1, proxy.validation_tokens // proxy.sequence_length)
        batches = max(1, round(wanted / proxy.batch_size))
        windows = dataset.validation.fixed_windows(count=batches * proxy.batch_size, length=length)
        repeats = math.ceil(batches * proxy.batch_size / len(windows))
        windows = np.tile(windows, (repeats, 1))[: batches * proxy.batch_size]
        self.batches: list[Batch] = list(windows.reshape(batches, proxy.batch_size, length))

    def loss(self, evaluate: Callable[[Any], Any]) -> float:
        """Returns the mean cross-entropy in nats a token; not finite for a diverged model."""
        values = [evaluate(batch) for batch in self.batches]
        return float(np.mean([float(value) for value in values]))


def bits_per_byte(loss: float, bytes_per_token: float) -> float:
    """Returns nats a token as bits a byte of text, which no tokenizer changes."""
    return loss / math.log(2) / bytes_per_token
