from pathlib import Path

import pytest

from brainformer.api.settings import Settings, load_settings, settings_document
from brainformer.search.errors import InvalidInput
from tests.repository import REPOSITORY

ROOT = REPOSITORY


def test_document_is_the_one_made_from_the_fields():
    assert (ROOT / "docs" / "settings.md").read_text() == settings_document()


def test_every_setting_is_described():
    assert all(field.description for field in Settings.model_fields.values())


def test_given_beats_environment_beats_file(tmp_path: Path, monkeypatch):
    file = tmp_path / "settings.yaml"
    file.write_text("port: 1000\nmax_streams: 7\nlog_level: error\n")
    monkeypatch.setenv("BRAINFORMER_PORT", "2000")
    monkeypatch.setenv("BRAINFORMER_LOG_LEVEL", "debug")
    found = load_settings(file, log_level="warning")
    assert (found.port, found.max_streams, found.log_level) == (2000, 7, "warning")


def test_toml_is_read_too(tmp_path: Path):
    file = tmp_path / "settings.toml"
    file.write_text('allowed_hosts = ["a.example"]\n')
    hosts = load_settings(file, host="0.0.0.0").trusted_hosts
    assert "a.example" in hosts
    assert "127.0.0.1" in hosts  # of a health check
    assert not hosts & {"*", "0.0.0.0", "b.example"}


@pytest.mark.parametrize(
    "text", ["port: 70000", "prot: 1", "- a", "port: [", "database_url: {a: 1}"]
)
def test_a_bad_file_is_one_sentence(tmp_path: Path, text):
    file = tmp_path / "settings.yaml"
    file.write_text(text)
    with pytest.raises(InvalidInput) as caught:
        load_settings(file)
    assert "\n" not in caught.value.message


def test_a_missing_file_is_told(tmp_path: Path):
    with pytest.raises(InvalidInput, match="cannot read"):
        load_settings(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False)],
)
def test_loopback_is_known(host, loopback):
    assert load_settings(None, host=host).is_loopback is loopback
