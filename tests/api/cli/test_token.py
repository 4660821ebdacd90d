import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from brainformer.api.cli.main import app
from tests.api.rest_site import ROOT, client


@pytest.fixture
def brainformer(tmp_path: Path):
    """Runs a token command on a database in the folder; returns its result."""
    database = f"sqlite:///{tmp_path / 'rest.db'}"

    def run(*arguments: str):
        return CliRunner().invoke(app, ["token", *arguments, "--database", database])

    return run


def test_a_secret_is_on_stdout_alone_and_opens_the_door(brainformer, tmp_path):
    made = brainformer("create", "ann", "--scope", "read", "--scope", "worker")
    assert made.exit_code == 0
    secret = made.stdout.strip()
    assert "\n" not in secret
    assert secret not in made.stderr
    assert "not shown again" in made.stderr
    with client(tmp_path) as http:
        headers = {"Authorization": f"Bearer {secret}"}
        assert http.get(f"{ROOT}/searches", headers=headers).status_code == 200
        assert http.get(f"{ROOT}/tokens", headers=headers).status_code == 403


def test_tokens_are_listed_without_secrets(brainformer):
    secret = json.loads(brainformer("create", "ann", "-s", "read", "--json").stdout)["secret"]
    brainformer("create", "bob", "-s", "admin", "--days", "3")
    table = brainformer("list").stdout
    assert "ann" in table
    assert "until" in table
    assert secret not in table
    rows = json.loads(brainformer("list", "--json").stdout)
    assert [row["name"] for row in rows] == ["ann", "bob"]
    assert all("secret" not in row for row in rows)


def test_a_revoked_token_opens_nothing(brainformer, tmp_path):
    secret = brainformer("create", "ann", "-s", "read").stdout.strip()
    assert brainformer("revoke", "1").exit_code == 0
    assert "revoked" in brainformer("list").stdout
    with client(tmp_path) as http:
        headers = {"Authorization": f"Bearer {secret}"}
        assert http.get(f"{ROOT}/searches", headers=headers).status_code == 401


def test_tokens_are_made_and_revoked_while_a_controller_runs(brainformer, tmp_path):
    with client(tmp_path, token_cache_seconds=0) as http:
        assert http.get(f"{ROOT}/searches").status_code == 200
        made = brainformer("create", "ann", "-s", "read")
        assert made.exit_code == 0, made.stderr
        headers = {"Authorization": f"Bearer {made.stdout.strip()}"}
        assert http.get(f"{ROOT}/searches").status_code == 401
        assert http.get(f"{ROOT}/searches", headers=headers).status_code == 200
        assert brainformer("revoke", "1").exit_code == 0
        assert http.get(f"{ROOT}/searches", headers=headers).status_code == 401


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("create", "ann", "-s", "root"), "scopes are"),
        (("create", "ann", "-s", "read", "--days", "0"), "at most 100 years"),
        (("create", "", "-s", "read"), "name"),
        (("revoke", "7"), "no token 7"),
    ],
)
def test_wrong_use_is_told_and_makes_nothing(brainformer, arguments, words):
    result = brainformer(*arguments)
    assert result.exit_code != 0
    assert words in str(result.exception)
    assert json.loads(brainformer("list", "--json").stdout) == []


def test_the_first_token_may_come_before_the_first_start(tmp_path):
    file = tmp_path / "never" / "made" / "search.db"
    arguments = ["token", "create", "ann", "-s", "read", "--database", f"sqlite:///{file}"]
    made = CliRunner().invoke(app, arguments)
    assert made.exit_code == 0, made.stderr
    assert file.stat().st_mode & 0o777 == 0o600


def adopt(brainformer, tmp_path, secret, *scopes):
    file = tmp_path / "secret"
    file.write_text(secret)
    given = [word for scope in scopes for word in ("-s", scope)]
    return brainformer("adopt", "chart", *given, "--secret-file", str(file))


def test_an_adopted_secret_opens_the_door_and_adopting_it_again_changes_nothing(
    brainformer, tmp_path
):
    secret = "bf_" + "0123456789abcdef" * 4
    for _ in range(2):
        told = adopt(brainformer, tmp_path, f"{secret}\n", "read", "admin")
        assert told.exit_code == 0, told.exception
        assert secret not in told.stdout + told.stderr
    (record,) = json.loads(brainformer("list", "--json").stdout)
    assert record["scopes"] == ["read", "admin"]
    assert record["expires_at"] is None
    with client(tmp_path) as http:
        headers = {"Authorization": f"Bearer {secret}"}
        assert http.get(f"{ROOT}/tokens", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "secret", ["", "bf_short", "x" * 60, "bf_" + "ä" * 50, "bf_a b" + "c" * 50]
)
def test_a_secret_that_may_be_guessed_is_not_adopted_and_not_printed(brainformer, tmp_path, secret):
    told = adopt(brainformer, tmp_path, secret, "read")
    assert "43 or more random" in str(told.exception)
    assert not secret or secret not in str(told.exception)
    assert json.loads(brainformer("list", "--json").stdout) == []


def test_a_revoked_secret_and_other_scopes_are_not_adopted(brainformer, tmp_path):
    secret = "bf_" + "0123456789abcdef" * 4
    adopt(brainformer, tmp_path, secret, "read")
    assert "scopes read" in str(adopt(brainformer, tmp_path, secret, "admin").exception)
    brainformer("revoke", "1")
    assert "was revoked" in str(adopt(brainformer, tmp_path, secret, "read").exception)


def test_a_secret_file_that_is_not_there_is_named(brainformer):
    told = brainformer("adopt", "chart", "-s", "read", "--secret-file", "/nowhere")
    assert "cannot read the secret /nowhere: No such file" in str(told.exception)
