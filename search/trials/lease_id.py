"""The identity of a lease: the one place where it is made, written and read."""

from __future__ import annotations

import re
from typing import NamedTuple

from brainformer.search.errors import NotFound

LEASE_ID_PATTERN = r"[1-9][0-9]{0,17}-[1-9][0-9]{0,8}"
_FORM = re.compile(LEASE_ID_PATTERN)
SHOWN = 64  # characters of what is no lease id that a message repeats


class LeaseId(NamedTuple):
    """Which attempt of which trial a lease is for; `str` gives it as messages carry it."""

    trial_id: int
    attempt: int

    def __str__(self) -> str:
        return f"{self.trial_id}-{self.attempt}"

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
        trial_id, attempt = text.split("-")
        return cls(int(trial_id), int(attempt))
