"""Tune's Searcher: hands every slot its next turn, and reports the lease of an actor that died."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ray.tune import Stopper
from ray.tune.search import Searcher


class TurnSearcher(Searcher):  # type: ignore[misc]
    """Suggests turns until the run has lasted long enough; what a turn runs, its actor claims.

    Args:
        left: Returns the seconds that the run should still last.
        on_death: Told of the search and the lease that a dead actor ran.
        tell: Told what the slots have to tell, sentence by sentence.
        refuse: Told as what, by an error's code, and why the controller no longer takes this
            worker.
    """

    def __init__(
        self,
        *,
        left: Callable[[], float],
        on_death: Callable[[str, str], None],
        tell: Callable[[str], None],
        refuse: Callable[[str, str], None],
    ) -> None:
        super().__init__()
        self._left = left
        self._on_death = on_death
        self._tell = tell
        self._refuse = refuse
        self._running: dict[str, tuple[str, str]] = {}

    def suggest(self, trial_id: str) -> dict[str, Any] | str:  # noqa: ARG002 (Tune's name)
        """Returns a turn that ends with the run, FINISHED at its end."""
        left = self._left()
        return {"turn_seconds": left} if left > 0 else str(Searcher.FINISHED)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Remembers which lease the turn runs at present, and passes on its news."""
        self._pass_on(result)
        if result.get("lease"):
            self._running[trial_id] = (result["search"], result["lease"])
        else:
            self._running.pop(trial_id, None)

    def on_trial_complete(
        self,
        trial_id: str,
        result: dict[str, Any] | None = None,
        error: bool = False,
    ) -> None:
        """Forgets the turn; the lease of one whose actor died is reported."""
        self._pass_on(result or {})
        running = self._running.pop(trial_id, None)
        if error and running is not None:
            self._on_death(*running)

    def _pass_on(self, result: dict[str, Any]) -> None:
        for sentence in filter(None, str(result.get("news") or "").split("\n")):
            self._tell(sentence)
        if result.get("refusal"):
            self._refuse(str(result.get("refused_as")), str(result["refusal"]))

    def save(self, checkpoint_path: str) -> None:
        """Saves nothing: the controller's database is the truth."""

    def restore(self, checkpoint_path: str) -> None:
        """Restores nothing, for the same reason."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class Drained(Stopper):  # type: ignore[misc]
    """Stops every trial of the run once the dispatcher ends.

    Args:
        ended: Returns whether it does.
    """

    def __init__(self, ended: Callable[[], bool]) -> None:
        self._ended = ended

    def __call__(self, _trial_id: str, _result: dict[str, Any]) -> bool:
        """Returns whether this trial alone is over; never."""
        return False

    def stop_all(self) -> bool:
        """Returns whether the run is over."""
        return self._ended()

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune writes down what it is given; nothing here is ever restored
