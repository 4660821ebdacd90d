"""What a command tells people it tells programs too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from brainformer.api.cli.main import app


def told(*words: str) -> Any:
    result = CliRunner().invoke(app, [*words, "--json"])
    assert result.exit_code == 0, (result.output, result.exception)
    return json.loads(result.stdout)


def test_databases_tokens_and_data_sets_are_told_as_json(tmp_path: Path) -> None:
    database = ("--database", f"sqlite:///{tmp_path / 'search.db'}")
    schema = told("db", "upgrade", *database)["schema"]
    assert told("db", "check", *database) == {"schema": schema}
    made = told("token", "create", "laptop", "--scope", "worker", *database)
    revoked = told("token", "revoke", str(made["id"]), *database)
    assert revoked["revoked_at"] is not None
    assert "secret" not in revoked
    text = tmp_path / "text.jsonl"
    text.write_text("\n".join(json.dumps({"text": f"line {i} of a text"}) for i in range(200)))
    folder = ("--folder", str(tmp_path / "data"))
    manifest = told("data", "prepare", "poems", str(text), *folder)
    assert manifest == told("data", "show", "poems", *folder)
