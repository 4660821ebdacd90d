"""A nano promotion on two cores: two blocks, the rival's family, two scales, fresh paired seeds.

The blocks are the two best of benchmarks/objectives/nano_blocks.json, given to a search as its only
candidates; the rival is GLaM's block cut to four sub-layers, the best member of its family at nano
(docs/experiments/proxy.md). A real controller and a real worker run everything. The table, the
ladders and what they prove are recorded, whatever they say.

    python -m benchmarks.promotion [--budgets 15 30] [--repeats 3] [--slots 2]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.report import RESULTS, report
from brainformer.api.report.promotion import (
    COLUMNS,
    claim_sentences,
    promotion_plot,
    remarks,
    table_rows,
)
from brainformer.search.space.genome import Genome
from brainformer.search.space.space import load_preset
from brainformer.search.space.zoo import fitted_genome
from brainformer.search.store.records import PromotionRecord
from tests.worker.stack import Stack, search_spec

BLOCKS = Path(__file__).parent / "objectives" / "nano_blocks.json"
RIVAL_DIM, RIVAL_DEPTH = 48, 4
MOST_MINUTES = 45.0


def main() -> None:
    options = _options()
    started = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="promotion-") as folder,
        Stack(Path(folder), slots=options.slots, runner="train") as stack,
    ):
        search = stack.create(_spec(options))
        stack.wait(search, seconds=options.limit)
        begun = time.monotonic()
        answer = stack.http.post(f"/searches/{search}/promotions", json=_wanted(options))
        if not answer.is_success:
            raise SystemExit(answer.text)
        stack.wait(answer.json()["id"], seconds=options.limit)
        (item,) = stack.http.get(f"/searches/{search}/promotions").json()["items"]
    found = PromotionRecord.model_validate(item)
    _judge(found, (time.monotonic() - begun) / 60, (begun - started) / 60, options)


def _spec(options: argparse.Namespace) -> dict[str, Any]:
    """Returns a search whose candidates are the given blocks."""
    blocks = json.loads(BLOCKS.read_text("utf-8"))[: options.top]
    whole = fitted_genome("glam", load_preset("nano"), RIVAL_DIM)
    rival = Genome(model_dim=RIVAL_DIM, layers=whole.layers[:RIVAL_DEPTH])
    made = search_spec("nano", trials=options.top, budget_seconds=options.search_budget)
    return made | {"seeds": blocks, "baseline": rival.canonical()}


def _wanted(options: argparse.Namespace) -> dict[str, Any]:
    return {
        "top": options.top,
        "scales": options.scales,
        "budget_seconds": options.budgets,
        "repeats": options.repeats,
        "learning_rates": options.learning_rates,
        "rival_depths": options.sizes,
        "rival_widths": options.sizes,
        "ladder": options.ladder,
    }


def _judge(
    found: PromotionRecord, minutes: float, search_minutes: float, options: argparse.Namespace
) -> None:
    """Prints the table and what it proves, and reports how long it took."""
    rows = [COLUMNS, *table_rows(found.result)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(COLUMNS))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)))
    words = [*claim_sentences(found.result), *remarks(found)]
    print("\n".join(words))
    complete = found.study.status == "completed"
    if not options.no_keep and complete:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "promotion.svg").write_text(promotion_plot(found), "utf-8")
    report(
        name="promotion",
        value=round(minutes, 2),
        unit="minutes of a nano promotion",
        target=f"under {MOST_MINUTES:g}, every run ended",
        ok=complete and minutes < MOST_MINUTES,
        details={
            "search_minutes": round(search_minutes, 2),
            "status": found.study.status,
            "runs": found.result.finished,
            "training_minutes": round(found.planned_seconds / 60, 2),
            "slots": options.slots,
            "request": found.request.model_dump(mode="json"),
            "table": [dict(zip(COLUMNS, row, strict=True)) for row in rows[1:]],
            "ladders": {
                point.label: [one.model_dump(mode="json") for one in point.ladder]
                for point in found.result.points
            },
            "claims": [claim.model_dump(mode="json") for claim in found.result.claims],
            "words": words,
        },
        keep=not options.no_keep,
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--top", type=int, default=2)
    parser.add_argument("--scales", type=float, nargs="+", default=[1, 2])
    parser.add_argument("--budgets", type=float, nargs="+", default=[15, 30], help="by scale")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--learning-rates", type=float, nargs="+", default=[0.5, 1, 2])
    parser.add_argument("--sizes", type=float, nargs="+", default=[0.5, 1, 2])
    parser.add_argument("--ladder", type=float, nargs="+", default=[0.25, 0.5, 1, 2, 4])
    parser.add_argument("--search-budget", type=float, default=5.0, help="of the search before")
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--limit", type=float, default=7200.0, help="seconds to give it")
    parser.add_argument("--no-keep", action="store_true", help="write no result")
    return parser.parse_args()


if __name__ == "__main__":
    main()
