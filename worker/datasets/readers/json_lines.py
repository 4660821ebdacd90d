"""JSON lines: one object a line, one document an object.

A line ends at a newline and nowhere else: U+2028 and its like are characters of the text.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from brainformer.search.errors import InvalidData
from brainformer.worker.datasets.readers.limits import check_document
from brainformer.worker.datasets.readers.sources import Source
from brainformer.worker.datasets.readers.streams import opened

LINE_SHARE = 2  # of a document's bytes: escapes and the row's other fields take room too


def read_json_lines(source: Source, text_field: str, *, max_bytes: int) -> Iterator[str]:
    """Yields the text of each row; empty lines are passed over.

    Raises:
        InvalidData: names the line and the rule that it breaks.
    """
    longest = LINE_SHARE * max_bytes
    with opened(source) as stream:
        number = 0
        while line := stream.line(longest + 1):
            number += 1
            where = f"{source.name}: line {number}"
            check_document(len(line), longest, where)
            if line.strip():
                text = _text(line, text_field, where)
                check_document(_utf8_bytes(text, where), max_bytes, where)
                yield text


def _text(line: bytes, text_field: str, where: str) -> str:
    try:
        row = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError:
        raise InvalidData(f"{where} must be UTF-8") from None
    except json.JSONDecodeError as error:
        raise InvalidData(f"{where} is not JSON: {error.msg}") from None
    except RecursionError:
        raise InvalidData(f"{where} is nested too deep to be read") from None
    except ValueError:  # Python reads no integer of more than 4,300 digits
        raise InvalidData(f"{where} has a number too long to be read") from None
    text = row.get(text_field) if isinstance(row, dict) else None
    if not isinstance(text, str):
        raise InvalidData(f"{where} needs a string under {text_field!r}")
    return text


def _utf8_bytes(text: str, where: str) -> int:
    try:
        return len(text.encode("utf-8"))
    except UnicodeEncodeError:
        raise InvalidData(f"{where} has half a surrogate pair, which is not a character") from None
