"""Each trouble of the database has a class of its own, told by the driver's code."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from brainformer.search.sql.connection.outage import Outage
from brainformer.search.sql.store import open_store
from brainformer.search.sql.trials.state import lock_search
from brainformer.search.storage_errors import (
    StorageBusy,
    StorageDamaged,
    StorageFull,
    StorageHeld,
    StorageReadOnly,
    StorageUnavailable,
    StorageUnreachable,
)
from tests.postgres import PostgresServer
from tests.search.store.site import Site


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "search.db"


@pytest.fixture
def site(file: Path) -> Iterator[Site]:
    site = Site(f"sqlite:///{file}")
    yield site
    site.store.close()


@pytest.fixture
def server_site(postgres: PostgresServer) -> Iterator[Site]:
    site = Site(postgres.create_with_schema())
    yield site
    site.store.close()
    postgres.drop(site.url)


def pragma(site: Site, words: str) -> None:
    with site.store._database.write() as tx:
        tx.connection.exec_driver_sql(f"PRAGMA {words}")


def trouble(site: Site) -> type[BaseException]:
    with pytest.raises(StorageUnavailable) as caught:
        site.create()
    return type(caught.value)


def test_a_file_that_another_process_writes_is_busy(site: Site, file: Path) -> None:
    pragma(site, "busy_timeout = 10")
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert trouble(site) is StorageHeld
    other.close()
    site.create()


def test_a_full_disk_is_told(site: Site) -> None:
    with site.store._database.read() as tx:
        pages = tx.connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    pragma(site, f"max_page_count = {pages}")

    def fill() -> None:
        for _ in range(100):
            site.create(seeds=["glam"] * 100)

    with pytest.raises(StorageFull, match="free some space"):
        fill()


def test_a_read_only_database_is_told(site: Site) -> None:
    pragma(site, "query_only = ON")
    assert trouble(site) is StorageReadOnly


def test_a_folder_in_the_place_of_the_file_is_unreachable(tmp_path: Path) -> None:
    with pytest.raises(StorageUnreachable, match="cannot be opened"):
        open_store(f"sqlite:///{tmp_path}")


def test_a_file_that_is_no_database_is_damaged(file: Path) -> None:
    file.write_text("no database at all, but long enough to look at" * 100)
    with pytest.raises(StorageDamaged, match="not a SQLite database"):
        open_store(f"sqlite:///{file}")


def test_a_file_with_a_torn_page_is_damaged(site: Site, file: Path) -> None:
    for _ in range(20):
        site.create()
    site.store.close()
    with file.open("r+b") as torn:
        torn.seek(4096)
        torn.write(b"\xff" * (file.stat().st_size - 4096))
    with pytest.raises(StorageDamaged, match="restore a backup"):
        open_store(site.url).list_searches()


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        ("40P01", StorageBusy),
        ("40001", StorageBusy),
        ("55P03", StorageHeld),
        ("53100", StorageFull),
        ("25006", StorageReadOnly),
        ("57P03", StorageUnreachable),
        ("08006", StorageUnreachable),
        ("XX001", StorageDamaged),
        ("57014", StorageHeld),
    ],
)
def test_a_servers_codes_are_told_apart(
    server_site: Site, state: str, kind: type[StorageUnavailable]
) -> None:
    raised = f"DO $$ BEGIN RAISE EXCEPTION 'out of order' USING ERRCODE = '{state}'; END $$"
    with pytest.raises(kind) as caught, server_site.store._database.write() as tx:
        tx.run(text(raised))
    assert type(caught.value) is kind


def test_a_row_that_stays_locked_is_busy(server_site: Site) -> None:
    search_id = server_site.create()
    database = server_site.store._database

    def lock_soon() -> None:
        with database.write() as tx:
            tx.run(text("SET LOCAL lock_timeout = '10ms'"))
            lock_search(tx, search_id)

    with database.write() as holder:
        lock_search(holder, search_id)
        with pytest.raises(StorageHeld, match="another session holds a lock"):
            lock_soon()


def test_a_server_that_is_not_there_is_unreachable() -> None:
    with pytest.raises(StorageUnreachable):
        open_store("postgresql+psycopg://nobody@127.0.0.1:9/none")


@pytest.mark.parametrize(
    ("error", "since"),
    [(StorageBusy("x"), 1.0), (StorageFull("x"), 50.0), (StorageUnavailable("x"), 50.0)],
)
def test_a_lost_race_for_a_lock_is_no_outage(error: StorageUnavailable, since: float) -> None:
    outage = Outage(None)
    assert outage.served(1.0) == 1.0
    outage.failed(error)
    assert outage.served(50.0) == since


class Time:
    """This machine's time, moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_process_that_stood_still_was_not_served() -> None:
    clock = Time()
    outage = Outage(clock)
    assert outage.served(1000.0) == 1000.0
    outage.pulse()
    for second in range(1, 61):
        clock.now += 1
        outage.pulse()
        assert outage.served(1000.0 + second) == 1000.0
    clock.now += 120  # frozen; the first to look may be a claim or the pulse
    assert outage.served(1180.0) == 1180.0
    clock.now += 60
    outage.pulse()
    assert outage.served(1240.0) == 1240.0
    clock.now += 2  # a pause that is none
    assert outage.served(1242.0) == 1240.0


def test_without_a_pulse_silence_is_no_freeze() -> None:
    clock = Time()
    outage = Outage(clock)
    assert outage.served(1000.0) == 1000.0
    clock.now += 120
    assert outage.served(1120.0) == 1000.0


def test_a_machine_that_was_suspended_was_not_served() -> None:
    clock = Time()
    outage = Outage(clock)
    assert outage.served(1000.0) == 1000.0
    clock.now += 1
    assert outage.served(1121.0) == 1121.0  # the database's time went on without us
    clock.now += 60
    assert outage.served(1181.0) == 1121.0
