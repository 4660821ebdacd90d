"""`brainformer certify`: how well a search's proxy ranks blocks, measured on its pool."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from brainformer.api.cli.searches.studies import Show, newest, start, write_plot
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

if TYPE_CHECKING:
    from brainformer.search.estimates.fidelity import Interval

COLUMNS = ("ranked at", "for", "blocks>", "tau-b", "tau-b, top 8", "noise ceiling", "regret, nats")


def certify(
    search: SearchName,
    blocks: Annotated[
        int, typer.Option(help="Blocks: half the best, half spread over the rest.")
    ] = 16,
    repeats: Annotated[int, typer.Option(help="Seeds of each block.")] = 2,
    budget: Annotated[
        list[float] | None,
        typer.Option(help="Multiple of the proxy's budget; repeatable. 1, 3 and 6 by default."),
    ] = None,
    scale: Annotated[
        list[float] | None,
        typer.Option(help="Multiple of the blocks' widths; repeatable. 1 and 2 by default."),
    ] = None,
    pool: Annotated[
        str | None, typer.Option(help="Where it runs; the search's first pool by default.")
    ] = None,
    show: Show = False,
    plot: Annotated[
        Path | None,
        typer.Option(help="With --show: write the proxy's losses against the target's, as SVG."),
    ] = None,
    idempotency_key: Key = None,
    url: Url = URL,
    token: Token = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Measure how well a search's proxy ranks blocks: longer and wider runs of some of them.

    The runs are ordinary trials on the search's pool; --show tells what they say so far.
    """
    client = connect(url, token, token_file)
    found = client.get(f"/searches/{search_path(search)}")
    if show or plot is not None:
        _show(newest(client, found, "certificate"), plot, as_json=as_json)
        return
    body: dict[str, Any] = {"blocks": blocks, "repeats": repeats}
    body |= {"budgets": budget} if budget else {}
    body |= {"scales": scale} if scale else {}
    body |= {"pool": pool} if pool else {}
    record = start(client, found, "certificate", body, key=idempotency_key, as_json=as_json)
    if as_json:
        return
    runs = record["spec"]["limits"]["trials"]
    say(f"{record['name']} runs {runs} trials; see what they say: brainformer certify {search} "
        "--show")  # fmt: skip


def _show(item: dict[str, Any], plot: Path | None, *, as_json: bool) -> None:
    from brainformer.api.report.certificate import certificate_plot
    from brainformer.search.estimates.fidelity import SUFFICIENT_REGRET
    from brainformer.search.store.records import CertificateRecord

    certificate = CertificateRecord.model_validate(item)
    write_plot(plot, certificate_plot, certificate)
    if as_json:
        print_json(item)
        return
    result = certificate.result
    say(
        f"{certificate.study.name} is {certificate.study.status.value}: {result.finished} of "
        f"{result.planned} runs have ended on {certificate.pool}"
    )
    for left_out in result.left_out:
        say(f"left out: {left_out}")
    if not result.rows:
        say("not enough runs yet: ranks need four blocks at a budget and at its target")
        return
    rows = [
        (
            f"budget x{row.budget:g}",
            f"x{row.target_budget:g}, width x{row.target_scale:g}",
            str(row.blocks),
            _told(row.tau, 2),
            _told(row.tau_top, 2),
            "-" if row.ceiling_top is None else _told(row.ceiling_top, 2),
            _told(row.regret, 3),
        )
        for row in result.rows
    ]
    stdout().print(table(COLUMNS, rows))
    if result.sufficient_budget is None:
        say(
            f"no budget suffices: the winner may be more than {SUFFICIENT_REGRET:g} nats from the "
            "best (95%)"
        )
    else:
        say(
            f"cheapest sufficient budget: x{result.sufficient_budget:g} (its winner is within "
            f"{SUFFICIENT_REGRET:g} nats of the best, 95%)"
        )


def _told(interval: Interval, digits: int) -> str:
    value, low, high = interval.value, interval.low, interval.high
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
