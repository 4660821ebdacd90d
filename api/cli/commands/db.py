"""`brainformer db`: upgrade, check, back up and restore the controller's database."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from brainformer.api.cli.commands.token import Database
from brainformer.api.cli.terminal.group import Group
from brainformer.api.cli.terminal.options import AsJson
from brainformer.api.cli.terminal.output import print_json, say

app = typer.Typer(cls=Group, no_args_is_help=True, help="Look after the controller's database.")


@app.command()
def upgrade(database: Database = None, as_json: AsJson = False) -> None:
    """Bring the schema to this version's."""
    from brainformer.search.sql.connection import migration

    url = _url(database)
    migration.upgrade(url)
    if as_json:
        print_json({"schema": migration.head()})
        return
    say(f"the database is at schema {migration.head()}")


@app.command()
def check(database: Database = None, as_json: AsJson = False) -> None:
    """Check that the database answers and is at this version's schema."""
    from brainformer.search.sql.connection import migration

    migration.check(_url(database))
    if as_json:
        print_json({"schema": migration.head()})
        return
    say(f"the database answers and is at schema {migration.head()}")


@app.command()
def backup(
    output: Annotated[Path, typer.Argument(help="The file to write.", show_default=False)],
    database: Database = None,
) -> None:
    """Copy a SQLite database while it is in use; PostgreSQL has pg_dump."""
    from brainformer.search.sql.connection import migration

    migration.backup(_url(database), output)
    say(f"wrote {output}")


@app.command()
def restore(
    backup: Annotated[
        Path | None,
        typer.Argument(help="A file of `db backup`; none for PostgreSQL.", show_default=False),
    ] = None,
    database: Database = None,
) -> None:
    """Put a backup in place of the SQLite database, or say that PostgreSQL was restored.

    No controller may run meanwhile. The database that was there is kept beside it. Nothing that was
    issued after the backup, such as a lease, is taken for what is issued from now on.
    """
    from brainformer.search.sql.connection import restoring

    kept = restoring.restore(_url(database), backup)
    say("restored" if kept is None else f"restored; what was there before is {kept}")


@app.command()
def clock(
    repair: Annotated[
        bool, typer.Option("--repair", help="Trust the present clock; correct the times.")
    ] = False,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Compare the clock with the database's times; correct them after a start with a wrong clock.

    Times that lie ahead are set to the present, tokens keep their length of life, and searches that
    ended only because their hours seemed over go on. No controller may run meanwhile.
    """
    import time
    from dataclasses import asdict

    from brainformer.search.sql import clock_repair

    url = _url(database)
    found = clock_repair.repair(url, time.time) if repair else clock_repair.look(url, time.time)
    if as_json:
        print_json(asdict(found))
        return
    ahead = 0.0 if found.newest is None else found.newest - found.now
    say(
        "the database holds no time yet"
        if found.newest is None
        else f"the newest entry is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} the "
        "clock"
    )
    if repair:
        say(f"set back {found.mended} rows, reopened {found.reopened} searches")


def _url(database: str | None) -> str:
    from brainformer.api.settings import load_settings

    settings = load_settings(None, **({} if database is None else {"database_url": database}))
    settings.require_lasting_database()
    return settings.database_url
