"""What a call costs a SQLite database, in its own instructions: no neighbour can blur them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event

from brainformer.search.sql.connection.database import Database


@contextmanager
def counted(database: Database) -> Iterator[list[int]]:
    """Yields a list whose only item counts SQLite's instructions, in steps of a hundred."""
    total = [0]

    def tick() -> int:
        total[0] += 100
        return 0

    def watch(connection: Any, *_: object) -> None:
        connection.set_progress_handler(tick, 100)

    engines = {database._engines.write, database._engines.read}
    for engine in engines:
        event.listen(engine, "checkout", watch)
    try:
        yield total
    finally:
        for engine in engines:
            event.remove(engine, "checkout", watch)
