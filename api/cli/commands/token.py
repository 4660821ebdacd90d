"""`brainformer token`: create, list and revoke tokens in the controller's database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from brainformer.api.cli.terminal.group import Group
from brainformer.api.cli.terminal.options import AsJson
from brainformer.api.cli.terminal.output import (
    print_json,
    print_line,
    say,
    stdout,
    table,
)
from brainformer.search.errors import InvalidInput

if TYPE_CHECKING:
    from brainformer.search.store.actor import Actor
    from brainformer.search.store.contract import SearchStore

app = typer.Typer(cls=Group, no_args_is_help=True, help="Tokens for the REST interface.")

Database = Annotated[
    str | None,
    typer.Option(
        "--database", help="The controller's database; default as in 'serve'.", show_default=False
    ),
]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Who will use it.", show_default=False)],
    scope: Annotated[
        list[str], typer.Option("--scope", "-s", help="read, write, worker or admin; repeatable.")
    ],
    days: Annotated[float | None, typer.Option(help="Days until it expires.", min=0)] = None,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Create a token; its secret is shown once, on stdout."""
    seconds = None if days is None else days * 86_400
    with open_database(database) as store:
        record, secret = store.create_token(
            name, scope, expires_in_seconds=seconds, actor=operator()
        )
    if as_json:
        print_json({**record.model_dump(mode="json"), "secret": secret})
    else:
        print_line(secret)
        say(f"token {record.id} ({', '.join(record.scopes)}); it is not shown again")


@app.command()
def adopt(
    name: Annotated[str, typer.Argument(help="Who uses it.", show_default=False)],
    scope: Annotated[
        list[str], typer.Option("--scope", "-s", help="read, write, worker or admin; repeatable.")
    ],
    secret_file: Annotated[
        Path, typer.Option(help="The file that holds the secret.", show_default=False)
    ],
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Take over a secret that was made elsewhere, such as a Kubernetes secret.

    The secret is bf_ and 43 or more random characters. To adopt it again changes nothing.
    """
    try:
        secret = secret_file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not text"
        raise InvalidInput(f"cannot read the secret {secret_file}: {why}") from None
    with open_database(database) as store:
        record = store.adopt_token(name, scope, secret, actor=operator())
    if as_json:
        print_json(record.model_dump(mode="json"))
    else:
        say(f"token {record.id} ({', '.join(record.scopes)}) of {record.name}")


@app.command("list")
def list_tokens(database: Database = None, as_json: AsJson = False) -> None:
    """List tokens, without their secrets."""
    with open_database(database) as store:
        records = store.list_tokens()
    if as_json:
        print_json([record.model_dump(mode="json") for record in records])
        return
    rows = [
        (
            str(r.id),
            r.name,
            r.prefix,
            ",".join(r.scopes),
            "revoked" if r.revoked_at else f"until {r.expires_at:%Y-%m-%d}" if r.expires_at else "",
        )
        for r in records
    ]
    stdout().print(table(("id>", "name", "prefix", "scopes", "state"), rows))


@app.command()
def revoke(
    token_id: Annotated[int, typer.Argument(show_default=False)],
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Revoke a token at once."""
    with open_database(database) as store:
        record = store.revoke_token(token_id, actor=operator())
    if as_json:
        print_json(record.model_dump(mode="json"))
        return
    say(f"token {record.id} ({record.name}) is revoked")


def operator() -> Actor:
    """Returns who the audit trail says it was."""
    from brainformer.search.store.actor import Actor

    return Actor(name="command-line")


@contextmanager
def open_database(database: str | None) -> Iterator[SearchStore]:
    """Yields the store at `database`, or at the controller's configured place."""
    from brainformer.api.settings import load_settings
    from brainformer.search.sql.store import open_store

    settings = load_settings(None, **({} if database is None else {"database_url": database}))
    settings.require_lasting_database()
    # A controller may hold the file meanwhile: one short transaction beside it does no harm.
    store = open_store(settings.database_url, exclusive=False)
    try:
        yield store
    finally:
        store.close()
