"""Traces: off by default, by the official instrumentations, without a secret."""

from __future__ import annotations

import sys

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.testclient import TestClient

from brainformer.api.app import create_app
from brainformer.api.tracing import trace
from brainformer.search.errors import EnvironmentProblem
from brainformer.search.sql.store import open_store
from tests.api.rest_site import BASE, ROOT, create, settings_for, token


def test_a_request_is_a_trace_with_its_statements(tmp_path):
    secret = token(tmp_path, "write")
    settings = settings_for(tmp_path)
    store = open_store(settings.database_url)
    app = create_app(settings, store=store)
    found = InMemorySpanExporter()
    end = trace(app, store.engines, exporter=found)
    with TestClient(app, base_url=BASE, headers={"Authorization": f"Bearer {secret}"}) as http:
        create(http)
        http.get("/readyz")
        remote = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}
        assert http.get(f"{ROOT}/searches", headers=remote).status_code == 200
    spans = found.get_finished_spans()
    end()
    requests = [one for one in spans if one.kind.name == "SERVER"]
    assert [one.name for one in requests] == [f"POST {ROOT}/searches", f"GET {ROOT}/searches"]
    made = [one.name for one in spans if one.parent and one.parent.span_id == _id(requests[0])]
    assert any(name.startswith("INSERT") for name in made)
    assert f"{requests[1].context.trace_id:x}" == "a" * 32
    assert secret not in str([one.to_json() for one in spans])


def test_tracing_without_its_packages_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.instrumentation.fastapi", None)
    app = create_app(settings_for(tmp_path))
    with pytest.raises(EnvironmentProblem, match=r"brainformer-search\[otel\]"):
        trace(app, [])
    app.state.controller.store.close()


def test_it_is_off_by_default(tmp_path):
    assert not settings_for(tmp_path).tracing


def _id(span) -> int:
    return int(span.context.span_id)
