"""The REST interface as Markdown: docs/rest.md is made of the schema, and a test compares."""

from __future__ import annotations

import json
from typing import Any

from brainformer.search.trials.events import MEANINGS

HEADER = """# REST interface
All of it lies below `/api/v1`; the whole schema is `docs/openapi.json`, served by a controller at
`/api/v1/openapi.json` and as a page at `/docs`. This file is made of it:
`make snapshots`.

## Rules that hold everywhere
- **Who asks.** `Authorization: Bearer SECRET`, or the cookie that `POST /api/v1/session` sets for
  a browser. Scopes: `read`; `write` (and read); `worker` (leases alone); `admin` (everything). A
  controller on loopback without any token ever made is open to its machine. See security.md.
- **Errors** are `application/problem+json` (RFC 9457): `status`, `title`, `detail`, a stable
  `code`, the `request_id` that the log shows too, and `errors`, each with the JSON pointer of a
  field and its rule. A request that is refused has written nothing.
- **Once only.** `POST /searches` takes an `Idempotency-Key`: the same key and body return the
  search made before, even after a restart; another body gets 422, a key in flight 409. Results
  need no key: an identical repeat gets the same receipt with `duplicate`.
- **No lost updates.** A search has an `ETag`. Changes with `If-Match` are refused (412) if it has
  changed since; `If-None-Match` saves sending what has not (304).
- **Pages** go by an opaque `cursor` that belongs to one sort order: follow `next_cursor` or the
  `Link` header. `after_seq` on trials gives only what changed since a listing before.
- **Events** are server-sent events. The id of an event is its place in the database:
  `Last-Event-ID` (or `after`) resumes without loss or repeat, from any controller. Silence is
  broken by a comment.
- **Waiting.** A claim with `wait_seconds` is answered when there is work; 429 and 503 say in
  `Retry-After` when to come back.
- **Limits** on bodies, nesting, streams and rates are settings: see settings.md.
- **JSON** is strict: no NaN, no infinity, no NUL, no unknown fields in requests.
"""


def rest_document(schema: dict[str, Any]) -> str:
    """Returns docs/rest.md."""
    by_tag: dict[str, list[str]] = {}
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            entry = _operation(method, path, operation)
            by_tag.setdefault(operation["tags"][0], []).append(entry)
    parts = [f"## {tag.capitalize()}\n" + "\n".join(by_tag[tag]) for tag in by_tag]
    return "\n".join([HEADER, _events(), *parts])


def _events() -> str:
    rows = "\n".join(f"| `{kind.value}` | {meaning} |" for kind, meaning in MEANINGS.items())
    return f"## Kinds of events\n| event | what it says |\n| --- | --- |\n{rows}\n"


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    parameters = "".join(
        f"\n- `{p['name']}` ({p['in']}){': ' + p['description'] if p.get('description') else ''}"
        for p in operation.get("parameters", [])
        if p["in"] != "path"
    )
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    example = ""
    if "example" in body:
        example = f"\n```json\n{json.dumps(body['example'])}\n```"
    told = operation.get("description", "").replace("\n\n", " ").replace("\n", " ")
    name = operation["operationId"]
    return f"### `{method.upper()} {path}`\n`{name}`: {told}{parameters}{example}\n"
