import pytest

from brainformer.worker.timing.budget import StepBudget, WallBudget


def test_wall_budget_ends_when_training_seconds_reach_it():
    budget = WallBudget(10.0, step_seconds=1.0)
    for _ in range(9):
        budget.record(1, 1.0)
    assert budget.fraction == pytest.approx(0.9)
    budget.record(1, 1.0)
    assert budget.fraction == 1.0


def test_wall_budget_never_plans_past_a_fraction():
    budget = WallBudget(10.0, step_seconds=0.3)
    assert budget.steps_until(0.25) == 8  # 8 x 0.3 = 2.4 <= 2.5
    budget.record(8, 2.4)
    assert budget.steps_until(0.25) == 1


def test_wall_budget_follows_a_changing_speed():
    budget = WallBudget(10.0, step_seconds=1.0)
    budget.record(1, 2.0)
    assert budget.steps_until(1.0) == 4
    assert budget.step_fraction(0) == pytest.approx(0.3)


def test_step_budget_visits_every_fraction_exactly():
    budget = StepBudget(10)
    taken = []
    for fraction in (0.25, 0.5, 0.75, 1.0):
        budget.record(budget.steps_until(fraction), 1.0)
        taken.append(budget.steps)
    assert taken == [3, 5, 8, 10]
    assert budget.fraction == 1.0


def test_step_budget_ignores_how_long_steps_take():
    slow, fast = StepBudget(100), StepBudget(100)
    slow.record(10, 100.0)
    fast.record(10, 0.1)
    assert [slow.step_fraction(i) for i in range(5)] == [fast.step_fraction(i) for i in range(5)]
    assert slow.training_seconds == 100.0


@pytest.mark.parametrize("total", [1, 2, 3, 7, 101])
def test_step_fractions_rise_within_the_budget(total):
    budget = StepBudget(total)
    fractions = [budget.step_fraction(i) for i in range(total)]
    assert fractions == sorted(fractions)
    assert 0 < fractions[0] <= fractions[-1] < 1


def test_resumed_budgets_count_what_was_spent():
    wall = WallBudget(10.0, step_seconds=1.0, steps=5, training_seconds=5.0)
    assert wall.fraction == 0.5
    assert StepBudget(10, steps=5, training_seconds=5.0).steps_until(1.0) == 5


def test_a_budget_shorter_than_a_step_still_trains_one():
    assert WallBudget(0.001, step_seconds=1.0).steps_until(1.0) == 1
    assert StepBudget(0).steps_until(1.0) == 1
