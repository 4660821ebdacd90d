"""What is read from a compiled program's text and from the compiler's refusals."""

from brainformer.worker.targets.account import Collective, collectives_of, refused_account

PROGRAM = """
  %all-gather.1 = bf16[8,64]{1,0:T(8,128)(2,1)S(1)} all-gather(%fusion.1), channel_id=1
  %copy.1 = bf16[8,64]{1,0} copy(%all-gather.1), metadata={op_name="jit(step)/all_gather"}
  %all-reduce.2 = (f32[10]{0}, f32[]{:T(128)}, /*index=2*/pred[4]{0}) all-reduce(%a, %b, %c)
  %all-gather-start.3 = (f32[2,5]{1,0}, f32[8,5]{1,0}) all-gather-start(%d), channel_id=3
  %done = f32[8,5]{1,0} all-gather-done(%all-gather-start.3)
  %all-to-all.4 = bf16[4,16]{1,0} all-to-all(%e), channel_id=4
  %fusion.5 = f32[64]{0} fusion(%all-reduce.2, %all-to-all.4), kind=kLoop
"""


def test_collectives_count_what_they_yield_and_no_uses():
    assert collectives_of(PROGRAM) == {
        "all-gather": Collective(2, (8 * 64 * 2 + 8 * 5 * 4) / 1e6),
        "all-reduce": Collective(1, (40 + 4 + 4) / 1e6),
        "all-to-all": Collective(1, 4 * 16 * 2 / 1e6),
    }


def test_a_refusal_tells_what_was_wanted_and_what_there_is():
    refused = refused_account(
        "RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Ran out of memory in memory space "
        "hbm. Used 33.50G of 31.25G hbm. Exceeded hbm capacity by 2.25G."
    )

    assert refused is not None
    assert (refused.memory_bytes, refused.limit_bytes) == (int(33.5 * 2**30), int(31.25 * 2**30))
    assert refused_account("INTERNAL: something else") is None
