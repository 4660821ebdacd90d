import os
import subprocess
import sys

from brainformer.worker.process.environment import trial_environment

FRAGMENTED_THEN_FORGOTTEN = """
import sys, types
sys.modules["jax"] = types.SimpleNamespace(clear_caches=lambda: None)
from brainformer.worker.process.trial_process import _forget

def resident_mib():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 2**20

pieces = [bytes(4000) for _ in range(20_000)]
pieces = pieces[-1:]
before = resident_mib()
_forget()
print(before - resident_mib())
"""


def test_what_earlier_genomes_leave_in_pieces_goes_back_to_the_system():
    environment = {**os.environ, **trial_environment("cpu", 1)}
    command = [sys.executable, "-P", "-c", FRAGMENTED_THEN_FORGOTTEN]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert float(done.stdout) > 60
