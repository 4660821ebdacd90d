"""What fresh runs say of a block and its baseline, in words that people read."""

from __future__ import annotations

from typing import Any

from brainformer.search.counted import counted


def certainty(probability: float) -> str:
    """Returns a probability in whole percents; nothing measured is certain."""
    if probability > 0.99:
        return "over 99%"
    if probability < 0.01:
        return "under 1%"
    return f"{probability:.0%}"


def verdict_sentence(best: dict[str, Any]) -> str:
    """Returns one sentence on whether the best block beats the baseline.

    Args:
        best: A `BestRecord` as plain data.
    """
    runs, against = best["repeats"], best["baseline_repeats"]
    fresh = f"{counted(runs, 'fresh run')} against the baseline's {against}"
    gain, sure = best["mean_fitness"], best["confidence"]
    if best["verdict"] == "not_confirmed":
        single = best["trial"]["fitness"]
        return f"not confirmed: fitness {single:+.4f} in the single run that made it the best"
    if best["verdict"] == "not_enough_runs" or gain is None or sure is None:
        return f"not enough runs to say whether it beats the baseline ({fresh})"
    low, high = best["interval"] or (None, None)
    told = f"{gain:+.4f} nats a token" if low is None else f"{gain:+.4f} [{low:+.4f}, {high:+.4f}]"
    share = f"{certainty(sure)} sure (one-sided)"  # the interval beside it has two sides
    words = {
        "better": f"beats the baseline by {told}, {share}, {fresh}",
        "undecided": f"may or may not beat the baseline: {told}, {share}, {fresh}",
        "not_better": f"does not beat the baseline: {told}, {fresh}",
    }
    return words[best["verdict"]]
