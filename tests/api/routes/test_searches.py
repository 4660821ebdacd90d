import json
from pathlib import Path

import pytest
import yaml

from brainformer.search.campaign.evaluated import header_line
from brainformer.search.spec import SearchSpec
from tests.api.rest_site import (
    ROOT,
    SPEC,
    claim,
    client,
    create,
    settings_for,
)

SEARCHES = f"{ROOT}/searches"
SPEC_LINE = json.dumps(SPEC).encode() + b"\n"
HEADER_LINE = header_line("x", "old", SearchSpec.model_validate(SPEC))


def code(answer) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def count(http) -> int:
    return len(http.get(SEARCHES).json()["items"])


def test_a_search_is_created_read_and_listed(database_url):
    with client(Path(), database_url=database_url) as http:
        answer = http.post(SEARCHES, json=SPEC)
        assert answer.status_code == 201
        made = answer.json()
        assert answer.headers["location"] == f"{SEARCHES}/{made['id']}"
        assert answer.headers["etag"] == f'"{made["version"]}"'
        assert http.get(answer.headers["location"]).json() == made
        assert http.get(f"{SEARCHES}/laptop").json() == made  # by name
        assert http.get(SEARCHES).json()["items"] == [made]


def test_yaml_and_json_make_the_same_search(tmp_path):
    with client(tmp_path) as http:
        as_json = create(http)
        headers = {"Content-Type": "application/yaml"}
        answer = http.post(SEARCHES, content=yaml.safe_dump(SPEC), headers=headers)
        assert answer.status_code == 201
        assert answer.json()["spec"] == as_json["spec"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("a: &x [1]\nb: *x", 422),
        ("a: [", 422),
        ('name: "\\0"', 422),
        ("[" * 5000, 422),
        ("- 1", 422),
        ("name: " + "x" * 300_000, 413),
    ],
)
def test_bad_yaml_is_refused(tmp_path, body, status):
    with client(tmp_path) as http:
        answer = http.post(SEARCHES, content=body, headers={"Content-Type": "application/yaml"})
        assert answer.status_code == status
        assert count(http) == 0


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"name": "Not A Name"}, "/name"),
        ({"limits": {}}, "/limits"),
        ({"limits": {"trials": 0}}, "/limits/trials"),
        ({"proxy": {"experts": 0}}, "/proxy/experts"),
        ({"proxy": {"dataset": "/etc/passwd"}}, "/proxy/dataset"),
        ({"proxy": {"dataset": "https://example.org/x"}}, "/proxy/dataset"),
        ({"proxy": {"dataset": "unknown"}}, "/proxy/dataset"),
        ({"seeds": ["nobody"]}, "/seeds/0"),
        ({"surprise": 1}, "/surprise"),
        ({"space": {"name": "a"}}, "/space/model_dim"),
    ],
)
def test_a_bad_field_is_named_and_nothing_is_written(tmp_path, changes, pointer):
    with client(tmp_path) as http:
        answer = http.post(SEARCHES, json=SPEC | changes)
        assert answer.status_code == 422
        problem = answer.json()
        assert problem["code"] in {"invalid_input", "invalid_spec"}
        assert pointer in [error["pointer"] for error in problem["errors"]]
        assert count(http) == 0


@pytest.mark.parametrize("body", [b"", b"{", b"NaN", b'{"name": "\\u0000"}', b"[" * 100])
def test_what_is_not_strict_json_is_refused(tmp_path, body):
    with client(tmp_path) as http:
        answer = http.post(SEARCHES, content=body, headers={"Content-Type": "application/json"})
        assert code(answer) == (400, "invalid_json")


def test_deep_yaml_is_refused_before_it_is_parsed(tmp_path, monkeypatch):
    monkeypatch.setattr("yaml.parse", None)
    with client(tmp_path) as http:
        headers = {"Content-Type": "application/yaml"}
        answer = http.post(SEARCHES, content="a: " + "[{b: " * 100_000, headers=headers)
        assert code(answer)[0] in {413, 422}
        answer = http.post(SEARCHES, content="a: " + "[{b: " * 40, headers=headers)
        assert code(answer) == (422, "invalid_spec")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_another_media_type_is_refused(tmp_path, kind):
    with client(tmp_path) as http:
        answer = http.post(SEARCHES, content=b"{}", headers={"Content-Type": kind})
        assert code(answer) == (415, "unsupported_media_type")


def test_the_same_key_creates_once(database_url):
    with client(Path(), database_url=database_url) as http:
        key = {"Idempotency-Key": "k-1"}
        first = http.post(SEARCHES, json=SPEC, headers=key)
        again = http.post(SEARCHES, json=SPEC, headers=key)
        assert (first.status_code, again.status_code) == (201, 201)
        assert again.json() == first.json()
        other = http.post(SEARCHES, json=SPEC | {"seed": 5}, headers=key)
        assert code(other) == (422, "idempotency_mismatch")
        assert count(http) == 1


def test_the_key_outlives_the_controller(database_url):
    key = {"Idempotency-Key": "k-1"}
    with client(Path(), database_url=database_url) as http:
        first = http.post(SEARCHES, json=SPEC, headers=key).json()
    with client(Path(), database_url=database_url) as http:
        assert http.post(SEARCHES, json=SPEC, headers=key).json() == first
        assert count(http) == 1


def test_a_key_in_flight_is_a_conflict_that_says_when_to_return(tmp_path):
    with client(tmp_path) as http:
        with http.app.state.controller.keys.held("k-1"):
            answer = http.post(SEARCHES, json=SPEC, headers={"Idempotency-Key": "k-1"})
        assert code(answer) == (409, "idempotency_in_flight")
        assert int(answer.headers["retry-after"]) > 0
        assert count(http) == 0


@pytest.mark.parametrize("key", ["", "x" * 129, "a b", "a\x01"])
def test_a_malformed_key_is_refused(tmp_path, key):
    with client(tmp_path) as http:
        answer = http.post(SEARCHES, json=SPEC, headers={"Idempotency-Key": key})
        assert answer.status_code == 422
        assert count(http) == 0


def test_a_change_on_a_stale_version_is_refused(database_url):
    with client(Path(), database_url=database_url) as http:
        made = http.post(SEARCHES, json=SPEC)
        path, tag = made.headers["location"], made.headers["etag"]
        changed = http.patch(path, json={"limits": {"trials": 9}}, headers={"If-Match": tag})
        assert changed.status_code == 200
        assert changed.json()["spec"]["limits"]["trials"] == 9
        assert changed.headers["etag"] != tag
        for verb in ("pause", "resume", "stop", "cancel"):
            answer = http.post(f"{path}/{verb}", headers={"If-Match": tag})
            assert code(answer) == (412, "stale_version")
        assert code(http.delete(path, headers={"If-Match": tag})) == (412, "stale_version")
        assert http.get(path).json() == changed.json()
        fresh = http.post(f"{path}/pause", headers={"If-Match": changed.headers["etag"]})
        assert fresh.json()["status"] == "paused"


@pytest.mark.parametrize("tag", ['"x"', 'W/"1"', "1", '"1', '""', '"9' + "9" * 30 + '"'])
def test_a_foreign_tag_is_stale(tmp_path, tag):
    with client(tmp_path) as http:
        path = f"{SEARCHES}/{create(http)['id']}"
        answer = http.post(f"{path}/pause", headers={"If-Match": tag})
        assert code(answer) == (412, "stale_version")


def test_an_unchanged_search_is_not_sent_again(tmp_path):
    with client(tmp_path) as http:
        path = f"{SEARCHES}/{create(http)['id']}"
        tag = http.get(path).headers["etag"]
        for known in (tag, f'"0", {tag}', f"W/{tag}", "*"):
            answer = http.get(path, headers={"If-None-Match": known})
            assert (answer.status_code, answer.content) == (304, b"")
            assert answer.headers["etag"] == tag
        http.post(f"{path}/pause")
        assert http.get(path, headers={"If-None-Match": tag}).status_code == 200


def test_pages_hold_every_search_once(database_url):
    with client(Path(), database_url=database_url) as http:
        made = [create(http, name=f"s-{index}")["id"] for index in range(5)]
        seen, where = [], f"{SEARCHES}?limit=2"
        while where:
            answer = http.get(where)
            seen += [item["id"] for item in answer.json()["items"]]
            where = answer.links["next"]["url"] if "next" in answer.links else None
            assert (where is None) == (answer.json()["next_cursor"] is None)
        assert seen == made[::-1]


def test_searches_are_filtered_by_status(tmp_path):
    with client(tmp_path) as http:
        first, second = create(http, name="a"), create(http, name="b")
        http.post(f"{SEARCHES}/{first['id']}/pause")
        found = http.get(SEARCHES, params={"status": ["paused", "completed"]}).json()["items"]
        assert [item["id"] for item in found] == [first["id"]]
        found = http.get(SEARCHES, params={"status": "running"}).json()["items"]
        assert [item["id"] for item in found] == [second["id"]]


def test_each_verb_leads_where_it_says(database_url):
    with client(Path(), database_url=database_url) as http:
        path = f"{SEARCHES}/{create(http)['id']}"
        for verb, status in [
            ("pause", "paused"), ("pause", "paused"), ("resume", "running"),
            ("resume", "running"), ("stop", "stopped"), ("stop", "stopped"),
        ]:  # fmt: skip
            answer = http.post(f"{path}/{verb}")
            assert (answer.status_code, answer.json()["status"]) == (200, status)
        assert code(http.post(f"{path}/resume")) == (409, "illegal_transition")
        assert code(http.patch(path, json={"limits": {"trials": 3}}))[0] == 409


def test_a_paused_search_grants_nothing_and_a_cancelled_one_stops_its_workers(tmp_path):
    with client(tmp_path) as http:
        path = f"{SEARCHES}/{create(http)['id']}"
        lease = claim(http)[0]
        http.post(f"{path}/pause")
        assert claim(http) == []
        http.post(f"{path}/cancel")
        answer = http.post(f"{ROOT}/leases/{lease['lease_id']}/progress", json={})
        assert answer.json()["action"] == "stop"


def test_only_an_ended_search_is_deleted(database_url):
    with client(Path(), database_url=database_url) as http:
        path = f"{SEARCHES}/{create(http)['id']}"
        claim(http)
        assert code(http.delete(path))[0] == 409
        http.post(f"{path}/cancel")
        assert http.delete(path).status_code == 204
        assert code(http.get(path)) == (404, "not_found")
        assert code(http.get(f"{path}/trials")) == (404, "not_found")
        assert code(http.delete(path)) == (404, "not_found")


def test_a_name_of_two_unfinished_searches_is_not_guessed(tmp_path):
    with client(tmp_path) as http:
        create(http)
        create(http)
        answer = http.get(f"{SEARCHES}/laptop")
        assert answer.status_code == 409
        assert "use the id" in answer.json()["detail"]


def test_the_caps_are_settings(tmp_path):
    assert settings_for(tmp_path, max_parameters=10).max_parameters == 10
    with client(tmp_path, max_parameters=1000) as http:
        answer = http.post(SEARCHES, json=SPEC)
        assert code(answer) == (422, "invalid_spec")
        assert "max_parameters" in answer.json()["detail"]
        assert count(http) == 0


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\n",
        b"[]\n",
        b"\xff\xfe\n",
        b'{"name": "a"}\n',
        SPEC_LINE + b"{",
        SPEC_LINE + b"[1]\n",
        SPEC_LINE + b'{"record": "search"}\n',
        SPEC_LINE + b'{"number": 1}\n',
        SPEC_LINE + b"[" * 100_000,
        SPEC_LINE + b'{"record": "search", "schema_version": 99}\n',
        SPEC_LINE + HEADER_LINE,
        SPEC_LINE + HEADER_LINE + b'{"number": -1}\n',
        SPEC_LINE + HEADER_LINE.replace(b'"nano"', b'"of-the-future"') + b"\n",
        SPEC_LINE.replace(b'"nano"', b'"of-the-future"') + HEADER_LINE,
    ],
)
def test_lines_that_are_no_trials_create_nothing(tmp_path, body):
    with client(tmp_path) as http:
        headers = {"Content-Type": "application/jsonl"}
        answer = http.post(SEARCHES, content=body, headers=headers)
        assert answer.status_code == 422, answer.text
        assert answer.json()["detail"]
        assert count(http) == 0


def test_a_spec_alone_in_lines_is_a_search_like_any(tmp_path):
    with client(tmp_path) as http:
        headers = {"Content-Type": "application/jsonl"}
        assert http.post(SEARCHES, content=SPEC_LINE, headers=headers).status_code == 201
        large = b"x" * 5_000_000
        assert http.post(SEARCHES, content=large, headers=headers).status_code == 422
        assert code(http.post(SEARCHES, content=large))[0] == 413
