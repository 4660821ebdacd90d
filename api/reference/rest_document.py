"""The REST interface as Markdown: docs/rest.md is made of the schema, and a test compares."""

from __future__ import annotations

import json
from textwrap import fill
from typing import Any

from brainformer.search.trials.events import MEANINGS

COLUMNS = 100
HEADER = """# REST interface

Everything is under `/api/v1`. The full schema is `docs/openapi.json`; a controller serves it at
`/api/v1/openapi.json` and as a page at `/docs`. This file is generated from it by `make snapshots`.

## Rules that hold everywhere

- **Authentication.** `Authorization: Bearer SECRET`, or the cookie that `POST /api/v1/session` sets
  for a browser. Scopes: `read`; `write` (includes read); `worker` (leases only); `admin`
  (everything). A controller on loopback for which no token was ever created is open to its machine.
  See [security](security.md).
- **Errors** are `application/problem+json` (RFC 9457): `status`, `title`, `detail`, a stable
  `code`, the `request_id` that the log shows too, and `errors`, each with the JSON pointer of a
  field and its rule. A request that is refused has written nothing.
- **Idempotency.** Whatever creates a search, a certificate or a promotion takes an
  `Idempotency-Key`: the same key and body return what was created before, even after a restart;
  another body gets 422, a key in flight 409. Results need no key: an identical repeat gets the same
  receipt with `duplicate`.
- **No lost updates.** A search has an `ETag`. Changes with `If-Match` are refused (412) if it has
  changed since; `If-None-Match` answers 304 if it has not.
- **Pages** use an opaque `cursor` that belongs to one sort order: follow `next_cursor` or the
  `Link` header. `after_seq` on trials returns only what changed since an earlier listing.
- **Events** are server-sent events. An event's id is its position in the database: `Last-Event-ID`
  (or `after`) resumes without loss or repeat, from any controller. A silent stream gets a comment
  now and then.
- **Waiting.** A claim with `wait_seconds` is answered when there is work; 429 and 503 say in
  `Retry-After` when to try again.
- **Limits** on bodies, nesting, streams and rates are [settings](settings.md).
- **JSON** is strict: no NaN, no infinity, no NUL, no unknown fields in requests.
"""


def rest_document(schema: dict[str, Any]) -> str:
    """Returns docs/rest.md."""
    by_tag: dict[str, list[str]] = {}
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            entry = _operation(method, path, operation)
            by_tag.setdefault(operation["tags"][0], []).append(entry)
    parts = [f"## {tag.capitalize()}\n\n" + "\n".join(by_tag[tag]) for tag in by_tag]
    return "\n".join([HEADER, _events(), *parts])


def _events() -> str:
    rows = "\n".join(f"| `{kind.value}` | {meaning} |" for kind, meaning in MEANINGS.items())
    return f"## Kinds of events\n\n| event | what it says |\n| --- | --- |\n{rows}\n"


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    summary = " ".join(operation.get("description", "").split())
    parts = [f"### `{method.upper()} {path}`", _wrapped(f"`{operation['operationId']}`: {summary}")]
    parameters = [_parameter(one) for one in operation.get("parameters", []) if one["in"] != "path"]
    if parameters:
        parts.append("\n".join(parameters))
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    if "example" in body:
        parts.append(f"```json\n{json.dumps(body['example'], indent=2)}\n```")
    return "\n\n".join(parts) + "\n"


def _parameter(parameter: dict[str, Any]) -> str:
    meaning = f": {parameter['description']}" if parameter.get("description") else ""
    return _wrapped(f"- `{parameter['name']}` ({parameter['in']}){meaning}", indent="  ")


def _wrapped(text: str, *, indent: str = "") -> str:
    return fill(text, COLUMNS, subsequent_indent=indent, break_on_hyphens=False)
