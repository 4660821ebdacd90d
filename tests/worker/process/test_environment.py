"""What a training process is started with."""

from __future__ import annotations

import pytest

from brainformer.worker.process.environment import MEMORY_SHARE_NAMES, trial_environment


@pytest.fixture(autouse=True)
def no_choice(monkeypatch):
    for name in (*MEMORY_SHARE_NAMES, "XLA_FLAGS"):
        monkeypatch.delenv(name, raising=False)


def test_a_trial_has_a_gpu_s_memory_to_itself():
    assert trial_environment("gpu", 1)["XLA_CLIENT_MEM_FRACTION"] == "0.9"
    assert "XLA_CLIENT_MEM_FRACTION" not in trial_environment("cpu", 1)


@pytest.mark.parametrize("name", MEMORY_SHARE_NAMES)
def test_an_operator_s_share_of_memory_stays(monkeypatch, name):
    monkeypatch.setenv(name, "0.5")

    assert not set(MEMORY_SHARE_NAMES) & set(trial_environment("gpu", 1))


def test_an_operator_s_flags_stand_before_ours(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=/tmp/dump")
    flags = trial_environment("cpu", 1)["XLA_FLAGS"].split()

    assert flags[0] == "--xla_dump_to=/tmp/dump"
    assert any(flag.startswith("--xla_backend_extra_options") for flag in flags)


def test_an_operator_s_own_choice_for_llvm_stays(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_extra_options=mine")

    assert trial_environment("cpu", 1)["XLA_FLAGS"] == "--xla_backend_extra_options=mine"
