from pathlib import Path

import pytest

from brainformer.api.environment import unknown_variables
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


def refusal(*arguments, **given) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        load_settings(*arguments, **given)
    assert "\n" not in caught.value.message
    return caught.value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BRAINFORMER_PORT", "tcp://10.96.12.7:8700"),
        ("BRAINFORMER_PORT", "udp://10.96.12.7:8700"),
        ("BRAINFORMER_SERVICE_HOST", "10.96.12.7"),
        ("BRAINFORMER_SERVICE_PORT", "8700"),
        ("BRAINFORMER_SERVICE_PORT_HTTP", "8700"),
        ("BRAINFORMER_PORT_8700_TCP", "tcp://10.96.12.7:8700"),
        ("BRAINFORMER_PORT_8700_TCP_ADDR", "10.96.12.7"),
        ("BRAINFORMER_CONTROLLER_PORT", "tcp://10.96.12.7:8700"),
        ("BRAINFORMER_URL", "http://x"),
        ("BRAINFORMER_TOKEN_FILE", "/run/secrets/token"),
    ],
)
def test_what_kubernetes_and_the_command_line_know_is_no_setting(name, value, monkeypatch):
    monkeypatch.setenv(name, value)
    assert load_settings().port == 8700
    assert list(unknown_variables(Settings.model_fields)) == []


def test_a_service_link_does_not_hide_what_the_file_says(tmp_path, monkeypatch):
    monkeypatch.setenv("BRAINFORMER_PORT", "tcp://10.96.12.7:8700")
    (tmp_path / "settings.yaml").write_text("port: 9000\n")
    assert load_settings(tmp_path / "settings.yaml").port == 9000


def test_a_port_that_is_no_number_is_still_refused(monkeypatch):
    monkeypatch.setenv("BRAINFORMER_PORT", "http://x")
    assert "setting port" in refusal().message


def test_a_misspelt_variable_is_told(monkeypatch):
    monkeypatch.setenv("BRAINFORMER_PROT", "9000")
    [told] = unknown_variables(Settings.model_fields)
    assert told.endswith("is not a setting; did you mean BRAINFORMER_PORT?")


@pytest.mark.parametrize(
    "text", ["a.example,b.example", " a.example , b.example, ", '["a.example", "b.example"]']
)
def test_lists_in_the_environment_are_written_with_commas_or_as_json(text, monkeypatch):
    monkeypatch.setenv("BRAINFORMER_ALLOWED_HOSTS", text)
    assert load_settings().allowed_hosts == ("a.example", "b.example")


@pytest.mark.parametrize("text", ["", " ", "[]", ","])
def test_an_empty_list_is_one(text, monkeypatch):
    monkeypatch.setenv("BRAINFORMER_DATASETS", text)
    assert load_settings().datasets == ()


def test_a_list_that_is_neither_is_refused(monkeypatch):
    monkeypatch.setenv("BRAINFORMER_ALLOWED_HOSTS", '["a')
    assert "with commas" in refusal().message


def test_all_that_is_wrong_with_a_file_is_told_with_lines_and_suggestions(tmp_path):
    file = tmp_path / "settings.yaml"
    file.write_text("prot: 1\nmax_streams: 0\nlog_level: loud\nbody_seconds: true\n")
    told = refusal(file).message
    assert "setting prot: there is no such field; did you mean 'port'? at /prot (line 1)" in told
    assert "setting max_streams: " in told
    assert "(line 3)" in told
    file.write_text("body_seconds: true\n")
    assert "true and false are not numbers" in refusal(file).message


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.yaml", "port: 1\nport: 2\n"),
        ("a.yaml", "host: 2026-11-31\nport: " + "9" * 5000),
        ("a.toml", "port = " + "9" * 5000),
        ("a.toml", "port = 1\nport = 2\n"),
        ("a.yaml", "[" * 5000),
        ("a.toml", "a = " + "[" * 100_000),
    ],
)
def test_what_breaks_a_parser_is_one_sentence(name, text, tmp_path):
    (tmp_path / name).write_text(text)
    assert name in refusal(tmp_path / name).message


def test_a_password_in_the_databases_address_is_not_repeated():
    told = refusal(None, database_url=["postgresql://ann:hush@db/x"]).message
    assert "database_url" in told
    assert "hush" not in told


def test_a_tilde_is_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    found = load_settings(None, database_url="sqlite:///~/search.db")
    assert found.database_url == f"sqlite:///{tmp_path}/search.db"


@pytest.mark.parametrize(
    "url",
    ["sqlite:///", "sqlite://", "sqlite:///:memory:", "sqlite+pysqlite://", "sqlite:///file:x"],
)
def test_a_database_that_ends_with_the_process_is_refused(url):
    with pytest.raises(InvalidInput, match="sqlite:///FILE"):
        load_settings(None, database_url=url).require_lasting_database()


@pytest.mark.parametrize("url", ["sqlite:///x.db", "sqlite:////x.db", "postgresql+psycopg://h/x"])
def test_a_database_that_lasts_is_not(url):
    load_settings(None, database_url=url).require_lasting_database()
