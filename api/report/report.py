"""The report of a search: one HTML file that stands alone, without script or foreign address.

Everything in it is read from bounded listings, so that a report of a hundred thousand trials costs
what one of a hundred does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape

import yaml

from brainformer.api.report.certainty import verdict_sentence
from brainformer.api.report.pictures import STYLE as PICTURES
from brainformer.api.report.pictures import fitness_picture, step_time_picture
from brainformer.api.report.promotion import (
    COLUMNS,
    claim_sentences,
    ladder_plot,
    ladder_points,
    remarks,
    standing,
    table_rows,
)
from brainformer.api.report.soundness import soundness
from brainformer.search.charts.pictures import Front, Overview
from brainformer.search.errors import NotFound
from brainformer.search.space.genome import Genome
from brainformer.search.store.contract import SearchStore, TrialFilter
from brainformer.search.store.records import (
    BaselineSummary,
    BestRecord,
    PromotionRecord,
    SearchRecord,
    TrialRecord,
)
from brainformer.search.trials.trial import TrialKind, TrialStatus

TOP = 20
ANCESTORS = 200
STYLE = """
:root { color-scheme: light dark; --line: #8886; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 56rem; margin: 2rem auto; padding: 0 1rem; }
h1 { margin-bottom: 0; } h2 { margin-top: 2rem; font-size: 1.15rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .2rem .6rem .2rem 0; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child, .words { text-align: left; }
pre { overflow-x: auto; padding: .75rem; border: 1px solid var(--line); border-radius: 6px; }
ol.block { list-style: none; padding: 0; max-width: 30rem; }
ol.block li { border: 1px solid var(--line); border-left-width: 6px; border-radius: 4px;
  padding: .2rem .6rem; margin: .2rem 0; }
li.attention { border-left-color: #1f77b4; } li.feed_forward { border-left-color: #2ca02c; }
li.moe { border-left-color: #ff7f0e; }
svg { width: 100%; height: auto; } svg text { font-size: 12px; fill: currentColor; }
svg .axis { stroke: currentColor; opacity: .5; } svg .guide { stroke: var(--line); }
svg .dot { fill: var(--mark); opacity: .7; } svg .front, svg .rival { fill: var(--best); }
"""


@dataclass(frozen=True)
class Findings:
    """What a report tells, read in a few bounded queries."""

    search: SearchRecord
    baselines: Sequence[BaselineSummary]
    best: BestRecord | None
    top: Sequence[TrialRecord]
    ancestry: Sequence[TrialRecord]
    overview: Overview
    step_times: Front
    promotions: Sequence[PromotionRecord] = ()


def read_findings(store: SearchStore, search_id: str) -> Findings:
    """Returns what the store knows of a search.

    Raises:
        NotFound: there is no such search.
    """
    search = store.get_search(search_id)
    completed = TrialFilter(
        statuses=(TrialStatus.COMPLETED,), kinds=(TrialKind.CANDIDATE,), sort="-fitness"
    )
    try:
        best = store.best(search.id)
    except NotFound:
        best = None
    number = None if best is None else best.trial.number
    return Findings(
        search=search,
        baselines=store.baselines(search.id),
        best=best,
        top=store.list_trials(search.id, where=completed, limit=TOP).items,
        ancestry=() if number is None else store.ancestry(search.id, number, limit=ANCESTORS),
        promotions=store.studies.promotions(search.id),
        overview=store.charts.overview(search.id),
        step_times=store.charts.front(search.id),
    )


def report_html(findings: Findings) -> str:
    """Returns the report as one HTML document."""
    search = findings.search
    sections = [
        _summary(findings),
        _best(findings.best),
        _soundness(findings),
        _plots(findings),
        *(_promotion(one) for one in findings.promotions),
        _section("Best trials", _trial_table(findings.top)),
        _section("Baselines", _baseline_table(findings.baselines)),
        _section("How the best block came about", _ancestry_table(findings.ancestry)),
        _section("Spec", f"<pre>{escape(_spec(search))}</pre>"),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(search.name)}: search report</title>"
        f'<meta name="viewport" content="width=device-width">'
        f"<style>{STYLE}{PICTURES}</style></head>"
        f"<body><h1>{escape(search.name)}</h1>{''.join(sections)}</body></html>"
    )


def _summary(findings: Findings) -> str:
    search = findings.search
    counts = ", ".join(
        f"{count} {status.value}" for status, count in search.counts.items() if count
    )
    reason = f" ({escape(search.reason)})" if search.reason else ""
    return (
        f"<p>Search <code>{escape(search.id)}</code>, {search.status.value}{reason}. "
        f"Created {_time(search.created_at)}, last change {_time(search.updated_at)}. "
        f"Trials: {counts or 'none'}.</p>"
    )


def _best(best: BestRecord | None) -> str:
    if best is None:
        return _section("Best block", "<p>No candidate has completed.</p>")
    trial, plain = best.trial, best.model_dump(mode="json")
    words = (
        f"<p>Trial {trial.number} {escape(verdict_sentence(plain))}. "
        f"Digest <code>{escape(trial.digest)}</code>.</p>"
    )
    return _section("Best block", words + block_html(trial.genome))


def _soundness(findings: Findings) -> str:
    found = soundness(findings.search, findings.baselines, findings.best)
    told = [
        f"the rival on {escape(pool)} sees {ratio:.3g} tokens per activated parameter"
        for pool, ratio in sorted(found.rival_tokens_per_parameter.items())
    ]
    if found.best_tokens_per_parameter is not None:
        told.append(f"the best block saw {found.best_tokens_per_parameter:.3g}")
    items = "".join(f"<li>{escape(note)}.</li>" for note in found.notes)
    if not told and not items:
        return ""
    sentence = f"<p>{', '.join(told).capitalize()}.</p>" if told else ""
    return _section("What to mind", sentence + (f"<ul>{items}</ul>" if items else ""))


def block_html(genome: Genome) -> str:
    """Returns the block's sub-layers as a list, from the input upwards."""
    layers = "".join(
        f'<li class="{layer["kind"]}">{escape(_told(layer))}</li>'
        for layer in genome.canonical()["layers"]
    )
    return f'<p>Model dim {genome.model_dim}.</p><ol class="block">{layers}</ol>'


def _told(layer: dict[str, object]) -> str:
    fields = ", ".join(f"{name} {value}" for name, value in layer.items() if name != "kind")
    return f"{layer['kind']}: {fields}".replace("_", " ")


def _plots(findings: Findings) -> str:
    """Returns the dashboard's two charts."""
    drawn = (
        ("Fitness of every trial", fitness_picture(findings.overview)),
        ("Gain against step time", step_time_picture(findings.overview, findings.step_times)),
    )
    return "".join(_section(title, picture) for title, picture in drawn if picture)


def _promotion(promotion: PromotionRecord) -> str:
    """Returns Table 3 of a promotion, what it proves, and the ladder of every point."""
    result = promotion.result
    words = [*claim_sentences(result), *remarks(promotion)]
    body = f"<p>{escape(standing(promotion))}.</p>{_table(COLUMNS, table_rows(result))}"
    body += "<ul>" + "".join(f"<li>{escape(one)}.</li>" for one in words) + "</ul>"
    for point in result.points:
        drawn = ladder_points(point)
        if drawn:
            body += f"<p>The rival's ladder (red) and the blocks at {escape(point.label)}.</p>"
            body += ladder_plot(drawn)
    return _section(f"Promotion {promotion.study.name}", body)


def _trial_table(trials: Iterable[TrialRecord]) -> str:
    rows = [
        [
            str(trial.number),
            trial.pool or "-",
            _number(trial.fitness, 4),
            _number(trial.measurements.validation_loss, 4),
            _number(trial.measurements.bits_per_byte, 4),
            _number(trial.measurements.step_time_ms, 2),
            f"{trial.activated_parameters:,}",
            f"{trial.parameters:,}",
            trial.origin
            + (f" of {trial.parent_number}" if trial.parent_number is not None else ""),
        ]
        for trial in trials
    ]
    heads = (
        "trial",
        "pool",
        "fitness, one run",
        "loss",
        "bits/byte",
        "step ms",
        "activated",
        "parameters",
        "origin",
    )
    return _table(heads, rows)


def _baseline_table(baselines: Iterable[BaselineSummary]) -> str:
    rows = [
        [
            b.pool,
            f"{b.repeats} of {b.needed}",
            _number(b.validation_loss, 4),
            _number(b.noise, 4),
            _number(b.step_time_ms, 2),
            _number(b.step_time_noise_ms, 2),
        ]
        for b in baselines
    ]
    return _table(("pool", "repeats", "loss", "noise", "step ms", "noise, ms"), rows)


def _ancestry_table(ancestry: Sequence[TrialRecord]) -> str:
    rows = [[str(t.number), _number(t.fitness, 4), t.mutation or t.origin] for t in ancestry[::-1]]
    return _table(("trial", "fitness", "mutation"), rows)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return "<p>None.</p>"
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{body}</section>"


def _spec(search: SearchRecord) -> str:
    data = search.spec.model_dump(mode="json", exclude_defaults=True)
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True)


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def _time(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M UTC")
