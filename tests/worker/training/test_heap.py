"""The heap of a training process: large blocks have one place, and what fills holes is untouched.

In processes of their own, since a heap is a process's own and must be told to keep its memory.
"""

import os
import subprocess
import sys

from brainformer.worker.process.environment import trial_environment

PRELUDE = """
import os
from brainformer.worker.training import heap
library = heap._glibc()
MIB = 2**20
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
def hole(size):
    block, lid = library.malloc(size), library.malloc(MIB)
    library.free(block)
    return lid
"""


def _run(code: str) -> None:
    command = [sys.executable, "-c", PRELUDE + code]
    subprocess.run(command, env=os.environ | trial_environment("cpu", 1), check=True)


def test_a_large_block_comes_from_the_end_and_from_a_hole_again_once_cleared():
    _run("""
lid = hole(16 * MIB)
heap.make_room(12 * MIB)
block = library.malloc(12 * MIB)
assert block > lid, "the hole was used"
library.free(block)
assert library.malloc(12 * MIB) == block, "another place"
heap.clear_room()
assert library.malloc(8 * MIB) < lid, "the hole is still filled"
""")


def test_what_outlives_a_step_is_not_put_behind_it():
    _run("""
heap.make_room(12 * MIB)
place = library.malloc(12 * MIB)
for _ in range(10):  # while a step runs: values that stay
    assert library.malloc(200_000) < place
library.free(place)
assert library.malloc(12 * MIB) == place
""")


def test_room_takes_no_memory():
    _run("""
hole(200 * MIB)
before = resident()
heap.make_room(64 * MIB)
assert resident() - before < 2 * MIB
heap.clear_room()
heap.make_room(100 * MIB)
assert resident() - before < 2 * MIB
""")


def test_giving_back_frees_what_was_touched():
    _run("""
import ctypes
block, lid = library.malloc(64 * MIB), library.malloc(MIB)
ctypes.memset(block, 1, 64 * MIB)
touched = resident()
library.free(block)
heap.give_back()
assert touched - resident() > 60 * MIB
""")
