"""What is written down: logs without secrets that nobody can forge, and the audit trail."""

import logging
import re
import socket
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import pytest

from brainformer.api.logs import JsonFormatter, TextFormatter, redact
from tests.api.controller_process import controller_process
from tests.api.rest_site import (
    ROOT,
    claim,
    client,
    create,
    served,
    token,
)


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def test_secrets_stay_out_of_logs_events_errors_and_the_audit_trail(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    secret = token(tmp_path, "admin")
    lines: list[str] = []

    class Keeper(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(JsonFormatter().format(record) + TextFormatter().format(record))

    keeper = Keeper()
    logging.getLogger().addHandler(keeper)
    told: list[str] = []
    try:
        with client(tmp_path) as http:
            http.headers["Authorization"] = f"Bearer {secret}"
            made = http.post(f"{ROOT}/tokens", json={"name": "t", "scopes": ["read"]}).json()
            create(http)
            claim(http)
            told += [
                http.post(f"{ROOT}/session", json={"token": [secret]}).text,
                http.post(f"{ROOT}/searches", json={"name": "x"}).text,
                http.get(f"{ROOT}/events?follow=false&after=0").text,
                http.get(f"{ROOT}/audit").text,
                http.get(f"{ROOT}/tokens").text,
                http.get("/metrics").text,
                http.get(f"{ROOT}/searches", headers=bearer(made["secret"] + "x")).text,
            ]
            logging.getLogger("brainformer.api").error("failed with Bearer %s", secret)
    finally:
        logging.getLogger().removeHandler(keeper)
    everything = "".join(lines + told)
    assert "session" in everything  # the requests were logged
    for hidden in (secret, made["secret"]):
        assert hidden not in everything
        assert hidden[3:] not in everything


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("postgresql+psycopg://me:hunter2@host/db", "hunter2"),
        ("Authorization: Bearer abc.def", "abc.def"),
        ("Cookie: brainformer_session=abcdef", "abcdef"),
        ("token bf_ABCdef0123-_x is", "ABCdef0123"),
    ],
)
def test_what_looks_like_a_secret_is_redacted(text, hidden):
    assert hidden in text
    assert hidden not in redact(text)


def test_the_audit_trail_says_who_did_what(tmp_path):
    with client(tmp_path, token_cache_seconds=0) as http:
        secret = http.post(f"{ROOT}/tokens", json={"name": "ann", "scopes": ["admin"]}).json()
        http.headers |= bearer(secret["secret"]) | {"X-Request-ID": "req-7"}
        path = f"{ROOT}/searches/{create(http)['id']}"
        http.post(f"{path}/pause")
        http.patch(path, json={"limits": {"trials": 3}})
        http.post(f"{path}/cancel")
        http.delete(path)
        refused = http.post(f"{path}/pause")
        assert refused.status_code == 404
        rows = http.get(f"{ROOT}/audit").json()["items"]
        assert [row["action"] for row in rows] == [
            "search.delete", "search.cancelled", "search.limits", "search.paused",
            "search.create", "token.create",
        ]  # fmt: skip
        assert {row["actor"] for row in rows[:-1]} == {"token:ann"}
        assert rows[-1]["actor"] == "local"
        assert {row["request_id"] for row in rows[:-1]} == {"req-7"}
        first = http.get(f"{ROOT}/audit?limit=2")
        assert first.links["next"]["url"].startswith(f"{ROOT}/audit?")


@pytest.mark.parametrize(
    "body",
    [
        {"name": "t", "scopes": []},
        {"name": "t", "scopes": ["root"]},
        {"name": "", "scopes": ["read"]},
        {"name": "t", "scopes": ["read"], "expires_in_seconds": -1},
        {"name": "t", "scopes": ["read"], "secret": "mine"},
    ],
)
def test_a_bad_token_request_makes_none(tmp_path, body):
    with client(tmp_path) as http:
        assert http.post(f"{ROOT}/tokens", json=body).status_code == 422
        assert http.get(f"{ROOT}/tokens").json() == {"items": []}


def test_an_expiry_is_kept(tmp_path):
    with client(tmp_path) as http:
        body = {"name": "t", "scopes": ["read"], "expires_in_seconds": 3600}
        record = http.post(f"{ROOT}/tokens", json=body).json()["token"]
        ends = datetime.fromisoformat(record["expires_at"])
        assert abs(ends - datetime.now(UTC) - timedelta(hours=1)) < timedelta(minutes=1)


def test_a_foreign_request_id_is_not_repeated(tmp_path: Path):
    with client(tmp_path) as http:
        for given in ("a b", "x" * 65, "é", 'a"b', "<script>"):
            answer = http.get("/healthz", headers={"X-Request-ID": given.encode("latin-1")})
            assert answer.headers["x-request-id"] != given
        assert http.get("/healthz", headers={"X-Request-ID": "ab-1"}).headers[
            "x-request-id"] == "ab-1"  # fmt: skip


FORGED = "ok\n12:00:00 info    POST /api/v1/tokens who=root\x1b[2J\u2028\u202e"


@pytest.mark.parametrize("field", ["path", "who", "message"])
def test_no_log_line_can_be_forged(field):
    values = {"path": "/healthz", "who": "nobody", "message": "%s asked", field: FORGED}
    try:
        raise ValueError(FORGED)
    except ValueError:
        trouble = sys.exc_info()
    for caught, lines in ((None, 1), (trouble, None)):
        args = (values["path"],) if values["message"] == "%s asked" else ()
        record = logging.LogRecord("x", 20, "f", 1, values["message"], args, caught)
        record.fields = {"who": values["who"]}
        for text in (TextFormatter().format(record), JsonFormatter().format(record)):
            assert not re.search("[\x00-\x09\x0b-\x1f\x7f\u2028\u202e]", text)
        told = TextFormatter().format(record).split("\n")
        assert lines is None or len(told) == lines
        assert all(line.startswith("    ") for line in told[1:])


def test_a_refused_request_leaves_a_line_with_its_address(tmp_path, caplog):
    token(tmp_path, "admin")
    caplog.set_level(logging.INFO)
    with client(tmp_path) as http:
        http.get(f"{ROOT}/searches", headers={"Authorization": "Bearer bf_wrong-wrong-wrong"})
        http.get("/healthz")
    told = [one.fields for one in caplog.records if one.name == "brainformer.access"]
    assert [(one["status"], one["client"]) for one in told] == [(401, "testclient")]


def test_a_client_that_hangs_up_is_no_failure(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    with served(tmp_path) as (http, _server):
        with socket.create_connection((http.base_url.host, http.base_url.port)) as raw:
            raw.sendall(
                f"POST {ROOT}/searches HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                "Content-Type: application/json\r\nContent-Length: 500\r\n\r\n{".encode()
            )
            time.sleep(0.3)
        end = time.monotonic() + 10
        while '",status="499"' not in http.get("/metrics").text.replace("route", ""):
            assert time.monotonic() < end
            time.sleep(0.05)
    assert not [one for one in caplog.records if one.exc_info]


@pytest.mark.parametrize(("trusted", "slowed"), [("", True), ("127.0.0.1", False)])
def test_forwarded_addresses_are_believed_of_trusted_proxies_alone(tmp_path, trusted, slowed):
    token(tmp_path, "admin")
    with controller_process(
        f"sqlite:///{tmp_path / 'rest.db'}",
        trusted_proxies=trusted,
        failed_logins_per_minute=1,
    ) as running:
        codes = set()
        for number in range(30):
            headers = {
                "Authorization": "Bearer bf_wrong-wrong-wrong",
                "X-Forwarded-For": f"203.0.113.{number}",
            }
            url = f"{running.url}{ROOT}/searches"
            codes.add(httpx2.get(url, headers=headers, trust_env=False).status_code)
    assert codes == ({401, 429} if slowed else {401})
