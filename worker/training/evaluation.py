"""Evaluation: losses on a fixed set of windows, and what is derived from them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from brainformer.search.proxy.proxy import Proxy
from brainformer.worker.datasets.dataset import Batch, Dataset

FRACTIONS = (0.25, 0.5, 0.75, 1.0)
SKETCH_EVERY = 4  # batches
SKETCH_FROM = 16  # batches; a smaller set is always taken whole
SUSPICIOUS_MOVE = 1e-3


class ValidationSet:
    """The same evenly spaced windows of the proxy's split for every trial of a search."""

    def __init__(self, dataset: Dataset, proxy: Proxy) -> None:
        length = proxy.sequence_length + 1
        wanted = max(1, proxy.validation_tokens // proxy.sequence_length)
        batches = max(1, round(wanted / proxy.batch_size))
        split = dataset.held_out(proxy.evaluation_split)
        windows = split.fixed_windows(count=batches * proxy.batch_size, length=length)
        repeats = math.ceil(batches * proxy.batch_size / len(windows))
        windows = np.tile(windows, (repeats, 1))[: batches * proxy.batch_size]
        self.batches: list[Batch] = list(windows.reshape(batches, proxy.batch_size, length))

    def loss(self, evaluate: Callable[[Any], Any], *, sketch: bool = False) -> float:
        """Returns the mean cross-entropy in nats a token; not finite for a diverged model.

        Args:
            evaluate: Tokens [batch, length + 1] to losses [batch, length].
            sketch: Whether every fourth batch will do, the same ones for every trial: for the
                points on the way, which are compared with the baseline's at the same place.
        """
        batches = self.batches
        if sketch and len(batches) >= SKETCH_FROM:
            batches = batches[::SKETCH_EVERY]
        return float(np.mean([np.mean(evaluate(batch)) for batch in batches]))


def prefix_move(evaluate: Callable[[Any], Any], tokens: Batch, *, vocab_size: int) -> float:
    """Returns how far any token's loss moves when only later tokens change, in nats.

    0 up to rounding for a causal model. It costs two evaluation steps and no compilation; a
    move above `SUSPICIOUS_MOVE` is a reason for the full probe of `brainformer.model.causality`.

    Args:
        evaluate: Tokens [batch, length + 1] to losses [batch, length].
        tokens: One batch.
        vocab_size: Changed tokens stay below it.
    """
    kept = tokens.shape[1] // 2
    changed = tokens.copy()
    changed[:, kept:] = (changed[:, kept:] + 1 + np.arange(tokens.shape[1] - kept)) % vocab_size
    before, after = np.asarray(evaluate(tokens)), np.asarray(evaluate(changed))
    # The loss at t judges the prediction of token t + 1, so kept - 1 of them are comparable.
    return float(np.max(np.abs(before - after)[:, : max(1, kept - 1)]))


def bits_per_byte(loss: float, bytes_per_token: float) -> float:
    """Returns nats a token as bits a byte of text, which no tokenizer changes."""
    return loss / math.log(2) / bytes_per_token
