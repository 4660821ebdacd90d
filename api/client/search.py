"""One search of a controller: waited for, looked into, controlled, exported."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from brainformer.api.cli.searches.export import export_of
from brainformer.api.cli.searches.targets import target_given
from brainformer.api.cli.terminal.controller_client import ControllerClient
from brainformer.api.cli.terminal.output import write_atomically
from brainformer.api.client.frame import frame_of
from brainformer.api.client.waiting import Progress, telling
from brainformer.search.errors import ControllerUnreachable, InvalidInput, InvalidSpec
from brainformer.search.export.flax_source import flax_source
from brainformer.search.export.genome_file import GenomeExport, scale_export
from brainformer.search.scaling.target import Target
from brainformer.search.spec import Limits
from brainformer.search.status import SearchStatus
from brainformer.search.store.records import (
    BestRecord,
    PromotionRecord,
    SearchRecord,
    TrialRecord,
)
from brainformer.search.studies.promotion import checked_request
from brainformer.search.trials.trial import TrialKind, TrialStatus
from brainformer.search.validation import BrokenRules, checked

if TYPE_CHECKING:
    import pandas as pd

PAGE = 500
LONGEST_OUTAGE_SECONDS = 120.0
WRITERS: dict[str, Callable[[GenomeExport], str]] = {
    "genome": GenomeExport.to_json,
    "flax": flax_source,
}


class Search:
    """A search, as the controller has it.

    Attributes:
        id: Its id, which never changes.
        record: Where it stood when it was last asked for; `refresh` asks again.
    """

    def __init__(self, rest: ControllerClient, record: SearchRecord) -> None:
        self._rest = rest
        self.record = record
        self.id = record.id

    def __repr__(self) -> str:
        one = self.record
        return f"<search {one.name} ({one.id}) {one.status}, {one.candidates_finished} candidates>"

    @property
    def url(self) -> str:
        """Where the dashboard shows it."""
        return f"{self._rest.url}/?search={self.id}"

    def refresh(self) -> SearchRecord:
        """Returns where the search stands now."""
        self.record = SearchRecord.model_validate(self._rest.get(f"/searches/{self.id}"))
        return self.record

    def wait(
        self,
        *,
        progress: Progress | bool = True,
        timeout_seconds: float | None = None,
        poll_seconds: float = 1.0,
    ) -> SearchRecord:
        """Returns when the search has ended, however it ended; its status says how.

        An outage of the controller of up to two minutes is waited out.

        Args:
            progress: True draws a bar on stderr; or a function that is given the record whenever
                the search has changed.
            timeout_seconds: Longest wait; None waits as long as the search takes.
            poll_seconds: Between two looks.

        Raises:
            TimeoutError: the search goes on after `timeout_seconds`.
            ControllerUnreachable: it did not answer for two minutes.
        """
        end = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        told_last: SearchRecord | None = None
        with telling(progress) as tell:
            while True:
                record = self._refresh_through_outages()
                if record != told_last:
                    told_last = record
                    tell(record)
                if SearchStatus(record.status).ended:
                    return record
                if end is not None and time.monotonic() >= end:
                    raise TimeoutError(
                        f"search {record.name} is {record.status} after {timeout_seconds:g} s; "
                        "wait again, or stop it"
                    )
                time.sleep(poll_seconds)

    def trials(
        self,
        *,
        status: TrialStatus | str | None = None,
        kind: TrialKind | str | None = None,
        sort: str = "number",
    ) -> Iterator[TrialRecord]:
        """Yields the trials, page by page; curves are left out: ask for one with `trial`.

        Args:
            status: Only these: "completed", "failed" ...
            kind: Only these: "candidate", "baseline" ...
            sort: `number`, `fitness`, `step_time_ms`, `parameters` or `seq`; a leading minus is
                descending.
        """
        cursor: str | None = None
        while True:
            page = self._rest.get(
                f"/searches/{self.id}/trials",
                status=status,
                kind=kind,
                sort=sort,
                cursor=cursor,
                limit=PAGE,
            )
            for item in page["items"]:
                yield TrialRecord.model_validate(item)
            cursor = page.get("next_cursor")
            if cursor is None:
                return

    def frame(self, **which: Any) -> pd.DataFrame:
        """Returns the trials as a pandas frame, one a row, indexed by number; see `trials`.

        Raises:
            EnvironmentProblem: pandas is not installed.
        """
        return frame_of(self.trials(**which))

    def trial(self, number: int) -> TrialRecord:
        """Returns one trial with its learning curve.

        Raises:
            NotFound: there is no such trial.
        """
        return TrialRecord.model_validate(self._rest.get(f"/searches/{self.id}/trials/{number}"))

    def repeat(self, number: int) -> TrialRecord:
        """Queues a candidate's block once more, with a fresh seed; returns the new trial.

        What it shows counts neither for the race among finalists nor for the best.

        Raises:
            NotFound: there is no such trial.
            Conflict: the search has ended, the trial is not a candidate that has ended, or nobody
                works on its pool.
        """
        made = self._rest.post(f"/searches/{self.id}/trials/{number}/repeats")
        return TrialRecord.model_validate(made)

    def best(self) -> BestRecord:
        """Returns the best trial and what fresh runs say of it.

        Raises:
            NotFound: no candidate has completed.
        """
        return BestRecord.model_validate(self._rest.get(f"/searches/{self.id}/best"))

    def pareto(self) -> list[TrialRecord]:
        """Returns the trials that none of their pool beats in loss, step time and parameters."""
        found = self._rest.get(f"/searches/{self.id}/pareto")["items"]
        return [TrialRecord.model_validate(one) for one in found]

    def export(
        self,
        path: Path | str | None = None,
        *,
        trial: int | None = None,
        format: Literal["genome", "flax"] = "genome",  # noqa: A002 (the command line's word)
        target_params: int | str | Target | None = None,
    ) -> GenomeExport:
        """Returns a block with where it came from, checked by its digest; writes it to `path`.

        Args:
            path: The file to write; None writes none.
            trial: A trial's number; None takes the best.
            format: Of the file: `genome`, JSON with its measurements, or `flax`, source that
                needs only jax and flax. `brainformer export` writes folders with weights.
            target_params: Activated parameters to scale the block to, as a number or as on the
                command line ("300M", or the file of a target), or a whole target.

        Raises:
            InvalidInput: there is no such format, or the block cannot be scaled like that.
            NotFound: there is no such trial, or no candidate has completed.
            EnvironmentProblem: the file cannot be written.
        """
        if format not in WRITERS:
            raise InvalidInput(
                "here a block is exported as 'genome' or 'flax'; 'brainformer export' writes the "
                "other formats",
                format,
            )
        target = target_given(target_params) if isinstance(target_params, str) else target_params
        base = f"/searches/{self.id}"
        best = self._rest.get(f"{base}/best") if trial is None else {}
        row = best["trial"] if trial is None else self._rest.get(f"{base}/trials/{trial}")
        document = export_of(self._rest.get(base), row, best)
        if target is not None:
            document, _ = scale_export(document, target)
        if path is not None:
            write_atomically(Path(path), WRITERS[format](document))
        return document

    def promote(
        self, *, pool: str | None = None, idempotency_key: str | None = None, **wanted: Any
    ) -> Search:
        """Starts a promotion of the best blocks; returns the study that runs it.

        The study is waited for, paused and cancelled like a search.

        Args:
            pool: Where it runs; the best block's own by default.
            idempotency_key: The same key with the same fields never creates twice.
            **wanted: Fields of a `PromotionRequest`: `scales`, `targets`, `budget_seconds`, `top`,
                `repeats` ...

        Raises:
            InvalidInput: a field breaks a rule, or there is nothing to promote.
            Conflict: nobody works on the pool, or it has no baseline of this search.
        """
        body = checked_request(wanted).model_dump(mode="json", exclude_unset=True)
        body |= {} if pool is None else {"pool": pool}
        path = f"/searches/{self.id}/promotions"
        made = self._rest.post(path, body, Idempotency_Key=idempotency_key)
        return Search(self._rest, SearchRecord.model_validate(made))

    def promotions(self) -> list[PromotionRecord]:
        """Returns the promotions, newest first, with what they show so far."""
        found = self._rest.get(f"/searches/{self.id}/promotions")["items"]
        return [PromotionRecord.model_validate(one) for one in found]

    def report(self, path: Path | str | None = None) -> str:
        """Returns the report, one HTML page that stands alone; writes it to `path`."""
        page = self._rest.text(f"/searches/{self.id}/report")
        if path is not None:
            write_atomically(Path(path), page)
        return page

    def pause(self) -> SearchRecord:
        """Starts no new trials; the running ones finish."""
        return self._become("pause")

    def resume(self) -> SearchRecord:
        """Goes on with a paused search."""
        return self._become("resume")

    def stop(self) -> SearchRecord:
        """Starts no new trials, lets the running ones finish, and ends."""
        return self._become("stop")

    def cancel(self) -> SearchRecord:
        """Ends at once; running trials are given up."""
        return self._become("cancel")

    def change_limits(
        self, *, trials: int | None = None, hours: float | None = None
    ) -> SearchRecord:
        """Sets when the search ends; a limit that is not given is taken away.

        Raises:
            InvalidSpec: neither is given, or one is out of range.
            Conflict: the search has ended.
        """
        try:
            limits = checked(Limits, {"trials": trials, "hours": hours})
        except BrokenRules as broken:
            raise broken.as_error(InvalidSpec) from None
        body = {"limits": limits.model_dump(mode="json")}
        changed = self._rest.patch(f"/searches/{self.id}", body)
        self.record = SearchRecord.model_validate(changed)
        return self.record

    def delete(self) -> None:
        """Deletes a search that has ended, with its trials.

        Raises:
            Conflict: it has not ended.
        """
        self._rest.delete(f"/searches/{self.id}")

    def _become(self, action: str) -> SearchRecord:
        self.record = SearchRecord.model_validate(self._rest.post(f"/searches/{self.id}/{action}"))
        return self.record

    def _refresh_through_outages(self) -> SearchRecord:
        failed_since: float | None = None
        while True:
            try:
                return self.refresh()
            except ControllerUnreachable:
                now = time.monotonic()
                failed_since = now if failed_since is None else failed_since
                if now - failed_since > LONGEST_OUTAGE_SECONDS:
                    raise
                time.sleep(1.0)
