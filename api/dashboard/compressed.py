"""Bytes that are compressed once and sent to many."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from fastapi import Request


@dataclass(frozen=True)
class Compressed:
    """A body, plain and compressed.

    Attributes:
        level: Of gzip: 9 for what is sent for weeks, 1 for what is sent for seconds.
    """

    level: ClassVar[int] = 9

    body: bytes

    @cached_property
    def gzipped(self) -> bytes:
        """The same bytes, compressed when they are first asked for."""
        return gzip.compress(self.body, compresslevel=self.level, mtime=0)

    def for_(self, request: Request) -> tuple[bytes, dict[str, str]]:
        """Returns the bytes that the caller accepts, and the headers that say which."""
        headers = {"Vary": "Accept-Encoding"}
        if "gzip" not in request.headers.get("accept-encoding", ""):
            return self.body, headers
        return self.gzipped, headers | {"Content-Encoding": "gzip"}
