"""`brainformer pool`: look at the kinds of hardware that work, drain, resume and retire them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import typer

from brainformer.api.cli.terminal.address import path_part
from brainformer.api.cli.terminal.group import Group
from brainformer.api.cli.terminal.options import URL, AsJson, Token, TokenFile, Url, connect
from brainformer.api.cli.terminal.output import number, print_json, say, stdout, table
from brainformer.search.counted import counted

app = typer.Typer(
    cls=Group, no_args_is_help=True, help="Pools: the kinds of hardware that work here."
)
Pool = Annotated[str, typer.Argument(help="As its workers call it.", show_default=False)]


@app.command("list")
def list_pools(
    url: Url = URL, token: Token = None, token_file: TokenFile = None, as_json: AsJson = False
) -> None:
    """List the pools."""
    items = connect(url, token, token_file).get("/pools")["items"]
    if as_json:
        print_json(items)
        return
    if not items:
        say("no worker has come yet; start one with 'brainformer worker'")
        return
    rows = [
        (one["pool"], str(one["workers"]), str(one["running"]), _state(one), _seen(one))
        for one in items
    ]
    stdout().print(table(("pool", "workers>", "running>", "state", "last seen"), rows))


@app.command()
def show(
    pool: Pool,
    url: Url = URL,
    token: Token = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Show a pool's devices, speed and failures, and what each open search waits for there."""
    _tell(connect(url, token, token_file).get(f"/pools/{path_part(pool)}"), as_json=as_json)


@app.command()
def drain(
    pool: Pool,
    url: Url = URL,
    token: Token = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Let no further trial start on a pool; those that run go on to their end.

    Trials that only this pool may run, such as repeats of its baseline, wait until it is resumed,
    and their search with them.
    """
    detail = connect(url, token, token_file).post(f"/pools/{path_part(pool)}/drain")
    _tell(detail, as_json=as_json)
    waiting = [one["name"] for one in detail["searches"] if one["waiting"]]
    if detail["running"]:
        say(f"{detail['running']} trials still run; the pool is empty when none does")
    if waiting:
        say(f"these searches have trials that wait for this pool: {', '.join(waiting)}")


@app.command()
def resume(
    pool: Pool,
    url: Url = URL,
    token: Token = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Let trials start on a pool again."""
    _tell(connect(url, token, token_file).post(f"/pools/{path_part(pool)}/resume"), as_json=as_json)


@app.command()
def retire(
    pool: Pool,
    bring_back: Annotated[
        bool, typer.Option("--return", help="It is back after all: give it work again.")
    ] = False,
    url: Url = URL,
    token: Token = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Take a pool that will not come back out of every open search.

    What runs there ends: candidates go back to the queue for other pools. Fresh runs of a finalist
    begin again on another pool of the search that has a rival; all else that waits for the pool is
    given up. A search that no other pool can serve ends, with the reason. To let running trials
    end first, drain the pool.
    """
    rest = connect(url, token, token_file)
    if bring_back:
        _tell(rest.post(f"/pools/{path_part(pool)}/return"), as_json=as_json)
        return
    retirement = rest.post(f"/pools/{path_part(pool)}/retire")
    if as_json:
        print_json(retirement)
        return
    _tell(retirement["pool"], as_json=False)
    for one in retirement["searches"]:
        say(f"{one['kind']} {one['name']}: {_consequences(one)}")


def _consequences(left: dict[str, Any]) -> str:
    """Returns in words what became of a search when its pool was retired."""
    told = [
        (left["put_back"], "{} back in the queue", "candidate"),
        (
            left["moved"],
            f"{{}} moved to pool {left['to']}, from the first repeat on",
            "confirmation",
        ),
        (left["given_up"], "{} given up", "trial"),
    ]
    words = [text.format(counted(count, noun)) for count, text, noun in told if count]
    ended = f"{left['status']}: {left['reason']}" if left["reason"] else f"it is {left['status']}"
    return "; ".join([*words, ended])


def _state(pool: dict[str, Any]) -> str:
    if pool["retired_at"] is not None:
        return "retired"
    if pool["drained_at"] is None:
        return "works" if pool["workers"] else "nobody there"
    return "draining" if pool["running"] else "drained"


def _seen(pool: dict[str, Any]) -> str:
    if pool["last_seen"] is None:
        return "never"
    return f"{datetime.fromisoformat(pool['last_seen']).astimezone():%Y-%m-%d %H:%M:%S}"


def _tell(pool: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(pool)
        return
    outcomes = ", ".join(f"{count} {name}" for name, count in pool["outcomes"].items())
    share = pool["utilisation"]
    facts = [
        ("state", _state(pool)),
        ("workers", f"{pool['workers']}, last seen {_seen(pool)}"),
        ("running", str(pool["running"])),
        ("devices", ", ".join(pool["devices"]) or "-"),
        ("attempts in the last hour", str(pool["attempts_last_hour"])),
        ("latest attempts", outcomes or "-"),
        ("step time", "-" if pool["step_time_ms"] is None else f"{pool['step_time_ms']:.4g} ms"),
        ("of a trial's time, training", "-" if share is None else number(share)),
    ]
    stdout().print(table((f"pool {pool['pool']}", ""), facts))
    if pool["searches"]:
        rows = [
            (one["name"], str(one["running"]), str(one["waiting"]), one["blocked"] or "nothing")
            for one in pool["searches"]
        ]
        stdout().print(table(("search", "running>", "waiting>", "what blocks"), rows))
