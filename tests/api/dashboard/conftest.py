"""A browser, a controller, a worker and a search with results, for tests of pages."""

from __future__ import annotations

import pytest

from tests.api.dashboard.pages import Feed
from tests.api.dashboard.site import (
    Watched,
    open_browser,
)


@pytest.fixture(scope="module")
def browser():
    with open_browser() as found:
        yield found


@pytest.fixture
def watched(browser):
    """A page whose script and policy errors fail the test; lost connections are expected."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    found = Watched(context.new_page())
    yield found
    real = [text for text in found.problems if not text.startswith("Failed to load resource")]
    context.close()
    assert real == []


@pytest.fixture
def feed(worker):
    search = worker.create_search()
    baseline = worker.measure_baseline()
    done = worker.finish_candidates([2.1, 1.95, 1.8, 1.9, 2.2])
    return Feed(search, baseline, done, best=done[2], worst=done[4])
