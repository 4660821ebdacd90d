"""Reports of long searches that run: written every few seconds, and never late for an end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
from starlette.testclient import TestClient

from brainformer.api.report import recent_reports
from brainformer.api.report.recent_reports import (
    KEPT_SECONDS,
    RENEWED_AFTER_SECONDS,
    RecentReports,
)
from brainformer.search.errors import NotFound
from brainformer.search.storage_errors import StorageUnavailable
from tests.api.rest_site import ROOT, claim, client, create, finish, to_candidates


@dataclass
class Site:
    http: TestClient
    reports: RecentReports
    search: dict[str, Any]
    now: float = 0.0

    def finish_one(self) -> str:
        """Finishes a trial of a loss of its own; returns what a report says of it."""
        lease = claim(self.http)[0]
        finish(self.http, lease, validation_loss=1.9)
        return f"<td>{lease['trial_number']}</td>"

    def text(self) -> str:
        return self.reports.get("laptop").body.decode()

    def once_renewed(self) -> None:
        """Waits until nothing is being written."""
        for writing in list(self.reports._underway.values()):
            writing.exception(timeout=30)


@pytest.fixture
def site(tmp_path, monkeypatch) -> Iterator[Site]:
    monkeypatch.setattr(recent_reports, "LONG_SEARCH_TRIALS", 1)
    with client(tmp_path) as http:
        search = create(http)
        finish(http, to_candidates(http), validation_loss=1.8)
        store = http.app.state.controller.store  # type: ignore[attr-defined]
        found = Site(http, RecentReports(store, lambda: found.now), search)
        try:
            yield found
        finally:
            found.reports.close()


def test_the_report_of_a_long_search_is_kept_for_a_few_seconds(site):
    first = site.text()
    row = site.finish_one()
    site.now = RENEWED_AFTER_SECONDS
    assert site.text() == first
    site.now = KEPT_SECONDS + 0.1
    assert row in site.text()


def test_whoever_asks_late_gets_the_kept_one_while_a_new_one_is_written(site):
    first = site.text()
    row = site.finish_one()
    site.now = RENEWED_AFTER_SECONDS + 0.1
    assert site.text() == first
    site.once_renewed()
    assert row in site.text()


def test_the_end_of_a_search_is_told_at_once(site):
    site.text()
    site.http.post(f"{ROOT}/searches/laptop/stop").raise_for_status()
    assert "</code>, stopped" in site.text()
    site.http.delete(f"{ROOT}/searches/laptop")
    with pytest.raises(NotFound):
        site.text()


def test_a_short_search_is_told_as_it_is(site, monkeypatch):
    monkeypatch.setattr(recent_reports, "LONG_SEARCH_TRIALS", 2_000)
    site.text()
    row = site.finish_one()
    assert row in site.text()


def test_many_who_ask_at_once_wait_for_one_report(site, monkeypatch):
    written = []
    go_on = threading.Event()
    real = RecentReports._written

    def slow(self, search_id):
        written.append(search_id)
        assert go_on.wait(30)
        return real(self, search_id)

    monkeypatch.setattr(RecentReports, "_written", slow)
    with ThreadPoolExecutor(8) as people:
        asked = [people.submit(site.text) for _ in range(8)]
        go_on.set()
        assert len({one.result() for one in asked}) == 1
    assert len(written) == 1


def test_a_report_that_cannot_be_written_is_an_error_and_the_next_one_is_tried(site, monkeypatch):
    first = site.text()
    site.now = KEPT_SECONDS + 0.1
    with monkeypatch.context() as broken:

        def silent(self, search_id):
            raise StorageUnavailable("the database does not answer")

        broken.setattr(RecentReports, "_written", silent)
        with pytest.raises(StorageUnavailable):
            site.text()
        site.now = RENEWED_AFTER_SECONDS + 0.1
        assert site.text() == first
        site.once_renewed()
    site.now = KEPT_SECONDS + 0.1
    assert site.text() != first


def test_reports_come_compressed_to_whoever_accepts_that(site):
    plain = site.http.get(f"{ROOT}/searches/laptop/report", headers={"Accept-Encoding": "identity"})
    packed = site.http.get(f"{ROOT}/searches/laptop/report", headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.headers["vary"] == "Accept-Encoding"
    assert packed.text == plain.text
