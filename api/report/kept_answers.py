"""What a report's pictures are drawn from: the controller's own answers, kept in the file.

They are bounded: thinned columns for pictures, a hundred reasons of failure with the ends of their
tracebacks, the newest spans of workers. A report of 100,000 trials has about two thirds of a
megabyte.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime

from pydantic import BaseModel

from brainformer.api.schemas import Certificates
from brainformer.search.charts.pictures import Failures, Front, Overview
from brainformer.search.errors import NotFound
from brainformer.search.store.contract import SearchStore, TrialFilter
from brainformer.search.store.records import BestRecord, SearchRecord, TrialRecord

MESSAGE_CHARACTERS = 600
TRACEBACK_CHARACTERS = 4_000
MOST_POOLS = 12
MOST_CERTIFICATES = 3
Answers = Mapping[str, BaseModel | None]


def kept_answers(
    store: SearchStore,
    search: SearchRecord,
    best: BestRecord | None,
    overview: Overview,
    front: Front,
) -> Answers:
    """Returns the answers by REST path below the search's, and what the pictures need beside them.

    Args:
        store: Of the controller.
        search: The search.
        best: Its best trial, if there is one.
        overview: Its fitness, thinned.
        front: Its gain against step time, thinned.
    """
    charts = store.charts
    answers: dict[str, BaseModel | None] = {
        "/charts/overview": overview,
        "/charts/front": front,
        "/charts/composition": charts.composition(search.id),
        "/charts/gains": charts.gains(search.id),
        "/charts/lineage": charts.lineage(search.id),
        "/charts/failures": _shortened(charts.failures(search.id)),
        "/charts/machines": charts.machines(search.id),
        "/certificates": Certificates(
            items=tuple(store.studies.certificates(search.id)[:MOST_CERTIFICATES])
        ),
        "/best": best,
        "/best-run": None if best is None else store.get_trial(search.id, best.trial.number),
        "/rival": None if best is None else _rival(store, search.id, best.trial.pool),
    }
    for level in overview.levels[:MOST_POOLS]:
        with suppress(NotFound):
            detail = store.pools.get(level.pool)
            own = tuple(one for one in detail.searches if one.search_id == search.id)
            answers[f"/pools/{level.pool}"] = detail.model_copy(update={"searches": own})
    return answers


def as_json(search: SearchRecord, answers: Answers, read_at: datetime) -> str:
    """Returns the answers as JSON that may stand within an HTML element: it holds no "<"."""
    parts = [
        f"{json.dumps(path)}:{'null' if found is None else found.model_dump_json()}"
        for path, found in answers.items()
    ]
    text = (
        f'{{"read_at":{json.dumps(read_at.isoformat())},"search":{search.model_dump_json()},'
        f'"answers":{{{",".join(parts)}}}}}'
    )
    return text.replace("<", "\\u003c")  # it stands in strings alone


def _rival(store: SearchStore, search_id: str, pool: str | None) -> TrialRecord | None:
    """Returns the newest completed run of a pool's baseline, curve included."""
    where = TrialFilter.rival_runs(pool, sort="-number")
    found: Sequence[TrialRecord] = store.list_trials(search_id, where=where, limit=1).items
    return store.get_trial(search_id, found[0].number) if found else None


def _shortened(failures: Failures) -> Failures:
    """Returns the reasons with the ends of their tracebacks, where the error itself is told."""
    return Failures(
        items=[
            one.model_copy(
                update={
                    "message": one.message[:MESSAGE_CHARACTERS],
                    "traceback": _end(one.traceback),
                }
            )
            for one in failures.items
        ]
    )


def _end(text: str) -> str:
    return text if len(text) <= TRACEBACK_CHARACTERS else f"…{text[-TRACEBACK_CHARACTERS:]}"
