"""The identity of a lease: the one place where it is made, written and read."""

from __future__ import annotations

import re
import secrets
from typing import NamedTuple

from brainformer.search.errors import NotFound

LEASE_ID_PATTERN = r"[1-9][0-9]{0,17}-[1-9][0-9]{0,8}(?:-[0-9a-f]{16})?"
_FORM = re.compile(LEASE_ID_PATTERN)
SHOWN = 64  # characters of a malformed lease id that a message repeats


class LeaseId(NamedTuple):
    """Which attempt of which trial a lease is for; `str` gives it as messages carry it.

    Attributes:
        trial_id: The trial's, which a database that was put back may give again.
        attempt: Its number, likewise.
        key: Random, so that nobody guesses it and no rewind repeats it; "" in leases that were
            granted before there were keys.
    """

    trial_id: int
    attempt: int
    key: str = ""

    def __str__(self) -> str:
        return "-".join(map(str, filter(None, self)))

    @staticmethod
    def new_key() -> str:
        """Returns the key of an attempt that begins."""
        return secrets.token_hex(8)

    @staticmethod
    def is_one(text: str) -> bool:
        """Returns whether a text has the form of a lease's identity."""
        return _FORM.fullmatch(text) is not None

    @classmethod
    def parse(cls, text: str) -> LeaseId:
        """Returns the identity that a message carries.

        Raises:
            NotFound: it is not one that this project gives.
        """
        if not cls.is_one(text):
            raise NotFound("lease", repr(text)[:SHOWN])
        trial_id, attempt, *key = text.split("-")
        return cls(int(trial_id), int(attempt), *key)
