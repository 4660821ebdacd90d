"""`brainformer promote`: a search's best blocks and its rival, trained at larger scales."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from brainformer.api.cli.searches.studies import Kind, Show, named, newest, start, write_plot
from brainformer.api.cli.searches.targets import FILES, parse_count, target_given
from brainformer.api.cli.terminal.address import search_path
from brainformer.api.cli.terminal.options import (
    URL,
    AsJson,
    Key,
    SearchName,
    Token,
    TokenFile,
    Url,
    connect,
)
from brainformer.api.cli.terminal.output import print_json, say, stdout, table
from brainformer.search.errors import InvalidInput

KIND: Kind = "promotion"
SCALE = re.compile(r"x?([0-9]{1,4}(?:\.[0-9]{1,6})?)x?")
SPAN = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)(s|m|min|h|d)?")
SECONDS = {None: 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}


def promote(
    search: SearchName,
    budget: Annotated[
        str | None,
        typer.Option(
            help="Training time of each block: 45s, 30m, 2h. One for the largest scale, of which "
            "the others get their share; or one for each scale and target: 5m,1h.",
            show_default=False,
        ),
    ] = None,
    top: Annotated[int, typer.Option(help="How many of the best blocks.")] = 3,
    trial: Annotated[
        list[int] | None,
        typer.Option(help="A trial to promote instead; repeatable.", show_default=False),
    ] = None,
    scales: Annotated[
        str | None,
        typer.Option(
            help="Multiples of widths and depth: 1x,2x,4x. 1x,2x where no target is given.",
            show_default=False,
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            help="Sizes in activated parameters, or YAML files with targets: 100M,1B.",
            show_default=False,
        ),
    ] = None,
    repeats: Annotated[int, typer.Option(help="Fresh seeds of each block.")] = 5,
    learning_rates: Annotated[
        str, typer.Option(help="Multiples of the learning rate at which every block is tried.")
    ] = "0.5,1,2",
    rival_depths: Annotated[
        str, typer.Option(help="Multiples of the rival's depth that are tried.")
    ] = "0.5,1,2",
    rival_widths: Annotated[
        str, typer.Option(help="Multiples of the rival's widths that are tried.")
    ] = "0.5,1,2",
    ladder: Annotated[
        str, typer.Option(help="Multiples of the budget that the rival is trained for.")
    ] = "0.25,0.5,1,2,4",
    pool: Annotated[
        str | None,
        typer.Option(help="Where it runs; the best block's own by default.", show_default=False),
    ] = None,
    show: Show = False,
    promotion: Annotated[
        str | None,
        typer.Option(help="Show this one: its id or name.", show_default=False),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(help="Show it and write the rival's ladders and the blocks, as SVG."),
    ] = None,
    idempotency_key: Key = None,
    url: Url = URL,
    token: Token = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Train a search's best blocks and its rival at larger scales, and compare them.

    The runs are ordinary trials on the search's pool; --show tells what they say so far.
    """
    client = connect(url, token, token_file)
    found = client.get(f"/searches/{search_path(search)}")
    if show or plot is not None or promotion is not None:
        item = (
            newest(client, found, KIND)
            if promotion is None
            else named(client, found, KIND, promotion)
        )
        _show(item, plot, as_json=as_json)
        return
    if budget is None:
        raise InvalidInput("a promotion needs a budget: how long each block trains, --budget 30m")
    if scales is None and target is None:
        scales = "1x,2x"
    body: dict[str, Any] = {
        "top": top,
        "trials": trial or [],
        "scales": _multiples(scales, "--scales") if scales else [],
        "targets": _targets(target) if target else [],
        "budget_seconds": [_seconds(one) for one in budget.split(",")],
        "repeats": repeats,
        "learning_rates": _multiples(learning_rates, "--learning-rates"),
        "rival_depths": _multiples(rival_depths, "--rival-depths"),
        "rival_widths": _multiples(rival_widths, "--rival-widths"),
        "ladder": _multiples(ladder, "--ladder"),
    }
    body |= {"pool": pool} if pool else {}
    record = start(client, found, KIND, body, key=idempotency_key, as_json=as_json)
    if not as_json:
        _tell_plan(named(client, found, KIND, record["id"]), search)


def _tell_plan(item: dict[str, Any], search: str) -> None:
    from brainformer.search.store.records import PromotionRecord
    from brainformer.search.studies.promotion_points import span

    promotion = PromotionRecord.model_validate(item)
    result = promotion.result
    budgets = ", ".join(f"{one.label} {span(one.budget_seconds)}" for one in result.points)
    for words in result.left_out:
        say(f"left out: {words}")
    say(
        f"{promotion.study.name} runs about {result.planned} trials, "
        f"{span(promotion.planned_seconds)} of training in all (a block: {budgets}); see what "
        f"they say: brainformer promote {search} --show"
    )


def _show(item: dict[str, Any], plot: Path | None, *, as_json: bool) -> None:
    from brainformer.api.report.promotion import (
        COLUMNS,
        claim_sentences,
        promotion_plot,
        remarks,
        standing,
        table_rows,
    )
    from brainformer.search.store.records import PromotionRecord

    promotion = PromotionRecord.model_validate(item)
    write_plot(plot, promotion_plot, promotion)
    if as_json:
        print_json(item)
        return
    say(standing(promotion))
    for words in remarks(promotion):
        say(words)
    stdout().print(table(COLUMNS, table_rows(promotion.result)))
    for words in claim_sentences(promotion.result):
        say(words)


def _multiples(text: str, option: str) -> list[float]:
    """Returns the numbers in "1x,2x" or "0.5,1,2".

    Raises:
        InvalidInput: they are no such numbers.
    """
    found = []
    for part in text.split(","):
        match = SCALE.fullmatch(part.strip())
        if match is None or not float(match[1]):
            raise InvalidInput(f"{option} takes multiples above 0 with commas between them", text)
        found.append(float(match[1]))
    return found


def _seconds(text: str) -> float:
    """Returns the seconds in "45s", "30m", "2h" or "1d".

    Raises:
        InvalidInput: it is no such time.
    """
    match = SPAN.fullmatch(text.strip())
    if match is None or not float(match[1]):
        raise InvalidInput("--budget takes times above 0 such as 45s, 30m, 2h or 1d", text)
    return float(match[1]) * SECONDS[match[2]]


def _targets(text: str) -> list[Any]:
    """Returns sizes as numbers, and targets in files as they stand there."""
    return [
        target_given(part).model_dump(mode="json")
        if Path(part.strip()).suffix in FILES
        else parse_count(part)
        for part in text.split(",")
    ]
