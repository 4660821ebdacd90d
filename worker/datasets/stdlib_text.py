"""The built-in data set `python-stdlib`: the running interpreter's own library, as bytes.

Real text that is on every machine. Its hash depends on the Python version, so workers of one
search need the same one; a worker whose copy differs refuses the lease.
"""

from __future__ import annotations

import sysconfig
from collections.abc import Iterator
from pathlib import Path

from brainformer.worker.datasets.splits import Shares

# Not there on every distribution, generated at install time, or added by the user.
LEFT_OUT = frozenset(
    {"site-packages", "dist-packages", "__pycache__", "test", "tests", "idle_test"}
    | {"lib-dynload", "ensurepip", "idlelib", "tkinter", "turtledemo", "lib2to3", "distutils"}
)
LEFT_OUT_PREFIXES = ("_sysconfigdata", "sitecustomize", "usercustomize", "config-")
STDLIB_SHARES = Shares(validation=0.06, test=0.06)
BUILT_IN = "python-stdlib"


def stdlib_files() -> list[Path]:
    """Returns the library's source files, sorted by their path within it."""
    root = Path(sysconfig.get_paths()["stdlib"])
    found = []
    for path in root.rglob("*.py"):
        parts = path.relative_to(root).parts
        if LEFT_OUT.isdisjoint(parts) and not any(
            part.startswith(LEFT_OUT_PREFIXES) for part in parts
        ):
            found.append(path)
    return sorted(found, key=lambda path: path.relative_to(root).as_posix())


def stdlib_documents() -> Iterator[str]:
    """Yields the text of each file; the few that are not UTF-8 (fixtures) are passed over."""
    for path in stdlib_files():
        try:
            yield path.read_text("utf-8")
        except (UnicodeDecodeError, OSError):
            continue
