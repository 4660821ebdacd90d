"""schemathesis against a real controller: every check, stateful links included.

Two things are arranged so that a run can end: event streams are asked not to follow, and the token
that the run uses has an id that the run will not think of when it revokes tokens.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from sqlalchemy import create_engine, text

from brainformer.search.sql.store import open_store
from brainformer.search.store.actor import Actor
from tests.api.controller_process import controller_process

TOKEN_ID = 1_987_654_321
# Rules that a JSON schema cannot tell, by operation: there valid-looking data may be refused.
CURSORS = ("list_searches", "list_trials", "list_audit")  # 422: a cursor is one of ours
VERSIONS = (  # 412: an ETag is the present one
    "change_search", "pause_search", "resume_search", "stop_search", "cancel_search",
    "delete_search",
)  # fmt: skip
CROSS_FIELDS = (  # 422: fields fit one another, names are known
    "create_search", "check_spec", "change_search", "create_certificate", "create_promotion",
    "tell_genome_facts", "report_result",
)  # fmt: skip
OPEN = (*CROSS_FIELDS, "report_progress")  # 400: text holds no NUL
REFUSALS = ["400", "401", "403", "404", "405", "409", "412", "415", "422", "429"]
ALWAYS = ("2xx", "401", "403", "404", "409")
SETTINGS = {
    "claims_per_second": 100_000,
    "failed_logins_per_minute": 10_000_000,
    "max_waiting_claims": 0,  # a claim that may wait is answered at once
    "log_level": "warning",
}


def configuration() -> str:
    """Returns schemathesis' configuration file."""
    parts = ["[parameters]\nfollow = false\n"]
    for name in sorted({*CURSORS, *VERSIONS, *OPEN}):
        extra = ["422"] if name in (*CURSORS, *CROSS_FIELDS) else []
        extra += ["400"] if name in OPEN else []
        extra += ["412"] if name in VERSIONS else []
        parts.append(
            f'[[operations]]\ninclude-operation-id = "{name}"\n'
            f"[operations.checks.positive_data_acceptance]\n"
            f"expected-statuses = {[*ALWAYS, *extra]}\n"
        )
        if name in VERSIONS:  # 412 is a refusal too, where another parameter is wrong as well
            parts.append(
                f"[operations.checks.negative_data_rejection]\nexpected-statuses = {REFUSALS}\n"
            )
    return "\n".join(parts)


def unlikely_token(url: str) -> str:
    """Returns the secret of a new admin token whose id is not a small number."""
    store = open_store(url)
    try:
        actor = Actor(name="test")
        _, secret = store.create_token("run", ["admin"], expires_in_seconds=None, actor=actor)
    finally:
        store.close()
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE tokens SET id = :id"), {"id": TOKEN_ID})
    engine.dispose()
    return secret


def schema_run(
    folder: Path, url: str, *options: str
) -> tuple[subprocess.CompletedProcess[str], list[dict]]:
    """Runs schemathesis; returns its end and the controller's log.

    Args:
        folder: For its configuration.
        url: Of an empty database.
        options: Of `schemathesis run`.
    """
    secret = unlikely_token(url)
    config = folder / "schemathesis.toml"
    config.write_text(configuration())
    with controller_process(url, **SETTINGS) as controller:
        command = [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(config)),
            *("run", f"{controller.url}/api/v1/openapi.json", "--checks", "all"),
            *("--header", f"Authorization: Bearer {secret}", "--request-timeout", "30"),
            *("--no-color", "--suppress-health-check", "all", *options),
        ]
        ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    return ended, controller.log
