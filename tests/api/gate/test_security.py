"""Who gets in, and with what: tokens, scopes, hosts, origins, limits, headers, secrets, audit."""

import socket

import pytest

from brainformer.api.gate.auth import Authenticator
from brainformer.api.gate.rate_limit import RateLimit
from brainformer.api.server import refuse_open_door
from brainformer.search.errors import EnvironmentProblem
from brainformer.search.sql.store import open_store
from brainformer.search.storage_errors import StorageUnavailable
from brainformer.search.store.actor import Actor
from tests.api.rest_site import (
    ROOT,
    SPEC,
    client,
    create,
    served,
    settings_for,
    token,
)

SCOPE_OF_TAG = {
    "leases": "worker", "access": "admin", "events": "read", "catalogue": "read",
    "reports": "read", "operation": "read",
}  # fmt: skip
OF_ANYBODY = {("GET", f"{ROOT}/session")}  # whoever has a token
OPEN = {("GET", "/healthz"), ("GET", "/readyz"), ("POST", f"{ROOT}/session"),
        ("DELETE", f"{ROOT}/session")}  # fmt: skip
READING = {("POST", f"{ROOT}/specs/check")}  # nothing is written
ALLOWED = {
    "read": {"read"},
    "write": {"read", "write"},
    "worker": {"worker"},
    "admin": {"read", "write", "worker", "admin"},
}


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def code(answer) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def operations(http) -> list[tuple[str, str, str]]:
    """Every operation: method, path with harmless values, scope that it needs."""
    found = []
    for path, methods in http.app.openapi()["paths"].items():
        for method, operation in methods.items():
            named = path.replace("{search_id}", "none").replace("{number}", "1")
            named = named.replace("{lease_id}", "9-1").replace("{token_id}", "999")
            [tag] = operation["tags"]
            scope = SCOPE_OF_TAG.get(tag) or ("read" if method == "get" else "write")
            if (method.upper(), named) in READING:
                scope = "read"
            if (method.upper(), named) in OF_ANYBODY:
                scope = "any"
            found.append((method.upper(), named, scope))
    return [one for one in found if one[:2] not in OPEN]


def test_no_operation_but_the_named_ones_serves_a_stranger(tmp_path):
    secret = token(tmp_path, "admin")
    del secret
    with client(tmp_path) as http:
        every = operations(http)
        assert len(every) > 30
        for method, path, _ in every:
            answer = http.request(method, path, json={} if method in {"POST", "PATCH"} else None)
            assert code(answer) == (401, "unauthenticated"), (method, path)
            assert answer.headers["www-authenticate"].startswith("Bearer")
        for method, path in OPEN - {("POST", f"{ROOT}/session")}:
            assert http.request(method, path).status_code in {200, 204}


@pytest.mark.parametrize("scope", sorted(ALLOWED))
def test_each_scope_opens_its_own_operations_and_no_others(tmp_path, scope):
    secret = token(tmp_path, scope)
    with client(tmp_path, max_streams_per_client=100) as http:
        for method, path, needed in operations(http):
            if path == f"{ROOT}/events":
                path += "?follow=false"
            body = {} if method in {"POST", "PATCH"} else None
            answer = http.request(method, path, headers=bearer(secret), json=body)
            if needed == "any" or needed in ALLOWED[scope]:
                assert answer.status_code not in {401, 403}, (method, path, answer.text)
            else:
                assert code(answer) == (403, "missing_scope"), (method, path)


def test_a_token_knows_itself(tmp_path):
    secret = token(tmp_path, "worker", name="cluster-a")
    with client(tmp_path) as http:
        known = http.get(f"{ROOT}/session", headers=bearer(secret)).json()
        assert known == {"name": "token:cluster-a", "scopes": ["worker"]}


def test_a_controller_on_loopback_without_tokens_is_open_until_the_first_one(tmp_path):
    with client(tmp_path, token_cache_seconds=0) as http:
        create(http)
        made = http.post(f"{ROOT}/tokens", json={"name": "me", "scopes": ["admin"]}).json()
        assert code(http.get(f"{ROOT}/searches"))[0] == 401
        assert http.get(f"{ROOT}/searches", headers=bearer(made["secret"])).status_code == 200
        # Revoking the last token locks the door rather than opening it.
        gone = http.delete(f"{ROOT}/tokens/1", headers=bearer(made["secret"]))
        assert gone.json()["revoked_at"] is not None
        assert code(http.get(f"{ROOT}/searches"))[0] == 401
        assert code(http.get(f"{ROOT}/searches", headers=bearer(made["secret"])))[0] == 401


def test_an_expired_token_opens_nothing(tmp_path):
    now = [1_000_000.0]
    store = open_store(settings_for(tmp_path).database_url, clock=lambda: now[0])
    try:
        _, secret = store.create_token(
            "t", ["read"], expires_in_seconds=60, actor=Actor(name="test")
        )
        assert store.find_token(secret) is not None
        now[0] += 61
        assert store.find_token(secret) is None
    finally:
        store.close()


def test_a_check_is_not_remembered_beyond_the_tokens_end(tmp_path):
    store = open_store(settings_for(tmp_path).database_url)
    try:
        _, secret = store.create_token(
            "t", ["read"], expires_in_seconds=2, actor=Actor(name="test")
        )
        now = [0.0]
        keeper = Authenticator(
            store, loopback=False, cache_seconds=60, failures=RateLimit(1, 10),
            clock=lambda: now[0],
        )  # fmt: skip
        assert keeper.principal(secret, "here").name == "token:t"
        assert keeper.remembered(secret) is not None
        now[0] = 2.1
        assert keeper.remembered(secret) is None
    finally:
        store.close()


def test_while_the_database_is_gone_only_tokens_known_before_are_let_in(tmp_path, monkeypatch):
    secret, other = token(tmp_path, "read"), token(tmp_path, "read", name="other")
    with client(tmp_path, token_cache_seconds=0) as http:
        assert http.get("/metrics", headers=bearer(secret)).status_code == 200

        def gone(**_: bool) -> None:
            raise StorageUnavailable("the server closed the connection")

        monkeypatch.setattr(http.app.state.controller.store._database, "read", gone)
        assert http.get("/metrics", headers=bearer(secret)).status_code == 200
        assert code(http.get("/metrics", headers=bearer(other))) == (503, "storage_unavailable")
        assert http.get("/metrics", headers=bearer("bf_wrong")).status_code == 503
        assert http.get("/metrics").status_code == 401


def test_only_a_hash_of_the_secret_is_kept(tmp_path):
    secret = token(tmp_path, "read")
    assert len(secret) >= 45  # 256 bits and a prefix
    raw = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert secret.encode() not in raw
    with client(tmp_path) as http:
        listed = http.get(f"{ROOT}/searches", headers=bearer(secret))
        assert listed.status_code == 200


@pytest.mark.parametrize(
    "header", ["Bearer", "Bearer ", "Basic x", "Bearer wrong", "Bearer " + "x" * 5000, "bf_x"]
)
def test_a_wrong_header_is_no_entry(tmp_path, header):
    token(tmp_path, "admin")
    with client(tmp_path) as http:
        answer = http.get(f"{ROOT}/searches", headers={"Authorization": header})
        assert code(answer) == (401, "unauthenticated")


def test_guessing_is_slowed_down_and_a_right_token_still_works(tmp_path):
    secret = token(tmp_path, "admin")
    with client(tmp_path, failed_logins_per_minute=10) as http:
        path = f"{ROOT}/searches"
        answers = [http.get(path, headers=bearer(f"bf_{n}")).status_code for n in range(15)]
        assert answers == [401] * 10 + [429] * 5
        assert http.get(path, headers=bearer(secret)).status_code == 200


def test_the_browser_gets_a_cookie_that_scripts_cannot_read(tmp_path):
    secret = token(tmp_path, "write")
    with client(tmp_path) as http:
        assert http.post(f"{ROOT}/session", json={"token": "bf_wrong"}).status_code == 401
        answer = http.post(f"{ROOT}/session", json={"token": secret})
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert http.get(f"{ROOT}/searches").status_code == 200
        gone = http.delete(f"{ROOT}/session").headers["set-cookie"]
        assert "Max-Age=0" in gone


def cookie_of(http) -> str:
    return http.cookies["brainformer_session"]


def test_a_session_is_no_token_and_ends_at_sign_out(tmp_path):
    secret = token(tmp_path, "write")
    with client(tmp_path, token_cache_seconds=60) as http:
        http.post(f"{ROOT}/session", json={"token": secret})
        session = cookie_of(http)
        assert secret not in session
        path = f"{ROOT}/searches"
        assert http.get(path).status_code == 200
        http.cookies.clear()
        assert http.get(path, headers=bearer(session)).status_code == 401
        stolen = {"Cookie": f"brainformer_session={session}"}
        assert http.get(path, headers=stolen).status_code == 200
        assert (
            http.get(path, headers={"Cookie": f"brainformer_session={secret}"}).status_code == 401
        )
        assert http.delete(f"{ROOT}/session", headers=stolen).status_code == 204
        assert http.get(path, headers=stolen).status_code == 401
        assert http.delete(f"{ROOT}/session", headers=stolen).status_code == 204
        assert http.get(path, headers=bearer(secret)).status_code == 200


def test_a_session_ends_with_its_time_and_with_its_token(tmp_path):
    now = [1_700_000_000.0]
    store = open_store(settings_for(tmp_path).database_url, clock=lambda: now[0])
    try:
        actor = Actor(name="test")
        record, secret = store.create_token("t", ["read"], expires_in_seconds=1000, actor=actor)
        first = store.sessions.begin(secret, seconds=100)
        long = store.sessions.begin(secret, seconds=5000)
        assert store.sessions.begin("bf_unknown", seconds=100) is None
        assert first is not None
        assert long is not None
        found = store.find_token(first)
        assert found is not None
        assert found.expires_at.timestamp() == now[0] + 100
        assert store.find_token(long).expires_at.timestamp() == now[0] + 1000
        now[0] += 101
        assert store.find_token(first) is None
        assert store.find_token(long) is not None
        assert store.sessions.begin(first, seconds=100) is None
        store.revoke_token(record.id, actor=actor)
        assert store.find_token(long) is None
    finally:
        store.close()


def test_sessions_of_one_token_are_bounded_and_kept_as_hashes(tmp_path):
    store = open_store(settings_for(tmp_path).database_url)
    try:
        actor = Actor(name="test")
        _, secret = store.create_token("t", ["read"], expires_in_seconds=None, actor=actor)
        begun = [store.sessions.begin(secret, seconds=100) for _ in range(103)]
        assert [store.find_token(one) is None for one in begun] == [True] * 3 + [False] * 100
        everything = (tmp_path / "rest.db").read_bytes() + (tmp_path / "rest.db-wal").read_bytes()
        assert not [one for one in begun if one.encode() in everything]
    finally:
        store.close()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_no_start_on_another_address_without_a_live_token(tmp_path, host):
    settings = settings_for(tmp_path, host=host)
    store = open_store(settings.database_url)
    try:
        me = Actor(name="test")
        with pytest.raises(EnvironmentProblem, match="token"):
            refuse_open_door(settings, store)
        record, _ = store.create_token("t", ["admin"], expires_in_seconds=None, actor=me)
        refuse_open_door(settings, store)
        store.revoke_token(record.id, actor=me)
        with pytest.raises(EnvironmentProblem):
            refuse_open_door(settings, store)
    finally:
        store.close()


def test_another_address_is_never_open(tmp_path):
    with client(tmp_path, host="0.0.0.0") as http:
        assert code(http.get(f"{ROOT}/searches"))[0] == 401


@pytest.mark.parametrize(
    ("host", "status"),
    [("127.0.0.1", 200), ("localhost:8700", 200), ("[::1]:1", 200), ("LOCALHOST", 200),
     ("evil.example", 421), ("127.0.0.1.evil.example", 421), ("", 421), ("evil.example:80", 421),
     ("[::1]evil", 421), ("localhost:evil", 421)],
)  # fmt: skip
def test_a_foreign_host_name_is_refused(tmp_path, host, status):
    with client(tmp_path) as http:
        assert http.get("/healthz", headers={"Host": host}).status_code == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 201),
        ({"Origin": "http://127.0.0.1"}, 201),
        ({"Origin": "https://friend.example"}, 201),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://127.0.0.1:9999"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": ""}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 201),
    ],
)
def test_a_page_of_another_origin_changes_nothing(tmp_path, headers, status):
    with client(tmp_path, allowed_origins=("https://friend.example",)) as http:
        answer = http.post(f"{ROOT}/searches", json=SPEC, headers=headers)
        assert answer.status_code == status
        assert len(http.get(f"{ROOT}/searches").json()["items"]) == (status == 201)


@pytest.mark.parametrize(
    "path", ["/", "/healthz", "/docs", f"{ROOT}/searches", f"{ROOT}/searches/none", "/nowhere",
             f"{ROOT}/openapi.json"],
)  # fmt: skip
def test_every_answer_has_the_headers(tmp_path, path):
    with client(tmp_path) as http:
        headers = http.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe-eval" not in policy
    assert "script-src 'unsafe-inline'" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "server" not in headers
    assert "access-control-allow-origin" not in headers


def test_a_body_that_says_it_is_too_long_is_refused(tmp_path):
    with client(tmp_path, max_body_bytes=2000) as http:
        answer = http.post(f"{ROOT}/searches", content=b"x" * 2001)
        assert code(answer) == (413, "body_too_large")


def test_a_body_that_does_not_say_its_length_is_cut_off(tmp_path):
    def pieces():
        for _ in range(100):
            yield b" " * 100

    with served(tmp_path, max_body_bytes=2000) as (http, _):
        headers = {"Content-Type": "application/json"}
        answer = http.post(f"{ROOT}/searches", content=pieces(), headers=headers)
        assert code(answer) == (413, "body_too_large")


def connected(http) -> socket.socket:
    return socket.create_connection((http.base_url.host, http.base_url.port), 10)


def test_a_body_that_does_not_arrive_is_given_up(tmp_path):
    with served(tmp_path, body_seconds=0.3) as (http, _), connected(http) as raw:
        raw.sendall(
            b"POST /api/v1/searches HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
        )
        raw.settimeout(10)
        assert raw.recv(4096).startswith(b"HTTP/1.1 408")


def test_a_stranger_is_refused_before_the_body_is_read(tmp_path):
    token(tmp_path, "admin")
    with served(tmp_path) as (http, _), connected(http) as raw:
        raw.sendall(
            b"POST /api/v1/searches HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            b"Content-Type: application/json\r\nContent-Length: 1000000\r\n\r\n"
        )
        raw.settimeout(10)
        assert raw.recv(4096).startswith(b"HTTP/1.1 401")


def test_depth_is_a_setting(tmp_path):
    deep = b'{"name": ' + b"[" * 20 + b"]" * 20 + b"}"
    with client(tmp_path, max_json_depth=10) as http:
        headers = {"Content-Type": "application/json"}
        for path in ("searches", "leases/claim", "genomes/facts", "tokens", "session"):
            answer = http.post(f"{ROOT}/{path}", content=deep, headers=headers)
            assert code(answer) == (400, "invalid_json"), path
