"""Where the command line looks for a controller unless it is told, and paths on it."""

from urllib.parse import quote

from brainformer.search.errors import NotFound

DEFAULT_URL = "http://127.0.0.1:8700"


def search_path(named: str) -> str:
    """Returns a search's id or name as one part of a path, whatever characters it has.

    Raises:
        NotFound: no search can be called that, and the path would lead elsewhere.
    """
    if named in {"", ".", ".."} or "/" in named:
        raise NotFound("search", named or "''")
    return path_part(named)


def path_part(named: str) -> str:
    """Returns a name as one part of a path, whatever characters it has."""
    return quote(named, safe="")
