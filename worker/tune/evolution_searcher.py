"""A Ray Tune Searcher over our evolution, for people with a Tune job of their own.

The dispatcher does not use it: there the controller proposes, and Tune only runs leases. Callbacks
may come twice after a crash of the driver (Tune suggests some trials again), so a trial that has
ended is not told a second time.
"""

from __future__ import annotations

from typing import Any

from ray.tune.search import Searcher
from typing_extensions import override

from brainformer.search.ask_tell.contract import AskedTrial, AskTell
from brainformer.search.errors import Conflict, InvalidInput, InvalidMeasurement, SpaceExhausted

ELSEWHERE = (
    "a searcher cannot be restored or copied, for its search lives outside Tune; begin a new Tuner "
    "with EvolutionSearcher(open_sql_search(spec, url)), which goes on where the search stands"
)


class EvolutionSearcher(Searcher):  # type: ignore[misc]
    """Suggests `{"genome": canonical JSON data, "seed": int}` and learns from what is reported.

    Args:
        search: In memory, or in SQL to go on after a restart. What it has pending is suggested
            first: those trials were lost with the driver that asked for them.
        metric: Name of the reported figure; "fitness" if neither this nor TuneConfig names one.
        mode: "max" or "min"; "max" if neither this nor TuneConfig says.
        pruned: Name of a reported flag: true where the genome breaks a constraint.
        step_time_ms: Name of the reported step time, for the choice by several objectives.
        parameters: Name of the reported number of parameters, for the same.
    """

    def __init__(
        self,
        search: AskTell,
        *,
        metric: str | None = None,
        mode: str | None = None,
        pruned: str = "pruned",
        step_time_ms: str | None = None,
        parameters: str | None = None,
    ) -> None:
        super().__init__(metric=metric or "fitness", mode=mode or "max")
        self._given = {"metric": metric, "mode": mode}
        self._search = search
        self._pruned = pruned
        self._costs = {"step_time_ms": step_time_ms, "parameters": parameters}
        self._lost = search.pending()
        self._trials: dict[str, AskedTrial] = {}

    @override
    def set_search_properties(
        self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any
    ) -> bool:
        """Takes over what TuneConfig names; Tune tells it only beside a `param_space`.

        Raises:
            InvalidInput: TuneConfig and this searcher name different figures.
        """
        for name, asked in (("metric", metric), ("mode", mode)):
            given = self._given[name]
            if asked and given and asked != given:
                rule = f"TuneConfig({name}=...) is not what EvolutionSearcher was given, {given!r}"
                raise InvalidInput(f"{rule}; name it in one of them", asked)
        self._metric = metric or self.metric
        self._mode = mode or self.mode
        return True

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Returns the next genome, FINISHED when the space is exhausted."""
        if trial_id in self._trials:
            return _config(self._trials[trial_id])
        try:
            trial = self._lost.pop(0) if self._lost else self._search.ask()
        except SpaceExhausted:
            return str(Searcher.FINISHED)
        self._trials[trial_id] = trial
        return _config(trial)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tells what the trial's last result was; without a finite figure it has failed."""
        trial = self._trials.pop(trial_id, None)
        if trial is None:
            return
        reported = {} if error or result is None else result
        try:
            self._tell(trial, reported)
        except InvalidMeasurement as refused:
            self._search.fail(trial, "the trial failed" if error else refused.message)

    def _tell(self, trial: AskedTrial, reported: dict[str, Any]) -> None:
        if reported.get(self._pruned):
            self._search.tell(trial, pruned=True)
            return
        value: Any = reported.get(self.metric)
        try:
            fitness = float(value) * (1 if self.mode == "max" else -1)
        except (TypeError, ValueError):
            raise InvalidMeasurement(f"no finite {self.metric!r} was reported", value) from None
        costs: dict[str, Any] = {
            name: reported.get(metric) for name, metric in self._costs.items() if metric
        }
        self._search.tell(trial, fitness, **costs)

    def save(self, checkpoint_path: str) -> None:
        """Saves nothing: the search is the truth, and one in SQL outlives the driver."""

    def restore(self, checkpoint_path: str) -> None:
        """Restores nothing, for the same reason."""

    def __reduce__(self) -> tuple[type[SearcherOfAnotherRun], tuple[()]]:
        """Pickles, as Tune does for its own records, to what says why it cannot be used again."""
        return SearcherOfAnotherRun, ()


class SearcherOfAnotherRun(Searcher):  # type: ignore[misc, unused-ignore]
    """What a copy or a pickle of an `EvolutionSearcher` becomes, as in `Tuner.restore`.

    The search itself is the truth, and no copy of it can be.
    """

    @override
    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Raises Conflict: the searcher must be made anew."""
        raise Conflict(ELSEWHERE)

    @override
    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Raises Conflict: the searcher must be made anew."""
        raise Conflict(ELSEWHERE)

    @override
    def save(self, checkpoint_path: str) -> None:
        """Saves nothing."""

    @override
    def restore(self, checkpoint_path: str) -> None:
        """Raises Conflict: the searcher must be made anew."""
        raise Conflict(ELSEWHERE)


def _config(trial: AskedTrial) -> dict[str, Any]:
    return {"genome": trial.genome.canonical(), "seed": trial.seed, "number": trial.number}
