"""The schema: old databases are brought up, newer ones refused, files in use copied whole."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import inspect
from typer.testing import CliRunner

from brainformer.api.cli.main import app
from brainformer.search.errors import Conflict, EnvironmentProblem
from brainformer.search.sql.connection import migration
from brainformer.search.sql.connection.engine import make_engine, parse_url
from brainformer.search.sql.connection.tables import metadata
from brainformer.search.sql.store import open_store
from brainformer.search.status import SearchStatus
from brainformer.search.storage_errors import SchemaMismatch, StorageUnavailable, StoreLocked
from tests.postgres import PostgresServer
from tests.search.store.site import (
    Clock,
    Site,
    completed,
    spec,
)

OLD = sorted((Path(__file__).parent / "databases").glob("*.sqlite"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "search.db"


def url(file: Path) -> str:
    return f"sqlite:///{file}"


def schema_of(database: str) -> dict[str, set[str]]:
    """Returns columns and indexes, table by table, as the database has them."""
    engine = make_engine(parse_url(database))
    try:
        found = inspect(engine)
        return {
            table: {one["name"] for one in found.get_columns(table)}
            | {one["name"] for one in found.get_indexes(table) if not one["unique"]}
            for table in found.get_table_names()
            if table != "alembic_version"
        }
    finally:
        engine.dispose()


def declared() -> dict[str, set[str]]:
    return {
        name: {column.name for column in table.columns} | {str(one.name) for one in table.indexes}
        for name, table in metadata.tables.items()
    }


def test_migrations_lead_to_the_declared_tables(file: Path, postgres: PostgresServer) -> None:
    for database in (url(file), postgres.create()):
        migration.upgrade(database)
        assert schema_of(database) == declared()
        migration.upgrade(database)  # harmless when there is nothing to do
        migration.check(database)


def test_alembic_finds_no_difference_between_migrations_and_tables(
    file: Path, postgres: PostgresServer
) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    for database in (url(file), postgres.create()):
        migration.upgrade(database)
        engine = make_engine(parse_url(database))
        with engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": False})
            assert compare_metadata(context, metadata) == []
        engine.dispose()


@pytest.mark.parametrize("old", OLD, ids=lambda path: path.stem)
def test_an_old_database_is_refused_until_it_is_brought_up_and_then_goes_on(
    old: Path, file: Path
) -> None:
    shutil.copy(old, file)
    with pytest.raises(SchemaMismatch, match="brainformer db upgrade"):
        open_store(url(file))
    migration.upgrade(url(file))
    assert schema_of(url(file)) == declared()
    site = Site(url(file), clock=Clock())
    search = site.search("old")
    assert search.status is SearchStatus.RUNNING
    assert [one.number for one in site.store.population(search.id)] == [2, 3, 4]
    assert site.store.best(search.id).trial.number == 4
    assert {one.worker_id: one.running for one in site.store.workers()} == {"w-1": 1}
    assert [one.failure for one in site.store.baselines(search.id)] == [""]
    assert search.spec.resolved_space().model_dim == (32, 48, 64)  # `nano` as it was then
    running = next(one for one in site.trials(search.id) if one.status.value == "running")
    lease = f"{running.id}-{running.attempt}"
    assert site.store.result(lease, completed(2.0, step_time_ms=10.0)).status == "completed"
    site.run(2)
    site.store.close()


def test_the_checkout_may_lie_below_any_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "job%2Fmain %(here)s"
    shutil.copytree(Path(migration.__file__).parent / "migrations", place / "migrations")
    monkeypatch.setattr(migration, "__file__", str(place / "migration.py"))
    migration._revisions.cache_clear()
    try:
        migration.upgrade(url(tmp_path / "search.db"))
        migration.check(url(tmp_path / "search.db"))
    finally:
        migration._revisions.cache_clear()


def test_there_is_an_old_database_of_every_schema_but_the_present_one() -> None:
    from alembic.script import ScriptDirectory

    script = ScriptDirectory.from_config(migration._config())
    revisions = {one.revision for one in script.walk_revisions()}
    assert {path.stem for path in OLD} == revisions - {migration.head()}


def test_a_database_that_a_controller_works_with_is_not_upgraded(file: Path) -> None:
    store = open_store(url(file))
    with pytest.raises(StoreLocked):
        migration.upgrade(url(file))
    store.close()
    migration.upgrade(url(file))


def test_controllers_that_start_at_once_make_one_schema(postgres: PostgresServer) -> None:
    database = postgres.create()
    with ThreadPoolExecutor(4) as pool:
        for store in list(pool.map(open_store, [database] * 4)):
            store.check()
            store.close()


def _as_newer(file: Path) -> None:
    migration.upgrade(url(file))
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()


def test_a_newer_database_is_refused_by_everything_and_left_as_it_is(file: Path) -> None:
    _as_newer(file)
    before = file.read_bytes()
    for touch in (open_store, migration.check, migration.upgrade):
        with pytest.raises(SchemaMismatch, match="a newer version") as caught:
            touch(url(file))
        assert "9999" in caught.value.message
    assert file.read_bytes() == before


def test_a_database_of_somebody_else_is_refused(file: Path) -> None:
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE cats (name TEXT)")
    connection.close()
    with pytest.raises(SchemaMismatch):
        open_store(url(file))


def test_a_file_that_is_no_database_is_told_so(file: Path) -> None:
    file.write_text("not a database at all, but long enough to look at" * 100)
    for touch in (open_store, migration.check, migration.upgrade):
        with pytest.raises(StorageUnavailable, match="not a SQLite database"):
            touch(url(file))


def test_a_failed_migration_leaves_the_old_schema(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(OLD[0], file)
    before = schema_of(url(file))

    def fail(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr("alembic.operations.Operations.batch_alter_table", fail)
    with pytest.raises(sqlite3.OperationalError):
        migration.upgrade(url(file))
    monkeypatch.undo()
    assert schema_of(url(file)) == before
    migration.upgrade(url(file))
    migration.check(url(file))


def test_a_backup_of_a_database_in_use_is_whole(file: Path, tmp_path: Path) -> None:
    site = Site(url(file))
    search_id = site.started(limits={"trials": 10_000})
    ended = threading.Event()

    def work() -> None:
        while not ended.is_set():
            site.run(1)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        for number in range(3):
            migration.backup(url(file), tmp_path / f"copy{number}.db")
    finally:
        ended.set()
        worker.join()
    site.store.close()
    for number in range(3):
        copy = tmp_path / f"copy{number}.db"
        assert sorted(path.name for path in tmp_path.glob(f"copy{number}*")) == [copy.name]
        migration.check(url(copy))
        restored = Site(url(copy), clock=site.clock)
        search = restored.search(search_id)
        assert sum(search.counts.values()) == len(restored.trials(search_id))
        restored.run(1)
        restored.store.close()


def _databases(folder: Path) -> set[str]:
    """Returns the files in a folder but those that SQLite and the lock keep beside a database."""
    beside = (".lock", "-wal", "-shm")
    return {path.name for path in folder.iterdir() if not path.name.endswith(beside)}


def test_a_backup_never_overwrites_and_leaves_no_scraps(file: Path, tmp_path: Path) -> None:
    migration.upgrade(url(file))
    target = tmp_path / "copy.db"
    target.write_text("precious")
    with pytest.raises(Conflict, match="exists already"):
        migration.backup(url(file), target)
    assert target.read_text() == "precious"
    with pytest.raises(EnvironmentProblem):
        migration.backup(url(file), tmp_path / "absent" / "copy.db")
    assert _databases(tmp_path) == {file.name, target.name}


def test_a_backup_that_breaks_off_leaves_nothing_that_looks_like_one(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    migration.upgrade(url(file))

    def half(_source: Path, target: Path) -> None:
        target.write_bytes(b"half")
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(migration, "copy_database", half)
    with pytest.raises(EnvironmentProblem, match="disk is full"):
        migration.backup(url(file), tmp_path / "copy.db")
    assert _databases(tmp_path) == {file.name}


def test_only_its_owner_reads_a_database_and_its_backup(file: Path, tmp_path: Path) -> None:
    migration.upgrade(url(file))
    migration.backup(url(file), tmp_path / "copy.db")
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.glob("*.db*")}
    assert set(modes.values()) == {0o600}, modes


@pytest.mark.parametrize("source", ["sqlite://", "postgresql+psycopg://localhost/x"])
def test_only_a_sqlite_file_is_copied(source: str, tmp_path: Path) -> None:
    with pytest.raises(EnvironmentProblem):
        migration.backup(source, tmp_path / "copy.db")


def test_the_command_line_upgrades_checks_and_backs_up(file: Path, tmp_path: Path) -> None:
    run = CliRunner().invoke
    shutil.copy(OLD[0], file)
    given = ["--database", url(file)]
    with pytest.raises(SchemaMismatch):
        run(app, ["db", "check", *given], catch_exceptions=False)
    copy = tmp_path / "copy.db"
    for command in (["backup", str(copy)], ["upgrade"], ["check"]):
        answer = run(app, ["db", *command, *given], catch_exceptions=False)
        assert answer.exit_code == 0, answer.output
    assert schema_of(url(copy)) != declared()
    assert schema_of(url(file)) == declared()


def test_a_spec_written_by_an_old_version_keeps_its_meaning(file: Path) -> None:
    site = Site(url(file))
    search_id = site.create()
    assert site.search(search_id).spec == spec()
    site.store.close()


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
@pytest.mark.parametrize("opens", [migration.upgrade, open_store])
def test_a_database_that_is_not_in_utf8_is_refused(
    postgres: PostgresServer, encoding: str, opens: Callable[[str], object]
) -> None:
    there = postgres.create(template="template0", encoding=encoding)
    with pytest.raises(EnvironmentProblem, match=f"text in {encoding}, not in UTF-8.*template0"):
        opens(there)
    postgres.drop(there)


def test_text_is_utf8_whatever_the_environment_says(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "SQL_ASCII")
    there = postgres.create()
    migration.upgrade(there)
    open_store(there).close()
    postgres.drop(there)
