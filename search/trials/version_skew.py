"""Which versions of worker and controller work together: those of one minor version.

Lease messages are strict: a field that one side adds is an error to the other. So that nobody
has to find this out from a half-run search, a worker says its version with every claim.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import version

from brainformer.search.errors import VersionSkew

HEADER = "Brainformer-Version"


@cache
def own_version() -> str:
    """Returns the version of what is installed here."""
    return version("brainformer-search")


def refuse_skew(*, worker: str, controller: str) -> None:
    """Returns if the two may work together.

    Raises:
        VersionSkew: their minor versions differ; names both and says what to do.
    """
    if worker.split(".")[:2] != controller.split(".")[:2]:
        raise VersionSkew(worker, controller)
