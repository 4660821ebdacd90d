"""The report of a search: one HTML file that stands alone.

Its words and tables are HTML; its pictures are the dashboard's, drawn by the dashboard's modules
over the controller's answers, which lie in the file as data. Its policy allows that one script and
no address at all. Where scripts do not run, two plain pictures stand in their place.

Everything in it is read from bounded listings, so that a report of a hundred thousand trials costs
what one of a hundred does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from html import escape

import yaml

from brainformer.api.dashboard.standalone import content_hash, script, styles
from brainformer.api.report.certainty import verdict_sentence
from brainformer.api.report.kept_answers import Answers, as_json, kept_answers
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

TOP = 20
ANCESTORS = 200
SCRIPT = "report/report.js"
PLACES = (
    ("What blocks are made of", "population"),
    ("What helps", "helps"),
    ("Lineage", "lineage"),
    ("Failures", "failures"),
    ("Machines", "machines"),
)


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
    answers: Answers
    read_at: datetime
    promotions: Sequence[PromotionRecord] = ()


def read_findings(store: SearchStore, search_id: str) -> Findings:
    """Returns what the store knows of a search.

    Raises:
        NotFound: there is no such search.
    """
    search = store.get_search(search_id)
    try:
        best = store.best(search.id)
    except NotFound:
        best = None
    number = None if best is None else best.trial.number
    shown, step_times = store.charts.overview(search.id), store.charts.front(search.id)
    return Findings(
        search=search,
        baselines=store.baselines(search.id),
        best=best,
        top=store.list_trials(search.id, where=TrialFilter.fittest(), limit=TOP).items,
        ancestry=() if number is None else store.ancestry(search.id, number, limit=ANCESTORS),
        read_at=datetime.now(UTC),
        promotions=store.studies.promotions(search.id),
        overview=shown,
        step_times=step_times,
        answers=kept_answers(store, search, best, shown, step_times),
    )


@cache
def policy() -> str:
    """Returns the report's content security policy: its one script, and nothing from elsewhere."""
    return (
        f"default-src 'none'; script-src {content_hash(script(SCRIPT))}; "
        "style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def report_html(findings: Findings) -> str:
    """Returns the report as one HTML document."""
    search = findings.search
    sections = [
        _summary(findings),
        _pictures(findings),
        f"<noscript>{_best(findings.best)}{_plots(findings)}</noscript>",
        _soundness(findings),
        *(_promotion(one) for one in findings.promotions),
        _section("Best trials", _trial_table(findings.top)),
        _section("Baselines", _baseline_table(findings.baselines)),
        _section("How the best block came about", _ancestry_table(findings.ancestry)),
        _section("Spec", f'<pre tabindex="0">{escape(_spec(search))}</pre>'),
    ]
    data = as_json(search, findings.answers, findings.read_at)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy()}">'
        f"<title>{escape(search.name)}: search report</title>"
        '<meta name="viewport" content="width=device-width">'
        '<meta name="color-scheme" content="light dark">'
        f"<style>{styles('base', 'pages', 'charts', 'trials', 'report')}{PICTURES}</style></head>"
        f"<body><main>{''.join(sections)}</main>"
        f'<script type="application/json" id="report-data">{data}</script>'
        f"<script>{script(SCRIPT)}</script></body></html>"
    )


def _pictures(findings: Findings) -> str:
    """Returns the places that the script draws into."""
    certificates = findings.answers["/certificates"]
    sections = list(PLACES)
    if getattr(certificates, "items", ()):
        sections.insert(-2, ("Certificate of the proxy", "certificates"))
    drawn = "".join(
        f'<section class="card"><h2>{title}</h2><div id="report-{place}"></div></section>'
        for title, place in sections
    )
    return (
        '<div class="pictures">'
        '<section id="report-answer" class="card answer" aria-label="The answer"></section>'
        '<div id="report-switches" class="chart-switches"></div>'
        '<div class="charts"><div id="report-fitness" class="card"></div>'
        '<div id="report-step" class="card"></div></div>'
        f'<div id="report-curve" class="card"></div>{drawn}</div>'
    )


def _summary(findings: Findings) -> str:
    search = findings.search
    counts = ", ".join(
        f"{count} {status.value}" for status, count in search.counts.items() if count
    )
    reason = f" ({escape(search.reason)})" if search.reason else ""
    return (
        f"<header><h1>{escape(search.name)}</h1>"
        f"<p>Search <code>{escape(search.id)}</code>, {search.status.value}{reason}. "
        f"Created {_time(search.created_at)}, last change {_time(search.updated_at)}. "
        f"Trials: {counts or 'none'}. "
        f"Written {_time(findings.read_at)}.</p></header>"
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
    """Returns two plain pictures."""
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
    return (
        f'<div class="table-scroll"><table class="plain figures"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _section(title: str, body: str) -> str:
    return f'<section class="card"><h2>{escape(title)}</h2>{body}</section>'


def _spec(search: SearchRecord) -> str:
    data = search.spec.model_dump(mode="json", exclude_defaults=True)
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True)


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def _time(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M UTC")
