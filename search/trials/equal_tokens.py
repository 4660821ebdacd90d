"""Losses at the same number of tokens, beside those of the same time.

A block that is faster sees more tokens in the same time; what is left of its lead at the same
number of tokens is the part that is not speed. The learning rate has not come down yet at a point
within a run, so the loss of whoever saw more tokens is a little pessimistic.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict, FiniteFloat, NonNegativeInt

from brainformer.search.trials.trial import Measurements


class EqualTokens(BaseModel):
    """Losses in nats a token of a trial and of its rival after the same number of tokens."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tokens: NonNegativeInt
    loss: FiniteFloat
    rival_loss: FiniteFloat


def equal_tokens(own: Measurements, rivals: Sequence[Measurements]) -> EqualTokens | None:
    """Returns both losses at the largest number of tokens that all have seen.

    Args:
        own: Of the trial.
        rivals: Of the repeats of its rival; their losses are averaged.

    Returns:
        None where a curve is missing, or begins later than another ends.
    """
    if own.tokens is None or not rivals or any(one.tokens is None for one in rivals):
        return None
    tokens = min(one.tokens for one in (own, *rivals) if one.tokens is not None)
    losses = [_loss_after(one, tokens) for one in (own, *rivals)]
    known = [loss for loss in losses if loss is not None]
    if len(known) < len(losses):
        return None
    return EqualTokens(tokens=tokens, loss=known[0], rival_loss=float(np.mean(known[1:])))


def _loss_after(measured: Measurements, tokens: int) -> float | None:
    """Returns the loss after so many tokens, between points of the curve on a log axis."""
    if not measured.steps or not measured.tokens:
        return None
    a_step = measured.tokens / measured.steps
    points = [
        (point.step * a_step, point.validation_loss)
        for point in measured.curve
        if point.validation_loss is not None and point.step > 0
    ]
    if not points or tokens < round(points[0][0]) or tokens > round(points[-1][0]):
        return None
    seen, losses = zip(*points, strict=True)
    return float(np.interp(math.log(max(tokens, 1)), np.log(seen), losses))
