"""What tests of pages share: opening one, waiting for its plot, a search to look at."""

from __future__ import annotations

from typing import NamedTuple

from tests.api.dashboard.site import (
    until,
)


def open_page(watched, site, query=""):
    watched.page.goto(f"{site.url}/{query}")
    return watched.page


def wait_for_plot(watched, series, numbers):
    until(
        lambda: watched.plotted().get(series) == numbers,
        f"{series} {numbers} in the plot, which has {watched.plotted()}",
    )


class Feed(NamedTuple):
    """A search with its baseline and five candidates, of which `best` is the best."""

    search: str
    baseline: list[int]
    candidates: list[int]
    best: int
    worst: int
