"""Budgets: how long a trial trains, and how far along it is.

Only training steps count. A budget is told of every block of steps that ran and answers two
questions: at which fraction does the next step lie (the learning rate's argument), and how many
steps may run before the next fraction of interest.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod


class Budget(ABC):
    """How much a trial may train; `record` moves it forward."""

    steps: int
    training_seconds: float

    @property
    @abstractmethod
    def fraction(self) -> float:
        """The part of the budget that is spent, from 0 to 1."""

    @abstractmethod
    def step_fraction(self, ahead: int) -> float:
        """Returns where the middle of a step lies, `ahead` steps after the next one."""

    @abstractmethod
    def steps_until(self, fraction: float) -> int:
        """Returns how many steps, at least 1, reach `fraction` as far as can be told now."""

    @abstractmethod
    def record(self, steps: int, seconds: float) -> None:
        """Counts a finished block of steps and the training seconds that it took."""


class WallBudget(Budget):
    """Ends when the measured training seconds reach the budget.

    Args:
        budget_seconds: Training seconds allowed.
        step_seconds: First guess of a step's time, from the warm-up.
        steps: Steps that an earlier attempt took.
        training_seconds: Training seconds that an earlier attempt spent.
    """

    def __init__(
        self,
        budget_seconds: float,
        *,
        step_seconds: float,
        steps: int = 0,
        training_seconds: float = 0.0,
    ) -> None:
        self.budget_seconds = budget_seconds
        self.steps = steps
        self.training_seconds = training_seconds
        self._step_seconds = step_seconds

    @property
    def fraction(self) -> float:
        """Spent training seconds over the budget."""
        return min(1.0, self.training_seconds / self.budget_seconds)

    def step_fraction(self, ahead: int) -> float:
        """Returns the expected place of that step's middle."""
        seconds = self.training_seconds + (ahead + 0.5) * self._step_seconds
        return min(1.0, seconds / self.budget_seconds)

    def steps_until(self, fraction: float) -> int:
        """Returns the steps to `fraction` at the present speed; rounds down, so it never skips."""
        left = fraction * self.budget_seconds - self.training_seconds
        return max(1, math.floor(left / self._step_seconds)) if self._step_seconds > 0 else 1

    def record(self, steps: int, seconds: float) -> None:
        """Counts the block; its mean step time is the next guess."""
        self.steps += steps
        self.training_seconds += seconds
        if steps > 0 and seconds > 0:
            self._step_seconds = seconds / steps


class StepBudget(Budget):
    """Ends after a number of steps fixed beforehand, however long they take.

    The calibrated clock and a re-run with a recorded number of steps both use it, so their
    learning rates agree bit for bit.
    """

    def __init__(self, total_steps: int, *, steps: int = 0, training_seconds: float = 0.0) -> None:
        self.total_steps = max(1, total_steps)
        self.steps = steps
        self.training_seconds = training_seconds

    @property
    def fraction(self) -> float:
        """Steps taken over all steps."""
        return min(1.0, self.steps / self.total_steps)

    def step_fraction(self, ahead: int) -> float:
        """Returns the place of that step's middle."""
        return min(1.0, (self.steps + ahead + 0.5) / self.total_steps)

    def steps_until(self, fraction: float) -> int:
        """Returns the exact number of steps that first reach `fraction`."""
        return max(1, math.ceil(fraction * self.total_steps - 1e-9) - self.steps)

    def record(self, steps: int, seconds: float) -> None:
        """Counts the block; its seconds are kept for the record only."""
        self.steps += steps
        self.training_seconds += seconds
