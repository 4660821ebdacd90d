"""A start with a wrong clock is refused; what an earlier one did is mended."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from brainformer.api.cli.main import app
from brainformer.search.errors import ImplausibleClock
from brainformer.search.sql.clock_repair import repair
from brainformer.search.sql.store import open_store
from brainformer.search.status import SearchStatus
from tests.search.store.audit import check_everything
from tests.search.store.site import ME, Site

DAY = 86_400.0
YEAR = 365 * DAY


class Worldly(Site):
    """A site whose clock says the true time, or one that is wrong."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.wrong_by = 0.0
        self.clock = self  # type: ignore[assignment]
        self.store = self.open()

    def __call__(self) -> float:
        return time.time() + self.wrong_by


@pytest.fixture
def worldly(site: Site) -> Iterator[Worldly]:
    site.store.close()
    found = Worldly(site.url)
    yield found
    found.store.close()
    site.store = found.store


def ten_years_ahead(site: Worldly) -> None:
    """Restarts with a clock that is wrong, works, and stops again."""
    site.wrong_by = 10 * YEAR
    site.restart()
    site.store.reap()
    site.create(name="of-the-future")
    site.store.create_token("born-ahead", ["read"], expires_in_seconds=DAY, actor=ME)
    site.store.close()
    site.wrong_by = 0.0


def test_a_clock_ten_years_ahead_is_refused(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.store.close()
    now = time.time()
    worldly = Worldly(site.url)
    worldly.started()
    worldly.store.close()
    if not site.postgres:
        monkeypatch.setattr("time.time", lambda: now + 10 * YEAR)
        with pytest.raises(ImplausibleClock, match=r"years after .* db clock --repair"):
            open_store(site.url)
        monkeypatch.setattr("time.time", lambda: now - 2 * DAY)
        with pytest.raises(ImplausibleClock, match="before that"):
            open_store(site.url)
    monkeypatch.setattr("time.time", lambda: now)
    open_store(site.url).close()
    site.store = site.open()


def test_a_clock_of_1970_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 12_345.0)
    with pytest.raises(ImplausibleClock, match=r"1970-01-01.*before this program"):
        open_store(f"sqlite:///{tmp_path / 'search.db'}")


def test_what_a_wrong_clock_wrote_is_refused_until_it_is_mended(worldly: Worldly) -> None:
    ended = worldly.started(limits={"hours": 100})
    lease = worldly.claim_one()
    worldly.finish(lease)
    _, secret = worldly.store.create_token("mine", ["read"], expires_in_seconds=DAY, actor=ME)
    worldly.wrong_by = 10 * YEAR
    worldly.restart()
    worldly.store.reap()
    assert worldly.status(ended) is SearchStatus.COMPLETED
    assert worldly.store.find_token(secret) is None
    worldly.store.close()
    ten_years_ahead(worldly)

    with pytest.raises(ImplausibleClock, match="db clock --repair"):
        open_store(worldly.url)
    command = ["db", "clock", "--database", worldly.url, "--json"]
    told = json.loads(CliRunner().invoke(app, command).stdout)
    assert told["newest"] - told["now"] > 9 * YEAR
    mended = json.loads(CliRunner().invoke(app, [*command, "--repair"]).stdout)
    assert (mended["reopened"], mended["mended"] > 0) == (1, True)

    store = open_store(worldly.url)  # by the true clock
    worldly.store = store
    assert store.find_token(secret) is not None
    assert worldly.status(ended) is SearchStatus.RUNNING
    [born] = [one for one in store.list_tokens() if one.name == "born-ahead"]
    assert born.expires_at is not None
    assert 0 < born.expires_at.timestamp() - time.time() <= DAY + 60
    worldly.run(2)
    check_everything(store, ended)
    assert repair_again(worldly).mended == 0


def repair_again(site: Worldly):
    site.store.close()
    found = repair(site.url, time.time)
    site.store = open_store(site.url)
    return found


def test_repair_leaves_a_sound_database_as_it_is(worldly: Worldly) -> None:
    search_id = worldly.started()
    worldly.run(2)
    before = worldly.search(search_id)
    found = repair_again(worldly)
    assert (found.mended, found.reopened) == (0, 0)
    assert worldly.search(search_id) == before


def test_no_time_lies_ahead_after_a_repair(worldly: Worldly) -> None:
    worldly.started()
    worldly.claim_one()
    ten_years_ahead(worldly)
    repair(worldly.url, time.time)
    worldly.store = open_store(worldly.url)
    soon = time.time() + DAY
    with worldly.store._database.read() as tx:
        for table, column in (
            ("searches", "created_at"), ("searches", "updated_at"), ("events", "at"),
            ("trials", "lease_expires_at"), ("audit", "at"), ("epochs", "at"),
            ("tokens", "created_at"),
        ):  # fmt: skip
            newest = tx.run(text(f"SELECT max({column}) FROM {table}")).scalar()
            assert newest is None or newest < soon, (table, column)
