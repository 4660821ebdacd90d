"""The race among finalists: who runs again, who is dropped, and how often it is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from brainformer.search.estimates.comparison import Losses
from brainformer.search.estimates.race import Race, RaceRules, RaceState, Runs, Wanted

RULES = RaceRules(repeats=3, limit=20)


def race_of(finalists: Mapping[int, Losses], rival: Losses, rules: RaceRules = RULES) -> Race:
    """Returns a race on one pool."""
    return Race(
        {one: Runs("cpu", losses) for one, losses in finalists.items()}, {"cpu": rival}, rules
    )


def wanted(state: RaceState) -> list[int | None]:
    return [one.finalist for one in state.wanted]


def run_race(
    rng: np.random.Generator,
    gains: Sequence[float],
    rules: RaceRules = RULES,
    *,
    noise: float = 0.03,
    rival_runs: int = 3,
) -> tuple[RaceState, dict[int, list[float | None]], list[float | None]]:
    """Runs a whole race in which finalist i is `gains[i]` nats better than the rival."""
    finalists: dict[int, list[float | None]] = {one: [] for one in range(len(gains))}
    rival: list[float | None] = list(rng.normal(2.0, noise, rival_runs))
    while True:
        state = race_of(finalists, rival, rules).state()
        if state.over:
            return state, finalists, rival
        for one in wanted(state):
            if one is None:
                rival.append(rng.normal(2.0, noise))
            else:
                finalists[one].append(rng.normal(2.0 - gains[one], noise))


def test_everybody_starts_with_the_same_repeats() -> None:
    state = race_of({4: [], 7: [1.9]}, [2.0]).state()
    assert sorted(wanted(state), key=str) == sorted([None, None, 4, 4, 4, 7, 7], key=str)
    assert not state.over


def test_the_rival_runs_between_the_finalists() -> None:
    state = race_of({4: [], 7: []}, []).state()
    assert wanted(state) == [None, 4, 7] * 3


def test_a_clear_loser_is_dropped_and_gets_no_further_repeat() -> None:
    finalists = {1: [1.70, 1.71, 1.69], 2: [1.69, 1.72, 1.70], 3: [1.95, 1.96, 1.94]}
    state = race_of(finalists, [2.0, 2.01, 1.99]).state()
    assert state.dropped == {3}
    assert set(wanted(state)) == {1, 2, None}


def test_the_least_decided_challenger_comes_first() -> None:
    finalists = {1: [1.70, 1.72, 1.69], 2: [1.76, 1.75, 1.73], 3: [1.71, 1.715, 1.70]}
    state = race_of(finalists, [1.75, 1.76, 1.74]).state()
    assert state.leader == 1
    challengers = [one for one in wanted(state) if one not in {None, 1}]
    assert challengers[0] == 3


def test_a_finalist_that_diverged_never_leads_one_that_did_not() -> None:
    state = race_of({1: [1.5, None, 1.5], 2: [1.9, 1.91, 1.89]}, [2.0, 2.0, 2.01]).state()
    assert state.leader == 2


def test_the_limit_is_never_passed() -> None:
    for seed in range(30):
        rng = np.random.default_rng(seed)
        _, finalists, rival = run_race(rng, [0.0, 0.0, 0.0])
        assert sum(map(len, finalists.values())) + len(rival) - RULES.repeats <= RULES.limit


def test_a_decided_race_ends_before_its_limit() -> None:
    state, finalists, rival = run_race(np.random.default_rng(0), [0.5, 0.1, 0.1])
    assert state.leader == 0
    assert sum(map(len, finalists.values())) + len(rival) - 3 < RULES.limit


def test_a_race_without_finalists_is_over() -> None:
    assert race_of({}, [2.0, 2.1]).state().over


def test_a_claim_is_corrected_for_the_choice_among_finalists() -> None:
    finalists = {1: [1.9, 1.92, 1.91], 2: [2.0, 2.02, 1.99], 3: [2.01, 2.0, 2.02]}
    rival = [2.0, 2.01, 1.98]
    alone = race_of({1: finalists[1]}, rival).claim(1)
    among = race_of(finalists, rival).claim(1)
    assert alone is not None
    assert among == pytest.approx(3 * alone)


def test_a_claim_needs_two_runs_a_side() -> None:
    assert race_of({1: [1.5]}, [2.0, 2.1]).claim(1) is None
    assert race_of({1: [1.5, 1.5]}, [2.0]).claim(1) is None


def test_where_nothing_is_better_a_claim_is_as_rare_as_it_says() -> None:
    claims = 0
    for seed in range(1200):
        rng = np.random.default_rng([17, seed])
        state, finalists, rival = run_race(rng, [0.0, 0.0, 0.0])
        assert state.leader is not None
        p = race_of(finalists, rival).claim(state.leader)
        claims += p is not None and p <= 0.05
    assert claims / 1200 <= 0.06


def test_a_better_block_is_found_and_claimed() -> None:
    right = claimed = 0
    for seed in range(200):
        rng = np.random.default_rng([18, seed])
        state, finalists, rival = run_race(rng, [0.04, 0.085, 0.04])
        assert state.leader is not None
        right += state.leader == 1
        p = race_of(finalists, rival).claim(state.leader)
        claimed += p is not None and p <= 0.05
    assert right >= 185
    assert claimed >= 180


def test_finalists_of_two_pools_are_compared_by_their_gains() -> None:
    finalists = {
        1: Runs("fast", [1.50, 1.51, 1.49]),  # 0.1 better than its rival
        2: Runs("slow", [1.70, 1.71, 1.69]),  # 0.3 better than its own
    }
    rivals = {"fast": [1.6, 1.61, 1.59], "slow": [2.0, 2.01, 1.99]}
    race = Race(finalists, rivals, RULES)
    assert race.leader == 2
    assert race.gains(2) == pytest.approx([0.3, 0.29, 0.31])
    assert race.state().dropped == {1}
    assert {one.pool for one in race.state().wanted} <= {"slow"}


def test_a_pool_whose_rival_has_not_run_again_gets_its_repeats_first() -> None:
    race = Race({1: Runs("a"), 2: Runs("b")}, {"a": [2.0, 2.1, 2.0]}, RULES)
    state = race.state()
    assert state.wanted.count(Wanted("b")) == 3
    assert Wanted("a") not in state.wanted


def test_first_repeats_stay_within_a_small_limit() -> None:
    state = race_of({1: [], 2: []}, [2.0, 2.0], RaceRules(repeats=3, limit=4)).state()
    assert wanted(state) == [1, 2, 1, 2, None]
