"""Uploads to a hub: the folder as it is, refusals in one sentence, no token in any."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from brainformer.search.errors import BrainformerError, EnvironmentProblem, InvalidExport
from brainformer.worker.export.hub import push_to_hub
from brainformer.worker.export.model_folders import write_huggingface
from tests.worker.export.models import block, lively
from tests.worker.export.stand_in_hub import StandInHub, stand_in_hub

SECRET = "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"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInHub]:
    with stand_in_hub() as found:
        monkeypatch.setenv("HF_ENDPOINT", found.url)
        monkeypatch.setenv("HF_TOKEN", f"{SECRET}\n")
        # The store of large files that is plain HTTP; the other one has a protocol of its own.
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
        yield found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_huggingface(tmp_path / "out", lively(block("expert choice")))
    return tmp_path / "out"


def refusal(folder: Path, name: str = "me/block") -> str:
    with pytest.raises(BrainformerError) as caught:
        push_to_hub(folder, name)
    assert SECRET not in str(caught.value)
    return caught.value.message


def test_every_file_arrives_as_it_is(hub: StandInHub, folder: Path) -> None:
    url = push_to_hub(folder, "me/block")
    assert url == f"{hub.url}/me/block"
    assert hub.files == {path.name: path.read_bytes() for path in folder.iterdir()}
    assert hub.repositories == {"me/block"}
    assert f"Bearer {SECRET}" in hub.tokens


@pytest.mark.parametrize(
    ("status", "words"),
    [(401, "does not know the token"), (403, "may not write"), (500, "nothing was committed")],
)
def test_a_hub_that_refuses_is_told_in_one_sentence(
    hub: StandInHub, folder: Path, status: int, words: str
) -> None:
    hub.refuse = status
    told = refusal(folder)
    assert f"refuses me/block with status {status}" in told
    assert words in told
    assert hub.files == {}


def test_a_hub_that_is_not_there_a_wrong_name_and_no_token(
    hub: StandInHub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "OWNER/MODEL" in refusal(folder, "a/b/c")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert "cannot reach the hub at http://127.0.0.1:9" in refusal(folder)
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    with pytest.raises(EnvironmentProblem, match="set HF_TOKEN"):
        push_to_hub(folder, "me/block")


def test_what_was_tampered_with_is_not_uploaded(hub: StandInHub, folder: Path) -> None:
    (folder / "modeling_brainformer.py").write_text("import os")
    with pytest.raises(InvalidExport, match="cut short or changed"):
        push_to_hub(folder, "me/block")
    assert hub.files == {}
