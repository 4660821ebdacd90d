"""Server-sent events out of bytes. A line ends at LF, CR or CR LF: U+2028 is a part of its text."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

ENDS = re.compile(r"\r\n|\n|\r")


def lines(chunks: Iterable[bytes]) -> Iterator[str]:
    """Yields the lines of a stream of bytes in UTF-8; what is not is replaced."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    rest = ""
    for chunk in chunks:
        text = rest + decoder.decode(chunk)
        held = text.endswith("\r")  # an LF may follow
        *whole, rest = ENDS.split(text[:-1] if held else text)
        rest += "\r" if held else ""
        yield from whole


def parse_events(chunks: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """Yields {"id", "event", "data"} of each whole event; comments are skipped.

    Raises:
        ValueError: the data is not JSON.
    """
    event: dict[str, Any] = {}
    for line in lines(chunks):
        if not line:
            if "data" in event:
                event["data"] = json.loads(event["data"])
                yield event
            event = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            event[name] = f"{event[name]}\n{value}" if name in event else value
