"""A controller below a path of its host, behind a proxy that strips it or does not."""

from __future__ import annotations

import pytest

from brainformer.search.errors import InvalidInput
from tests.api.rest_site import ROOT, SPEC, client, create, settings_for, token

BELOW = "/team/brainformer"


@pytest.mark.parametrize("arrives_with", ["", BELOW], ids=["stripped", "passed on"])
def test_every_address_that_is_told_has_the_prefix(tmp_path, arrives_with):
    with client(tmp_path, root_path=f"{BELOW}/") as http:
        made = http.post(f"{arrives_with}{ROOT}/searches", json=SPEC)
        assert made.status_code == 201
        assert made.headers["location"].startswith(f"{BELOW}{ROOT}/searches/")
        assert http.get(made.headers["location"]).json()["id"] == made.json()["id"]
        create(http, name="another")
        listed = http.get(f"{arrives_with}{ROOT}/searches", params={"limit": 1})
        assert listed.headers["link"].startswith(f"<{BELOW}{ROOT}/searches?")
        page = http.get(f"{arrives_with}/")
        assert 'src="assets/' in page.text
        assert http.get(f"{arrives_with}/docs").status_code == 200
        schema = http.get(f"{arrives_with}{ROOT}/openapi.json").json()
        assert schema["servers"][0]["url"] == BELOW
        assert f"{ROOT}/searches" in schema["paths"]
        refused = http.put(f"{arrives_with}{ROOT}/searches")
        assert (refused.status_code, refused.headers["allow"]) == (405, "GET, POST")
        assert http.get("/healthz").status_code == 200
        told = http.get("/metrics").text
        assert f'route="{ROOT}/searches"' in told
        assert f'route="{BELOW}' not in told


def test_the_prefix_alone_leads_to_the_page(tmp_path):
    with client(tmp_path, root_path=BELOW) as http:
        answer = http.get(f"{BELOW}?search=x", follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (308, f"{BELOW}/?search=x")


def test_strangers_are_kept_out_below_the_prefix_too(tmp_path):
    secret = token(tmp_path, "write")
    with client(tmp_path, root_path=BELOW) as http:
        for path in (f"{ROOT}/searches", f"{BELOW}{ROOT}/searches"):
            assert http.post(path, content=b"x" * 100).status_code == 401
            assert http.get(path).status_code == 401
        signed_in = http.post(f"{BELOW}{ROOT}/session", json={"token": secret})
        assert f"Path={BELOW}" in signed_in.headers["set-cookie"]
        assert http.get(f"{BELOW}{ROOT}/searches").status_code == 200


@pytest.mark.parametrize("path", ["brainformer", "/a b", "//", "/a?b", "http://x"])
def test_a_prefix_is_a_path(tmp_path, path):
    with pytest.raises(InvalidInput, match="root_path"):
        settings_for(tmp_path, root_path=path)
