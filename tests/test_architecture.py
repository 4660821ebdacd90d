"""docs/architecture.md: its rooms are the folders, in the order that import-linter holds."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from docs.site.architecture import PAGE, contracts, purpose, rooms, with_rooms
from tests.repository import REPOSITORY

PACKAGES = ("search", "model", "worker", "api")
SOURCES = sorted(
    path
    for package in PACKAGES
    for path in (REPOSITORY / package).rglob("*")
    if path.suffix in {".py", ".js", ".css"} and "node_modules" not in path.parts
)
MOST_LINES = 350
MOST_FILES = 15  # of a folder, apart from the line that says what it is for
TEXT = PAGE.read_text("utf-8")


def test_the_tables_are_drawn_from_the_sources_of_today():
    assert with_rooms(TEXT) == TEXT, "run `make snapshots`"


def test_every_folder_of_sources_is_a_room_in_a_table():
    shown = set(re.findall(r"^\| (\w+) \|", rooms(), re.MULTILINE))
    folders = {
        path.parent.name
        for package in ("search", "worker", "api")
        for path in (REPOSITORY / package).glob("*/__init__.py")
    }
    assert folders <= shown


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_has_a_section_and_a_line(package):
    assert f"\n### {package}/\n" in TEXT
    assert f"\n| {package}/ |" in TEXT


def test_every_room_says_what_it_is_for():
    named = [
        f"{container}.{name.strip()}"
        for contract in contracts("layers")
        for container in contract.get("containers", [])
        for layer in contract["layers"]
        for name in layer.split("|")
    ]
    assert len(named) > 40
    assert [room for room in named if len(purpose(room).split()) < 3] == []


def test_files_that_the_page_names_exist():
    named = re.findall(r"(?:\| |`)((?:search|model|worker|api|brainformer)/[\w/.]*)", TEXT)
    assert len(named) > 20
    assert [name for name in named if not Path(REPOSITORY / name).exists()] == []


def test_no_file_is_longer_than_one_can_survey():
    lines = {path: len(path.read_text("utf-8").splitlines()) for path in SOURCES}
    assert {
        str(path.relative_to(REPOSITORY)): count
        for path, count in lines.items()
        if count > MOST_LINES
    } == {}


def test_no_folder_holds_more_files_than_one_can_survey():
    counts = Counter(path.parent for path in SOURCES if path.name != "__init__.py")
    assert len(counts) > 40
    assert {
        str(path.relative_to(REPOSITORY)): count
        for path, count in counts.items()
        if count > MOST_FILES
    } == {}
