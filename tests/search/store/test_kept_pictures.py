"""Pictures of a whole search are drawn once for each state of it."""

from __future__ import annotations

import pytest

from brainformer.search.sql import chart_store
from brainformer.search.store.chart_store import Stretch
from tests.search.store.site import Site


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Returns the names of pictures, in the order in which they are drawn."""
    names: list[str] = []

    def noting(name: str) -> None:
        real = getattr(chart_store, name)

        def draw(*given: object, **named: object) -> object:
            names.append(name)
            return real(*given, **named)

        monkeypatch.setattr(chart_store, name, draw)

    for name in ("front", "gains", "composition", "lineage"):
        noting(name)
    return names


@pytest.mark.parametrize("name", ["front", "gains", "composition", "lineage"])
def test_a_picture_is_drawn_again_when_something_has_changed(
    site: Site, drawn: list[str], name: str
) -> None:
    search = site.started()
    site.run(3)
    ask = getattr(site.store.charts, name)
    first = ask(search)
    assert ask(search) == first
    assert drawn == [name]
    site.run(2)
    ask(search)
    assert drawn == [name, name]


def test_a_part_of_a_search_is_drawn_each_time(site: Site, drawn: list[str]) -> None:
    search = site.started()
    site.run(3)
    whole = site.store.charts.composition(search)
    part = site.store.charts.composition(search, Stretch(first=0, last=1))
    assert part != whole
    assert site.store.charts.composition(search) == whole
    assert drawn == ["composition", "composition"]
