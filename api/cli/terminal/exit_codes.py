"""Exit codes of the command line, documented in docs/cli.md."""

from __future__ import annotations

from brainformer.search.errors import (
    BrainformerError,
    Conflict,
    InvalidInput,
    NotAuthorised,
    NotFound,
)
from brainformer.search.storage_errors import StorageError

OK = 0
ERROR = 1
USAGE = 2
NOT_FOUND = 3
AUTH = 4
CONFLICT = 5
SEARCH_FAILED = 6
INTERRUPTED = 130


def exit_code(error: BrainformerError) -> int:
    """Returns the exit code that stands for an error's class."""
    table: tuple[tuple[type[BrainformerError], int], ...] = (
        (NotFound, NOT_FOUND),
        (NotAuthorised, AUTH),
        (Conflict, CONFLICT),
        (InvalidInput, USAGE),
        (StorageError, ERROR),
    )
    return next((code for kind, code in table if isinstance(error, kind)), ERROR)
