"""After a database was put back to an earlier state, nothing of the lost history counts."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest
from typer.testing import CliRunner

from brainformer.api.cli.main import app
from brainformer.search.errors import EnvironmentProblem, LeaseLost, NotFound, StaleVersion
from brainformer.search.sql.connection import migration, restoring
from brainformer.search.status import SearchStatus
from brainformer.search.storage_errors import SchemaMismatch, StoreLocked
from brainformer.search.trials.lease_id import LeaseId
from tests.postgres import PostgresServer
from tests.search.store.site import ME, Site, completed

OLD = Path(__file__).parents[1] / "sql" / "databases" / "0001.sqlite"


def rewound(site: Site, file: Path, backup: Path) -> None:
    site.store.close()
    restoring.restore(f"sqlite:///{file}", backup)
    site.store = site.open()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "search.db"


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    return tmp_path / "backup.db"


def test_a_result_of_the_lost_history_is_recorded_nowhere(file: Path, backup: Path) -> None:
    site = Site(f"sqlite:///{file}")
    search = site.started()
    kept = site.claim_one()
    migration.backup(site.url, backup)
    lost = site.claim(3)
    rewound(site, file, backup)
    again = site.claim(3)
    assert [one.trial_id for one in again] == [one.trial_id for one in lost]
    for lease in lost:
        for tell in (site.beat, site.finish):
            with pytest.raises(NotFound, match="no lease"):
                tell(lease)
        with pytest.raises(NotFound):
            site.store.release(lease.lease_id)
    assert [one.status for one in site.trials(search)[-3:]] == ["running"] * 3
    assert site.finish(kept).status == "completed"  # granted before the backup, and still running
    for lease in again:
        assert site.finish(lease).status == "completed"
    site.store.close()


def test_events_versions_and_changes_are_never_numbered_twice(file: Path, backup: Path) -> None:
    site = Site(f"sqlite:///{file}")
    search = site.started()
    migration.backup(site.url, backup)
    site.run(3)
    seen, record = site.store.last_event(), site.search(search)
    changed = max(one.seq for one in site.trials(search))
    site.clock.advance(5)
    rewound(site, file, backup)
    site.run(1)
    assert [one.seq for one in site.store.events(after=seen)] == [
        one.seq for one in site.store.events() if one.seq > seen
    ]
    assert len(site.store.events(after=seen)) == 2  # started and finished
    assert site.trials(search, after_seq=changed)
    with pytest.raises(StaleVersion):
        site.store.change_status(search, SearchStatus.PAUSED, actor=ME, version=record.version)
    site.store.close()


def test_a_log_that_was_cut_off_repeats_nothing(file: Path, tmp_path: Path) -> None:
    site = Site(f"sqlite:///{file}")
    search = site.started()
    log = tmp_path / "search.db-wal"
    early = log.read_bytes()
    lost = site.claim_one()
    seen, record = site.store.last_event(), site.search(search)
    copy = tmp_path / "after" / "search.db"
    copy.parent.mkdir()
    shutil.copy(file, copy)
    copy.with_name("search.db-wal").write_bytes(early)
    site.store.close()
    after = Site(f"sqlite:///{copy}", clock=site.clock)
    site.clock.advance(1)
    again = after.claim_one()
    assert again.trial_id == lost.trial_id
    assert after.search(search).version > record.version
    assert after.store.events(after=seen)
    with pytest.raises(NotFound):
        after.finish(lost)
    assert after.finish(again).status == "completed"
    after.store.close()


def test_an_attempt_that_ran_in_a_restored_backup_does_not_count(file: Path, backup: Path) -> None:
    site = Site(f"sqlite:///{file}")
    search = site.started(max_attempts=1)
    lease = site.claim_one()
    for _ in range(2):
        backup.unlink(missing_ok=True)
        migration.backup(site.url, backup)
        site.finish(lease)  # receipted, forgotten, and not told again
        rewound(site, file, backup)
        site.clock.advance(2 * lease.lease_seconds)
        site.store.reap()
        assert site.trials(search)[-1].status == "queued"
        again = site.claim_one()
        assert again.trial_id == lease.trial_id
        lease = again
    site.clock.advance(2 * lease.lease_seconds)
    site.store.reap()
    assert site.trials(search)[-1].status == "failed"
    site.store.close()


def test_an_attempt_that_a_crash_cut_short_counts(file: Path, tmp_path: Path) -> None:
    site = Site(f"sqlite:///{file}")
    search = site.started(max_attempts=1)
    lease = site.claim_one()  # of a trial that takes its machine down, for all that is known
    copy = tmp_path / "after" / "search.db"
    copy.parent.mkdir()
    shutil.copy(file, copy)
    shutil.copy(file.with_name("search.db-wal"), copy.with_name("search.db-wal"))
    site.store.close()
    after = Site(f"sqlite:///{copy}", clock=site.clock)
    site.clock.advance(2 * lease.lease_seconds)
    after.store.reap()
    site.clock.advance(2 * lease.lease_seconds)
    after.store.reap()
    assert after.trials(search)[-1].status == "failed"
    after.store.close()


@pytest.mark.parametrize("key", ["", "-0123456789abcdef"])
def test_a_lease_that_was_made_up_is_not_found(site: Site, key: str) -> None:
    site.started()
    lease = site.claim_one()
    forged = f"{lease.trial_id}-{lease.attempt}{key}"
    with pytest.raises(NotFound):
        site.store.result(forged, completed())
    site.finish(lease)
    with pytest.raises(NotFound):
        site.store.result(forged, completed())
    site.clock.advance(1)
    assert site.finish(lease).duplicate


def test_a_lease_that_was_lost_is_still_known(site: Site) -> None:
    site.started()
    lease = site.claim_one()
    site.store.release(lease.lease_id)
    again = site.claim_one()
    assert LeaseId.parse(again.lease_id).attempt == 2
    with pytest.raises(LeaseLost, match="attempt 2 holds it now"):
        site.finish(lease)


def test_what_was_there_before_is_kept_and_only_a_sound_backup_is_put_in_place(
    file: Path, backup: Path, tmp_path: Path
) -> None:
    site = Site(f"sqlite:///{file}")
    first = site.started()
    migration.backup(site.url, backup)
    second = site.create(name="second")
    with pytest.raises(StoreLocked):
        restoring.restore(site.url, backup)
    site.store.close()
    for content, error in (
        (b"not a database at all" * 500, EnvironmentProblem),
        (OLD.read_bytes(), SchemaMismatch),
    ):
        bad = tmp_path / "bad.db"
        bad.write_bytes(content)
        with pytest.raises(error):
            restoring.restore(site.url, bad)
    for wrong in (file, tmp_path / "absent.db", None):
        with pytest.raises(EnvironmentProblem):
            restoring.restore(site.url, wrong)
    site.restart()
    assert {one.id for one in site.store.list_searches().items} == {first, second}
    site.store.close()
    given = ["db", "restore", str(backup), "--database", site.url]
    told = CliRunner().invoke(app, given, catch_exceptions=False)
    assert told.exit_code == 0
    site.restart()
    assert {one.id for one in site.store.list_searches().items} == {first}
    (kept,) = tmp_path.glob("search.db.before-*[0-9]")
    before = Site(f"sqlite:///{kept}", clock=site.clock)
    assert {one.id for one in before.store.list_searches().items} == {first, second}
    before.store.close()
    site.store.close()
    assert not list(tmp_path.glob("*.part*"))


def test_postgresql_is_told_that_it_was_restored(postgres: PostgresServer) -> None:
    site = Site(postgres.create())
    search = site.started()
    seen, record = site.store.last_event(), site.search(search)
    with pytest.raises(EnvironmentProblem, match="pg_restore"):
        restoring.restore(site.url, Path("backup"))
    assert restoring.restore(site.url, None) is None
    site.run(1)
    assert site.store.events(after=seen)[0].seq > seen + 2**40
    assert site.search(search).version > record.version + 1000
    site.store.close()


def test_each_start_begins_an_epoch_with_its_first_write_alone(file: Path) -> None:
    site = Site(f"sqlite:///{file}")
    site.started()
    site.restart()
    site.search(site.store.list_searches().items[0].id)
    site.restart()
    site.claim_one()
    site.store.close()
    with sqlite3.connect(file) as connection:
        reasons = [one for (one,) in connection.execute("SELECT reason FROM epochs")]
    connection.close()
    assert reasons == ["a start", "a start"]
