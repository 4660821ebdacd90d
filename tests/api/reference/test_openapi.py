import re

import pytest

from brainformer.api.app import create_app
from brainformer.api.reference.examples import ANSWERS, BODIES
from brainformer.api.reference.openapi import TAGS, snapshot
from brainformer.api.reference.rest_document import rest_document
from brainformer.api.settings import load_settings
from brainformer.search.spec import SearchSpec
from tests.api.rest_site import (
    ROOT,
    claim,
    client,
    create,
)
from tests.repository import REPOSITORY

DOCS = REPOSITORY / "docs"


@pytest.fixture(scope="module")
def app():
    found = create_app(load_settings(None, database_url="sqlite://"))
    yield found
    found.state.controller.store.close()


@pytest.fixture(scope="module")
def operations(app) -> dict[str, dict]:
    return {
        operation["operationId"]: operation
        for methods in app.openapi()["paths"].values()
        for operation in methods.values()
    }


def test_the_schema_is_the_one_in_the_snapshot(app):
    # A wanted change: make snapshots
    assert (DOCS / "openapi.json").read_text() == snapshot(app)


def test_the_document_is_made_of_the_schema(app):
    # A wanted change: make snapshots
    assert (DOCS / "rest.md").read_text() == rest_document(app.openapi())


def test_the_reference_has_an_order_of_its_own_whatever_is_tried_first(app):
    tags = [
        operation["tags"][0]
        for methods in app.openapi()["paths"].values()
        for operation in methods.values()
    ]
    assert list(dict.fromkeys(tags)) == list(TAGS)
    assert sorted(tags, key=TAGS.index) == tags


def test_operation_ids_are_unique_names_that_do_not_hold_their_path(app, operations):
    count = sum(len(methods) for methods in app.openapi()["paths"].values())
    assert len(operations) == count
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", name) for name in operations)


def test_every_operation_says_what_it_does_and_which_problems_there_are(operations):
    for name, operation in operations.items():
        assert operation["description"], name
        assert operation["tags"], name
        for status in ("401", "422", "500", "503"):
            [media] = operation["responses"][status]["content"]
            assert media == "application/problem+json", name


def test_every_body_has_an_example_that_is_accepted(tmp_path, operations):
    with_body = {name for name, operation in operations.items() if "requestBody" in operation}
    assert with_body == set(BODIES)
    SearchSpec.model_validate(BODIES["create_search"])
    with client(tmp_path) as http:
        search = create(http)
        lease = claim(http)[0]["lease_id"]
        for name, path in {
            "claim_leases": "leases/claim",
            "tell_genome_facts": "genomes/facts",
            "create_search": "searches",
            "check_spec": "specs/check",
            "report_progress": f"leases/{lease}/progress",
            "report_result": f"leases/{lease}/result",
        }.items():
            body = BODIES[name] | ({"wait_seconds": 0} if name == "claim_leases" else {})
            answer = http.post(f"{ROOT}/{path}", json=body)
            assert answer.status_code in {200, 201}, (name, answer.text)
        path = f"{ROOT}/searches/{search['id']}"
        assert http.patch(path, json=BODIES["change_search"]).status_code == 200
        assert http.patch(f"{path}/note", json=BODIES["change_note"]).status_code == 200
        assert http.post(f"{ROOT}/tokens", json=BODIES["create_token"]).status_code == 201
        assert http.post(f"{ROOT}/session", json=BODIES["sign_in"]).status_code == 401


def test_answers_have_the_shape_of_their_examples(operations, app):
    schemas = app.openapi()["components"]["schemas"]
    for name, example in ANSWERS.items():
        content = next(
            response["content"]["application/json"]
            for status, response in operations[name]["responses"].items()
            if status.startswith("2")
        )
        model = schemas[content["schema"]["$ref"].rpartition("/")[2]]
        assert set(example) <= set(model["properties"])
        assert set(model.get("required", ())) <= set(example)
        assert content["example"] == example


def test_the_page_needs_nothing_from_elsewhere(tmp_path):
    with client(tmp_path) as http:
        page = http.get("/docs")
        assert page.status_code == 200
        assert "<script" not in page.text
        assert not re.search(r"(?:src|href)=\"(?:[a-z]+:|//)", page.text)
        for name in http.app.openapi()["components"]["schemas"]:
            assert f'id="{name}"' in page.text
        for name in BODIES:
            assert f'id="{name}"' in page.text
        for target in set(re.findall(r'href="#([^"]+)"', page.text)):
            assert f'id="{target}"' in page.text
        assert http.get("/redoc").status_code == 404
