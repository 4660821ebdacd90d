"""Sizes and targets as they are given on the command line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from brainformer.search.errors import InvalidInput

if TYPE_CHECKING:
    from brainformer.search.scaling.target import Target

COUNT = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,12})?)([kKmMbB]?)")
POWERS = {"": 1.0, "K": 1e3, "M": 1e6, "B": 1e9}
FILES = frozenset({".yaml", ".yml", ".json"})


def parse_count(text: str) -> int:
    """Returns the number that "1B", "300M", "20k" or "1000" stands for.

    Raises:
        InvalidInput: it is none of these.
    """
    match = COUNT.fullmatch(text.strip())
    if match is None or not float(match[1]):
        raise InvalidInput("a count is a number above 0 with K, M or B behind it", text)
    return round(float(match[1]) * POWERS[match[2].upper()])


def target_given(text: str) -> Target:
    """Returns the usual target of a size ("1B"), or the one in a file.

    Raises:
        InvalidInput: it is neither, or the file cannot be read.
        InvalidSpec: the file's target breaks a rule.
    """
    from brainformer.search.scaling.target import parse_target, target_of_size

    path = Path(text)
    if path.suffix not in FILES:
        return target_of_size(parse_count(text))
    try:
        return parse_target(path.read_bytes())
    except OSError as error:
        raise InvalidInput(f"cannot read the target {path}: {error.strerror}") from None
