"""`brainformer search`: create, list, show, watch, pause, resume, stop and cancel searches."""

from __future__ import annotations

import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from brainformer.api.cli.searches.best import best_fitness
from brainformer.api.cli.searches.events import ends_search, print_event
from brainformer.api.cli.searches.unserved import unserved
from brainformer.api.cli.terminal.address import search_path
from brainformer.api.cli.terminal.exit_codes import SEARCH_FAILED
from brainformer.api.cli.terminal.group import Group
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
from brainformer.api.cli.terminal.output import (
    number,
    print_json,
    print_line,
    say,
    stdout,
    table,
)
from brainformer.api.report.certainty import verdict_sentence
from brainformer.search.counted import counted
from brainformer.search.errors import ControllerUnreachable
from brainformer.search.status import SearchStatus

if TYPE_CHECKING:
    from brainformer.api.cli.terminal.controller_client import ControllerClient

app = typer.Typer(cls=Group, no_args_is_help=True, help="Launch searches and look after them.")


@app.command()
def create(
    file: Annotated[
        Path,
        typer.Option(
            "--file", "-f", help="The spec, YAML or JSON; - for standard input.", show_default=False
        ),
    ],
    idempotency_key: Key = None,
    seed_zoo: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A zoo genome to begin with; repeatable."),
    ] = None,
    seed_search: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SEARCH[:COUNT]",
            help="The best of an earlier search to begin with, as SEARCH or SEARCH:COUNT, "
            "10 without a count; repeatable.",
        ),
    ] = None,
    seed_file: Annotated[
        list[Path] | None,
        typer.Option(
            help="Genomes, exported blocks or zoo names to begin with: JSON, YAML or JSON lines; "
            "repeatable."
        ),
    ] = None,
    imported: Annotated[
        list[Path] | None,
        typer.Option(
            "--import",
            metavar="FILE",
            help="Trials of an earlier search with the same space, proxy, data and baseline, as "
            "'export --format trials' writes them: they count and are not run again; repeatable.",
        ),
    ] = None,
    url: Url = URL,
    token: Token = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Launch a search; its id goes to stdout.

    Seeds are proposed first: the spec's own, then those of the options, in the order of this page.
    """
    from brainformer.api.cli.searches.imports import launched
    from brainformer.api.cli.searches.seeds import with_seeds
    from brainformer.search.spec import parse_spec, read_spec_file

    client = connect(url, token, token_file)
    wanted = with_seeds(
        parse_spec(sys.stdin.buffer.read() if str(file) == "-" else read_spec_file(file)),
        client,
        zoo=seed_zoo or (),
        searches=seed_search or (),
        files=seed_file or (),
    )
    key = idempotency_key or uuid.uuid4().hex
    record, campaign = launched(client, wanted, imported or (), key=key)
    if campaign is not None:
        left = f", {campaign.left_out} left out" if campaign.left_out else ""
        say(f"imported {counted(len(campaign.candidates), 'candidate')}{left}")
    if as_json:
        print_json(record)
    else:
        print_line(record["id"])
        begins = f", begins with {counted(len(wanted.seeds), 'seed')}" if wanted.seeds else ""
        say(
            f"search {record['name']} is {record['status']}{begins}; "
            f"watch it: {client.url}/?search={record['id']}"
        )
        _tell_unserved(client, record)


@app.command("list")
def list_searches(
    url: Url = URL, token: Token = None, token_file: TokenFile = None, as_json: AsJson = False
) -> None:
    """List the searches, newest first."""
    client = connect(url, token, token_file)
    records: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        page = client.get("/searches", cursor=cursor, limit=100)
        records += page["items"]
        cursor = page.get("next_cursor")
        if cursor is None:
            break
    if as_json:
        print_json(records)
    elif not records:
        say("no searches yet; launch one with 'brainformer search create -f SPEC'")
    else:
        rows = [(r["id"], r["name"], r["status"], _progress(r), best_fitness(r)) for r in records]
        stdout().print(table(("id", "name", "status", "trials>", "best fitness>"), rows))


@app.command()
def show(
    search: SearchName,
    url: Url = URL,
    token: Token = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Show where a search stands."""
    client = connect(url, token, token_file)
    record = client.get(f"/searches/{search_path(search)}")
    if as_json:
        print_json(record)
        return
    counts = ", ".join(f"{count} {name}" for name, count in record["counts"].items() if count)
    rows = [
        ("id", record["id"]),
        ("name", record["name"]),
        ("status", record["status"] + (f" ({record['reason']})" if record["reason"] else "")),
        ("candidates", _progress(record)),
        ("trials", counts or "none yet"),
        ("best fitness", best_fitness(record)),
        ("best trial", _best(client, record)),
    ]
    found = client.get(f"/searches/{record['id']}/soundness")
    for pool, ratio in sorted(found["rival_tokens_per_parameter"].items()):
        rows.append((f"rival on {pool}", f"{ratio:.3g} tokens per activated parameter"))
    if found["best_tokens_per_parameter"] is not None:
        ratio = found["best_tokens_per_parameter"]
        rows.append(("best trial's run", f"{ratio:.3g} tokens per activated parameter"))
    stdout().print(table(("", ""), rows))
    _tell_unserved(client, record)
    for note in found["notes"]:
        say(f"note: {note}")


@app.command()
def pareto(
    search: SearchName,
    url: Url = URL,
    token: Token = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """List the front: who is beaten by none of its pool in loss, step time and parameters."""
    trials = connect(url, token, token_file).get(f"/searches/{search_path(search)}/pareto")["items"]
    if as_json:
        print_json(trials)
    elif not trials:
        say("no candidate has completed yet")
    else:
        names = ("trial>", "pool", "fitness>", "loss>", "step ms>", "parameters>")
        stdout().print(table(names, [_compromise(trial) for trial in trials]))


@app.command()
def watch(
    search: SearchName,
    url: Url = URL,
    token: Token = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Follow a search until it ends; a dropped connection resumes where it was.

    On a terminal it is drawn in place; elsewhere, and with --json, one event is one line.
    """
    from brainformer.api.cli.searches.live_view import LiveView

    client = connect(url, token, token_file)
    record = client.get(f"/searches/{search_path(search)}")
    _tell_unserved(client, record)
    if as_json or not sys.stdout.isatty():
        record = _followed(client, record, lambda event: print_event(event, as_json=as_json))
    else:
        with LiveView(client, record) as view:
            record = _followed(client, record, view.tell)
    say(f"search {record['name']} {record['status']}, best fitness {best_fitness(record)}")
    if record["status"] == SearchStatus.FAILED:
        raise typer.Exit(SEARCH_FAILED)


def _followed(
    client: ControllerClient, record: dict[str, Any], tell: Callable[[dict[str, Any]], None]
) -> dict[str, Any]:
    """Tells a search's events until it has ended, and returns it."""
    seen = 0
    failures = 0
    while not SearchStatus(record["status"]).ended:
        try:
            for event in client.events(record["id"], after=seen):
                seen = int(event.get("id", seen))
                failures = 0
                tell(event)
                if ends_search(event):
                    break
            record = client.get(f"/searches/{record['id']}")
        except ControllerUnreachable:
            failures += 1
            if failures > 20:
                raise
            say("the connection dropped; trying again ...")
            time.sleep(min(2.0**failures / 4, 15))
    return record


@app.command()
def pause(
    search: SearchName,
    url: Url = URL,
    token: Token = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Start no new trials; the running ones finish."""
    _act(connect(url, token, token_file), search, "pause", as_json=as_json)


@app.command()
def resume(
    search: SearchName,
    url: Url = URL,
    token: Token = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Go on with a paused search."""
    _act(connect(url, token, token_file), search, "resume", as_json=as_json)


@app.command()
def stop(
    search: SearchName,
    url: Url = URL,
    token: Token = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Start no new trials, let the running ones finish, and end."""
    _act(connect(url, token, token_file), search, "stop", as_json=as_json)


@app.command()
def cancel(
    search: SearchName,
    url: Url = URL,
    token: Token = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """End at once; running trials are given up."""
    _act(connect(url, token, token_file), search, "cancel", as_json=as_json)


def _tell_unserved(client: ControllerClient, record: dict[str, Any]) -> None:
    told = unserved(client, record)
    if told:
        say(told)


def _act(client: ControllerClient, search: str, action: str, *, as_json: bool) -> None:
    record = client.post(f"/searches/{search_path(search)}/{action}")
    if as_json:
        print_json(record)
    else:
        print_line(f"{record['name']} is {record['status']}")


def _best(client: ControllerClient, record: dict[str, Any]) -> str:
    """Returns the best trial's number, and what its fresh runs say."""
    if record["best_trial_number"] is None:
        return "-"
    best = client.get(f"/searches/{record['id']}/best")
    return f"{best['trial']['number']}: {verdict_sentence(best)}"


def _compromise(trial: dict[str, Any]) -> tuple[str, ...]:
    measured = trial["measurements"]
    return (
        str(trial["number"]),
        trial["pool"] or "-",
        number(trial["fitness"]),
        number(measured.get("validation_loss")),
        number(measured.get("step_time_ms"), 1),
        number(trial["parameters"], 0),
    )


def _progress(record: dict[str, Any]) -> str:
    limit = record["spec"]["limits"].get("trials")
    done = record["candidates_finished"]
    return f"{done}/{limit}" if limit else str(done)
