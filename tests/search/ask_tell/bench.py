"""Opens searches for ask and tell in memory or on one kind of database."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from brainformer.search.ask_tell.contract import AskTell, ask_tell_spec
from brainformer.search.ask_tell.in_memory import MemorySearch
from brainformer.search.ask_tell.in_sql import SqlSearch, open_sql_search
from brainformer.search.spec import SearchSpec

SMALL: dict[str, Any] = {"population_size": 6, "tournament_size": 3, "seed": 5}


@dataclass
class Bench:
    """Opens searches in one place and closes them."""

    url: str | None
    opened: list[SqlSearch] = field(default_factory=list)

    def open(self, spec: SearchSpec | None = None) -> AskTell:
        spec = spec or ask_tell_spec("nano", **SMALL)
        if self.url is None:
            return MemorySearch(spec)
        self.opened.append(open_sql_search(spec, self.url))
        return self.opened[-1]

    def close(self) -> None:
        for search in self.opened:
            search.close()
        self.opened.clear()
