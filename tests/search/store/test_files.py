"""The file and the schema under a controller are looked at: nothing is written into the void."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from brainformer.api.cli.main import app
from brainformer.search.errors import EnvironmentProblem
from brainformer.search.sql.store import open_store
from brainformer.search.storage_errors import SchemaMismatch, StorageReplaced, StoreLocked
from tests.search.store.site import ME, Site

OPEN = "import sys; from brainformer.search.sql.store import open_store; open_store(sys.argv[1])"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "search.db"


@pytest.fixture
def served(file: Path) -> Iterator[Site]:
    site = Site(f"sqlite:///{file}")
    yield site
    site.store.close()


def another_process_opens(url: str) -> str:
    """Returns what a second controller says, in a process of its own; "" if it is admitted."""
    ended = subprocess.run(
        [sys.executable, "-c", OPEN, url], capture_output=True, text=True, check=False
    )
    return "" if ended.returncode == 0 else ended.stderr


def deleted(file: Path) -> None:
    file.unlink()


def moved(file: Path) -> None:
    file.rename(file.with_name("elsewhere.db"))


def replaced(file: Path) -> None:
    copy = file.with_name("copy.db")
    shutil.copy(file, copy)
    copy.replace(file)


def written(site: Site) -> object:
    """Returns what every write changes."""
    mark = "SELECT pg_current_wal_insert_lsn()" if site.postgres else "PRAGMA user_version"
    with site.store._database.read() as tx:
        return tx.run(text(mark)).scalar_one()


@pytest.mark.parametrize("happens", [deleted, moved, replaced])
def test_a_file_that_is_no_longer_there_is_neither_read_nor_written(
    served: Site, file: Path, happens: Callable[[Path], None]
) -> None:
    search_id = served.started()
    lease = served.claim_one()
    happens(file)
    for ask in (
        lambda: served.finish(lease),
        lambda: served.beat(lease),
        served.claim,
        served.create,
        lambda: served.search(search_id),
        served.store.check,
        served.store.reap,
    ):
        with pytest.raises(StorageReplaced, match=r"put the file back, or restart"):
            ask()


def test_a_file_that_is_put_back_is_served_again(served: Site, file: Path) -> None:
    served.started()
    lease = served.claim_one()
    moved(file)
    with pytest.raises(StorageReplaced):
        served.finish(lease)
    file.with_name("elsewhere.db").rename(file)
    assert served.finish(lease).status == "completed"
    served.store.check()


def test_what_was_committed_to_a_file_that_went_meanwhile_is_not_acknowledged(
    served: Site, file: Path
) -> None:
    def replaced_before_the_commit() -> None:
        with served.store._database.write() as tx:
            tx.run(text("PRAGMA user_version = 7"))
            replaced(file)

    with pytest.raises(StorageReplaced):
        replaced_before_the_commit()


def test_a_lost_file_is_not_begun_anew_unless_asked_for(file: Path) -> None:
    url = f"sqlite:///{file}"
    open_store(url).close()  # nothing was ever there
    file.unlink()
    for exclusive in (True, False):
        with pytest.raises(EnvironmentProblem, match=r"db restore.*serve --create"):
            open_store(url, exclusive=exclusive)
    assert not file.exists()
    file.touch()  # cut off, as by a disk that was full
    with pytest.raises(EnvironmentProblem, match="there was one before"):
        open_store(url)
    open_store(url, create=True).close()
    open_store(url).close()


def test_the_command_line_begins_no_open_database_in_place_of_a_lost_one(file: Path) -> None:
    url = f"sqlite:///{file}"
    open_store(url).close()
    file.unlink()
    for command in (
        ["token", "create", "me", "--scope", "read", "--database", url],
        ["db", "upgrade", "--database", url],
        ["serve", "--port", "0", "--database", url],
    ):
        told = CliRunner().invoke(app, command)
        assert told.exit_code != 0
        assert not file.exists(), command


def test_the_log_of_a_lost_file_is_not_taken_for_the_new_ones(file: Path) -> None:
    log = file.with_name(file.name + "-wal")
    log.write_bytes(b"of another life" * 1000)
    with pytest.raises(EnvironmentProblem, match="there was one before"):
        open_store(f"sqlite:///{file}")
    open_store(f"sqlite:///{file}", create=True).close()
    [kept] = file.parent.glob("*-wal.before-*")
    assert kept.read_bytes().startswith(b"of another life")


@pytest.mark.parametrize("trick", ["hard link", "no lock file", "both"])
def test_no_trick_with_names_admits_a_second_controller(
    served: Site, file: Path, trick: str
) -> None:
    url = served.url
    if trick != "no lock file":
        os.link(file, file.with_name("alias.db"))
        url = f"sqlite:///{file.with_name('alias.db')}"
    if trick != "hard link":
        file.with_name(file.name + ".lock").unlink()
    with pytest.raises(StoreLocked):
        open_store(url)
    assert "StoreLocked" in another_process_opens(url)
    served.create()
    served.store.close()
    assert another_process_opens(url) == ""


def test_a_backup_is_not_restored_under_a_controller_without_its_lock_file(
    served: Site, file: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.db"
    CliRunner().invoke(app, ["db", "backup", str(copy), "--database", served.url])
    file.with_name(file.name + ".lock").unlink()
    told = CliRunner().invoke(app, ["db", "restore", str(copy), "--database", served.url])
    assert isinstance(told.exception, StoreLocked)
    assert served.create()


def test_a_schema_that_was_migrated_meanwhile_is_not_worked_with(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.started()
    lease = site.claim_one()
    database = site.store._database
    monkeypatch.setattr("brainformer.search.sql.connection.database.GUARD_SECONDS", -1.0)
    with database.engine.begin() as connection:
        (found,) = connection.execute(text("SELECT version_num FROM alembic_version")).one()
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for ask in (site.claim, lambda: site.finish(lease), site.store.check, site.create):
        with pytest.raises(SchemaMismatch, match="newer version"):
            ask()
    with database.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :v"), {"v": found})
    assert site.finish(lease).status == "completed"


def test_readiness_writes_when_nobody_else_has(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.create()
    before = written(site)
    site.store.check()
    assert written(site) == before
    monkeypatch.setattr("brainformer.search.sql.connection.database.PROBE_SECONDS", -1.0)
    site.store.check()
    assert written(site) != before


def test_the_first_database_needs_no_option(file: Path) -> None:
    store = open_store(f"sqlite:///{file}")
    store.create_token("me", ["read"], expires_in_seconds=None, actor=ME)
    store.close()
