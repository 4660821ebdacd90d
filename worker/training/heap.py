"""The heap of a training process on a CPU: what is free goes back, and a step keeps its place.

XLA allocates a step's temporaries as one block and frees it after the step. glibc's heap, which is
told to keep its memory (worker/process/environment.py), puts the next step's block in the same
place, unless something small has taken a corner of it by then; so a trial held one or two sets of
temporaries by chance. `make_room` fills the heap's large holes with blocks that nobody touches, and
which so take no memory. A step's block can then only come from the heap's end, where nothing small
is put as long as there are holes for it (docs/performance/worker.md).
"""

from __future__ import annotations

import contextlib
import ctypes
from functools import cache

LARGE = 2**18  # bytes; holes below stay open, blocks below are put there
# Holes beside those that are there: for values that outlive a step, and for what matrix products
# pack their operands into, of which two are in use at a time.
SHELVES = (LARGE,) * 32 + (4 * LARGE,) * 4
ACCOUNT = (
    *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
    *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
)
_fillers: list[int] = []


class _Account(ctypes.Structure):
    """glibc's `struct mallinfo2`, in bytes."""

    _fields_ = [(name, ctypes.c_size_t) for name in ACCOUNT]


def give_back() -> None:
    """Returns free memory to the system; what is used again is faulted in again."""
    with contextlib.suppress(AttributeError, OSError, TypeError):  # glibc alone has it
        ctypes.CDLL(None).malloc_trim(0)


def make_room(size: int) -> None:
    """Has large blocks, up to `size` bytes, come from the heap's end, until `clear_room`."""
    library = _glibc()
    if library is None:
        return
    account = library.mallinfo2()
    end, unfilled = library.sbrk(0) - account.keepcost, account.fordblks - account.keepcost
    while size >= LARGE:
        block = library.malloc(size) if size <= unfilled else None
        if block is not None and block < end:
            _fillers.append(block)
            unfilled -= size
        else:
            library.free(block)
            size //= 2
    shelves = []
    for shelf in SHELVES:
        shelves.append(library.malloc(shelf))
        _fillers.append(library.malloc(LARGE))  # or free neighbours would be one hole
    for block in shelves:
        library.free(block)


def clear_room() -> None:
    """Frees what `make_room` has filled, for other sizes."""
    library = _glibc()
    while library is not None and _fillers:
        library.free(_fillers.pop())


@cache
def _glibc() -> ctypes.CDLL | None:
    """Returns the C library if it is glibc 2.33 or newer, else None."""
    try:
        library = ctypes.CDLL(None)
        library.mallinfo2.restype = _Account
        library.malloc.argtypes, library.malloc.restype = [ctypes.c_size_t], ctypes.c_void_p
        library.free.argtypes, library.free.restype = [ctypes.c_void_p], None
        library.sbrk.argtypes, library.sbrk.restype = [ctypes.c_ssize_t], ctypes.c_size_t
    except (AttributeError, OSError, TypeError):
        return None
    return library
