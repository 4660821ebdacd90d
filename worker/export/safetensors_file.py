"""Arrays in a safetensors file: no pickle, and read back bit for bit."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from brainformer.search.errors import EnvironmentProblem, InvalidExport
from brainformer.worker.export.weighted_model import Arrays

WEIGHTS = "model.safetensors"


def write_arrays(path: Path, arrays: Arrays, *, metadata: dict[str, str]) -> None:
    """Writes arrays by name.

    Raises:
        EnvironmentProblem: the disk is full or not writable.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    # `ascontiguousarray` would give a number alone an axis.
    whole = {name: np.asarray(value, order="C") for name, value in arrays.items()}
    try:
        path.touch()
        mode = path.stat().st_mode  # of new files here; safetensors leaves its own to their owner
        save_file(whole, path, metadata=metadata)
        path.chmod(stat.S_IMODE(mode))
    except (SafetensorError, OSError) as error:
        why = str(error).removeprefix("Error while serializing: ").removeprefix("I/O error: ")
        raise EnvironmentProblem(
            f"cannot write {path.name}: {why}", "make room or choose another place with --output"
        ) from None


def read_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Returns the arrays of a file by name.

    Raises:
        InvalidExport: the file is missing, truncated or no safetensors file.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return dict(load_file(path))
    except OSError as error:
        raise InvalidExport(f"cannot read {path}: {error.strerror or error}") from None
    except SafetensorError as error:
        raise InvalidExport(f"{path} is damaged: {error}; export the model again") from None
