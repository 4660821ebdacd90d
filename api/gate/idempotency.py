"""Idempotency keys: the same key and body make one thing, however often they are sent.

The store keeps the key in the transaction that creates the search; here is only what belongs to
one process: the key's form, and a second request while the first is still being served.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from fastapi import Header

from brainformer.search.errors import IdempotencyInFlight

IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=128,
        pattern=r"^[A-Za-z0-9._:~-]+$",
        description="Repeating a request with the same key and body never creates twice.",
    ),
]


class KeysInFlight:
    """Knows the keys whose first request has not been answered yet."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._keys: set[str] = set()

    @contextmanager
    def held(self, key: str | None) -> Iterator[None]:
        """Holds a key while the block runs; without a key there is no restriction.

        Raises:
            IdempotencyInFlight: another request holds it.
        """
        if key is None:
            yield
            return
        with self._lock:
            if key in self._keys:
                raise IdempotencyInFlight(key)
            self._keys.add(key)
        try:
            yield
        finally:
            with self._lock:
                self._keys.discard(key)
