"""Targets by name."""

import pytest

from brainformer.search.errors import InvalidInput
from brainformer.worker.targets.hardware import CHIPS, Target, parse_target


@pytest.mark.parametrize(
    ("text", "target", "topology"),
    [
        ("tpu-v6e-8", Target("v6e", 8), "v6e:2x4"),
        ("v6e-1", Target("v6e", 1), "v6e:2x2"),
        ("TPU-v5e-256", Target("v5e", 256), "v5e:16x16"),
        ("v5p-8", Target("v5p", 8), "v5p:2x2x2"),
        ("v5p-4", Target("v5p", 4), "v5p:2x2x1"),
    ],
)
def test_a_name_tells_generation_chips_and_topology(text, target, topology):
    assert parse_target(text) == target
    assert target.topology == topology
    assert parse_target(target.name) == target


@pytest.mark.parametrize(("text", "count"), [("gpu", 1), ("gpu-8", 8)])
def test_gpus_are_counted_and_have_no_topology(text, count):
    assert parse_target(text) == Target("gpu", count)
    assert parse_target(text).chip is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tpu-v6e-3", "1, 2, 4, 8 ... 256 chips: choose one of these (got 3)"),
        ("tpu-v6e-0", "(got 0)"),
        ("tpu-v6e-512", "(got 512)"),
        ("gpu-0", "1 to 256 GPUs (got 0)"),
        ("tpu-v7-8", "with v5e, v5p or v6e"),
        ("v6e", "tpu-GENERATION-CHIPS"),
        ("", "tpu-GENERATION-CHIPS"),
    ],
)
def test_a_target_that_is_not_there_is_refused_in_one_sentence(text, words):
    with pytest.raises(InvalidInput) as caught:
        parse_target(text)

    assert words in caught.value.message


def test_chips_have_their_published_memory():
    assert {name: chip.memory_bytes >> 30 for name, chip in CHIPS.items()} == {
        "v5e": 16,
        "v5p": 95,
        "v6e": 32,
    }
