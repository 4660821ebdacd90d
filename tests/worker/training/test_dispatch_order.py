import subprocess
import sys

import pytest

HANDS_OVER_A_LONG_PROGRAM = """
import jax, jax.numpy as jnp
from brainformer.worker.devices.compiler_options import dispatch_in_order
if {in_order}:
    dispatch_in_order()
long = jax.jit(lambda x: jax.lax.fori_loop(0, 60, lambda _, y: jnp.tanh(y @ y), x))
x = jnp.ones((512, 512))
jax.block_until_ready(long(x))
print(long(x).is_ready())
"""


@pytest.mark.slow
@pytest.mark.parametrize("in_order", [True, False])
def test_a_step_has_ended_when_the_next_is_handed_over(in_order):
    code = HANDS_OVER_A_LONG_PROGRAM.format(in_order=in_order)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.split() == [str(in_order)]
