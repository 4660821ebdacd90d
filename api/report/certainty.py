"""How sure it is that a block beats the baseline, in words that people read."""

from __future__ import annotations


def certainty(probability: float) -> str:
    """Returns a probability in whole percents; nothing measured is certain."""
    if probability > 0.99:
        return "over 99%"
    if probability < 0.01:
        return "under 1%"
    return f"{probability:.0%}"
