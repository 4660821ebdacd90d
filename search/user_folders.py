"""Where a user's files lie unless an option says otherwise.

The XDG folders where they are set, else those below the home folder. A user without a home (a
container's unknown user id) needs them only where no option names a folder.
"""

from __future__ import annotations

import os
from pathlib import Path

from brainformer.search.errors import EnvironmentProblem


def cache_folder(option: str) -> Path:
    """Returns the folder of what can be made again.

    Args:
        option: What the user may give instead, for the message.

    Raises:
        EnvironmentProblem: this user has no home folder.
    """
    return _folder("XDG_CACHE_HOME", ".cache", option)


def data_folder(option: str) -> Path:
    """Returns the folder of what must be kept; see `cache_folder`."""
    return _folder("XDG_DATA_HOME", ".local/share", option)


def ensure_home(folder: Path) -> None:
    """Gives libraries that insist on a home folder one, if this user has none.

    Args:
        folder: Of files that may be lost.
    """
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = str(folder)


def user_path(given: str) -> Path:
    """Returns a path whose ~ stands for the home folder, as a shell would have read it.

    Raises:
        EnvironmentProblem: this user, or the one named behind the ~, has no home folder.
    """
    try:
        return Path(given).expanduser()
    except RuntimeError:
        raise EnvironmentProblem(
            f"there is no home folder for the ~ of {given}", "write the path in full"
        ) from None


def _folder(variable: str, below_home: str, option: str) -> Path:
    named = os.environ.get(variable)
    if named:
        return Path(named) / "brainformer"
    try:
        home = Path.home()
    except RuntimeError:  # neither HOME nor an entry for this user id
        home = Path("/")
    if home == Path("/"):  # what some images give to users that they do not know
        raise EnvironmentProblem(
            "this user has no home folder to keep files in", f"give {option}, or set {variable}"
        )
    return home / below_home / "brainformer"
