"""How sure it is that a block beats the baseline: never wholly."""

from __future__ import annotations

import pytest

from brainformer.api.report.certainty import certainty


@pytest.mark.parametrize(
    ("probability", "words"),
    [
        (1.0, "over 99%"),
        (0.9901, "over 99%"),
        (0.99, "99%"),
        (0.505, "50%"),
        (0.01, "1%"),
        (0.0099, "under 1%"),
        (0.0, "under 1%"),
    ],
)
def test_nothing_measured_is_certain(probability: float, words: str) -> None:
    assert certainty(probability) == words
