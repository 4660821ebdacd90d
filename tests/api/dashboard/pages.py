"""What tests of pages share: opening one, waiting for its plot, a search to look at."""

from __future__ import annotations

from typing import NamedTuple

from tests.api.dashboard.site import (
    until,
)


def open_page(watched, site, query=""):
    watched.page.goto(f"{site.url}/{query}")
    return watched.page


def open_search(watched, site, search, **fields):
    """Opens one search with fields of the address set."""
    query = "&".join(f"{name}={value}" for name, value in {"search": search, **fields}.items())
    return open_page(watched, site, f"?{query}")


def wait_for_plot(watched, series, numbers):
    until(
        lambda: sorted(watched.plotted().get(series, [])) == sorted(numbers),
        f"{series} {numbers} in the plot, which has {watched.plotted()}",
    )


def place_of(watched, number):
    """Returns where the mark of a trial lies in the window, once the page has stopped moving."""
    return watched.page.evaluate(
        """async (number) => {
          const area = document.querySelector("#chart-fitness .chart-area");
          const pause = () => new Promise((done) => setTimeout(done, 100));
          let [before, still] = [null, 0];
          while (still < 5) {
            area.scrollIntoView({ block: "center" });
            const { top, height } = area.getBoundingClientRect();
            still = before === `${top} ${height}` ? still + 1 : 0;
            before = `${top} ${height}`;
            await pause();
          }
          const mark = area.marks().find((one) => one.number === number && one.series);
          const box = area.getBoundingClientRect();
          return [box.left + mark.x, box.top + mark.y];
        }""",
        number,
    )


class Feed(NamedTuple):
    """A search with its baseline and five candidates, of which `best` is the best."""

    search: str
    baseline: list[int]
    candidates: list[int]
    best: int
    worst: int
