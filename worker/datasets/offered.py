"""The data sets of this machine, as a worker offers them with every claim."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from pathlib import Path

from brainformer.search.errors import BrainformerError
from brainformer.worker.datasets.catalogue import list_datasets, open_dataset
from brainformer.worker.datasets.stdlib_text import BUILT_IN

log = logging.getLogger(__name__)
FRESH_SECONDS = 30.0


class DatasetHashes:
    """The hash of every data set at hand, looked up twice a minute."""

    def __init__(self, folder: Path | None, now: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._now = now
        self._known: dict[str, str] = {}
        self._until = -math.inf

    def __call__(self) -> dict[str, str]:
        """Returns id to hash; the built-in data set is made at first use."""
        if self._now() >= self._until:
            try:
                open_dataset(BUILT_IN, self._folder, verify=False)
            except BrainformerError as error:
                log.warning("%s", error.message)
            self._known = {one.id: one.hash for one in list_datasets(self._folder)}
            self._until = self._now() + FRESH_SECONDS
        return self._known
