"""The page of the REST interface, made from its OpenAPI schema: no script, nothing from a CDN."""

from __future__ import annotations

import json
from functools import lru_cache
from html import escape
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

router = APIRouter(include_in_schema=False)

STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
code, pre { font-family: ui-monospace, monospace; font-size: 13px; }
pre { overflow-x: auto; padding: .75rem; border: 1px solid #8884; border-radius: 6px; }
section { border-top: 1px solid #8884; padding: .75rem 0; }
h3 { margin: 0; font-size: 1rem; }
table { border-collapse: collapse; width: 100%; }
td { border-bottom: 1px solid #8883; padding: .2rem .6rem .2rem 0; vertical-align: top; }
b.method { display: inline-block; min-width: 4.5rem; }
"""


@router.get("/docs")
async def show_reference(request: Request) -> Response:
    """Returns the page."""
    return HTMLResponse(_page(json.dumps(request.app.openapi())))


@lru_cache(maxsize=2)
def _page(schema_json: str) -> str:
    schema: dict[str, Any] = json.loads(schema_json)
    sections = "".join(
        _operation(method, path, operation)
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
    )
    models = "".join(
        f'<details id="{escape(name)}"><summary><code>{escape(name)}</code></summary>'
        f"<pre>{escape(json.dumps(model, indent=2))}</pre></details>"
        for name, model in sorted(schema["components"]["schemas"].items())
    )
    title = escape(f"{schema['info']['title']} {schema['info']['version']}")
    about = escape(schema["info"].get("description", ""))
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head>'
        f"<body><h1>{title}</h1><p>{about}</p>"
        '<p>The schema itself: <a href="api/v1/openapi.json">/api/v1/openapi.json</a></p>'
        f"<h2>Operations</h2>{sections}<h2>Models</h2>{models}</body></html>"
    )


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(p['name'])}</code></td><td>{escape(p['in'])}</td>"
        f"<td>{escape(p.get('description', ''))}</td></tr>"
        for p in operation.get("parameters", [])
    )
    table = f"<table>{rows}</table>" if rows else ""
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    return (
        f'<section id="{escape(operation["operationId"])}"><h3><b class="method">'
        f"{method.upper()}</b> <code>{escape(path)}</code></h3>"
        f"<p>{escape(operation.get('description', ''))}</p>"
        f"<p>{_reference('body', body.get('schema'))} {_answers(operation)}</p>"
        f"{table}{_example('Body', body)}{_example('Answer', _answer(operation))}</section>"
    )


def _answers(operation: dict[str, Any]) -> str:
    told = [
        f"{escape(status)} {_reference('', _first(response).get('schema'))}"
        for status, response in operation["responses"].items()
        if status.startswith("2")
    ]
    return "answers: " + ", ".join(told)


def _answer(operation: dict[str, Any]) -> dict[str, Any]:
    """Returns the content of the answer when all goes well."""
    return next(_first(r) for status, r in operation["responses"].items() if status[0] == "2")


def _first(response: dict[str, Any]) -> dict[str, Any]:
    content: dict[str, Any] = next(iter(response.get("content", {}).values()), {})
    return content


def _example(label: str, content: dict[str, Any]) -> str:
    if "example" not in content:
        return ""
    shown = escape(json.dumps(content["example"], indent=2))
    return f"<details><summary>{label}, for example</summary><pre>{shown}</pre></details>"


def _reference(label: str, schema: dict[str, Any] | None) -> str:
    name = (schema or {}).get("$ref", "").rpartition("/")[2]
    if not name:
        return ""
    return f'{label} <a href="#{escape(name)}"><code>{escape(name)}</code></a>'
