"""The words of events stand in one place."""

from __future__ import annotations

import re

from brainformer.search.trials.events import MEANINGS, EventKind
from tests.repository import REPOSITORY


def test_every_kind_says_what_it_means() -> None:
    assert list(MEANINGS) == list(EventKind)


def test_kinds_fit_their_column() -> None:
    assert max(map(len, EventKind)) <= 32


def test_no_source_writes_an_event_as_a_word() -> None:
    words = re.compile("|".join(f'"{re.escape(kind.value)}"' for kind in EventKind))
    home = REPOSITORY / "search" / "trials" / "events.py"
    sources = [
        path
        for folder in ("search", "api", "worker")
        for path in (REPOSITORY / folder).rglob("*.py")
        if path != home
    ]
    audited = "audit_action(tx, actor,"  # the audit trail's own words, of which one is the same
    found = [
        f"{path}: {line.strip()}"
        for path in sources
        for line in path.read_text("utf-8").splitlines()
        if words.search(line) and audited not in line
    ]
    assert len(sources) > 100
    assert found == []
