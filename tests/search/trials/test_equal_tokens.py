"""Losses after the same number of tokens."""

from __future__ import annotations

import pytest

from brainformer.search.trials.equal_tokens import equal_tokens
from brainformer.search.trials.trial import CurvePoint, Measurements


def measured(steps: int, losses: list[float], *, batch: int = 10) -> Measurements:
    count = len(losses)
    curve = tuple(
        CurvePoint(
            fraction=(at + 1) / count,
            step=steps * (at + 1) // count,
            training_seconds=1.0 + at,
            validation_loss=loss,
        )
        for at, loss in enumerate(losses)
    )
    return Measurements(steps=steps, tokens=steps * batch, curve=curve, validation_loss=losses[-1])


def test_whoever_saw_more_is_read_off_where_the_other_ended():
    fast, slow = measured(400, [4.0, 3.0, 2.5, 2.0]), measured(200, [3.5, 2.9, 2.6, 2.4])
    found = equal_tokens(fast, [slow])
    assert (found.tokens, found.loss, found.rival_loss) == (2000, 3.0, 2.4)
    turned = equal_tokens(slow, [fast])
    assert (turned.loss, turned.rival_loss) == (2.4, 3.0)


def test_between_points_the_loss_is_linear_in_the_logarithm_of_tokens():
    longer = measured(800, [4.0, 3.0])  # after 4,000 and 8,000 tokens
    shorter = measured(566, [3.5, 2.9])
    assert equal_tokens(longer, [shorter]).loss == pytest.approx(3.5, abs=2e-3)


def test_repeats_of_the_rival_are_averaged_at_the_fewest_tokens():
    own = measured(400, [4.0, 3.0, 2.5, 2.0])
    rivals = [measured(300, [4.0, 3.0, 2.0, 1.0]), measured(200, [4.0, 3.0, 2.0, 1.2])]
    found = equal_tokens(own, rivals)
    assert found.tokens == 2000
    between = 2.0 + (3.0 - 2.0) * 0.2905  # of log(2250 / 2000) over log(2250 / 1500)
    assert found.rival_loss == pytest.approx((between + 1.2) / 2, abs=1e-3)


@pytest.mark.parametrize(
    ("own", "rivals"),
    [
        (Measurements(), [measured(100, [2.0])]),
        (measured(100, [2.0]), []),
        (measured(100, [2.0]), [Measurements()]),
        (Measurements(steps=100, tokens=1000), [measured(100, [2.0])]),
        (measured(1000, [3.0, 2.0]), [measured(100, [2.0])]),  # it ended before the first point
    ],
)
def test_without_both_curves_nothing_is_said(own, rivals):
    assert equal_tokens(own, rivals) is None
