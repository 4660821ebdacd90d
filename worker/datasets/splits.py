"""Which split a document belongs to: by its own hash, so that a split needs no list.

Training reads `train`, a search judges by `validation`, and only a promotion and `brainformer eval`
ever read `test`. A document belongs to one split whole, the same one however often files are added.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

SplitName: TypeAlias = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = get_args(SplitName)


@dataclass(frozen=True)
class Shares:
    """Expected shares of documents that are held out; the rest is for training."""

    validation: float
    test: float

    def split_of(self, text: str) -> SplitName:
        """Returns the document's split."""
        digest = hashlib.sha256(text.encode("utf-8")).digest()
        place = int.from_bytes(digest[:4], "big") / 2**32
        if place < self.validation:
            return "validation"
        return "test" if place >= 1 - self.test else "train"
