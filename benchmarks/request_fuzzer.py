"""Makes requests that are nearly right: sound bodies with something broken in them."""

from __future__ import annotations

import copy
import json
import random
from dataclasses import dataclass
from typing import Any

from brainformer.api.reference.examples import BODIES, GENOME

ROOT = "/api/v1"
ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 0.5, -0.0, 255, 2**31, 2**53 + 1, 2**63, -(2**63), 2**64,
    10**400, 1e308, 5e-324, float("nan"), float("inf"), -float("inf"), "", " ", "x", "X" * 300,
    "x" * 60_000, "\x00", "\ud800", "\u202e", "é", "\U0001f642", "NaN", "1", "null", "true",
    "../../etc/passwd", "file:///etc/passwd", "http://127.0.0.1/", "' OR 1=1 --", "{{7*7}}",
    "%s%n", "<script>", [], {}, [[]], [None], [1] * 5000, {"": ""}, {"kind": "attention"},
    {"$ref": "#"}, "attention", "moe", "expert_choice", "completed", "error", "gated_gelu",
)  # fmt: skip
HEADERS = (
    "",
    "X-Request-ID: " + "a" * 200,
    "Idempotency-Key: \x7f",
    "If-Match: *",
    "Origin: null",
    "Content-Encoding: gzip",
    "Expect: 100-continue",
    "Accept: text/html",
    "Cookie: brainformer_session=x; =; ;;",
)
MOST_REPEATED = 200_000  # characters: 40 times as much is refused as too long, and soon sent
CONTENT_TYPES = ("text/plain", "application/xml", "application/json; charset=utf-16", "json", "")


@dataclass(frozen=True)
class FuzzRequest:
    """One request as it goes over the wire, but for its first headers."""

    method: str
    path: str
    headers: str
    body: bytes

    def shown(self) -> str:
        """Returns it in short, for people."""
        return f"{self.method} {self.path} [{self.headers!r}] {self.body[:400]!r}"


class RequestFuzzer:
    """Draws requests to the lease and genome endpoints.

    Attributes:
        live: Leases that were granted and perhaps still run.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.live: list[str] = []

    def draw(self) -> FuzzRequest:
        """Returns the next request; one in six is sound, so that the search goes on."""
        rng = self._rng
        name, path = self._operation()
        body = copy.deepcopy(BODIES.get(name, {}))
        if name == "claim_leases":
            body |= {"wait_seconds": 0, "count": rng.choice([1, 2, 8])}
        if rng.random() < 1 / 6:
            return self._request(path, json.dumps(body).encode())
        for _ in range(rng.choice([1, 1, 1, 2, 3, 8])):
            body = self._broken(body)
        if name == "claim_leases" and isinstance(body, dict) and body.get("wait_seconds"):
            body["wait_seconds"] = rng.choice([0, -1, "0"])  # waiting is not what is tested
        return self._request(path, self._encoded(body), odd=True)

    def _operation(self) -> tuple[str, str]:
        rng = self._rng
        verb = rng.choice(["claim", "progress", "result", "result", "release", "facts"])
        if verb == "claim":
            return "claim_leases", f"{ROOT}/leases/claim"
        if verb == "facts":
            return "tell_genome_facts", f"{ROOT}/genomes/facts"
        return f"report_{verb}", f"{ROOT}/leases/{self._lease()}/{verb}"

    def _lease(self) -> str:
        rng = self._rng
        kind = rng.random()
        if kind < 0.6 and self.live:
            return rng.choice(self.live[-50:])
        if kind < 0.9:
            return f"{rng.randrange(1, 400)}-{rng.randrange(1, 4)}"
        return rng.choice(
            ["0-0", "999999999999999-1", "1-999999999", "1", "-1-1", "a-b", "1-1-1", "%00-1",
             "1%2F2-1", "..-1", "9" * 40 + "-1", "1-1%0a", "%F0%9F%99%82"]
        )  # fmt: skip

    def _broken(self, value: Any) -> Any:
        """Returns the value with one thing changed somewhere in it."""
        rng = self._rng
        if isinstance(value, dict) and value and rng.random() < 0.85:
            name = rng.choice(list(value))
            action = rng.random()
            if action < 0.15:
                del value[name]
            elif action < 0.25:
                value[rng.choice(["extra", "", "kind", "layers", name.upper()])] = self._odd()
            else:
                value[name] = self._broken(value[name])
            return value
        if isinstance(value, list) and value and rng.random() < 0.85:
            index = rng.randrange(len(value))
            if rng.random() < 0.2 and len(repr(value)) < MOST_REPEATED:
                times = rng.choice([2, 40])
                # Copies: of one item that stands 40 times, a second change would be 40 changes.
                return [copy.deepcopy(item) for _ in range(times) for item in value]
            value[index] = self._broken(value[index])
            return value
        return self._odd()

    def _odd(self) -> Any:
        rng = self._rng
        kind = rng.random()
        if kind < 0.1:
            nested: Any = 1
            for _ in range(rng.choice([5, 31, 33, 200])):
                nested = [nested] if rng.random() < 0.5 else {"a": nested}
            return nested
        if kind < 0.2:
            return copy.deepcopy(GENOME)
        return copy.deepcopy(rng.choice(ODD_VALUES))

    def _encoded(self, body: Any) -> bytes:
        rng = self._rng
        data = json.dumps(body, ensure_ascii=rng.random() < 0.7).encode("utf-8", "surrogatepass")
        kind = rng.random()
        if kind < 0.03:
            return data[: rng.randrange(len(data) + 1)]
        if kind < 0.06 and data:
            at = rng.randrange(len(data))
            return data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]
        if kind < 0.07:
            return rng.randbytes(rng.randrange(200))
        return data

    def _request(self, path: str, body: bytes, *, odd: bool = False) -> FuzzRequest:
        rng = self._rng
        method, kind, extra = "POST", "application/json", ""
        if odd and rng.random() < 0.04:
            kind = rng.choice(CONTENT_TYPES)
        if odd and rng.random() < 0.04:
            extra = rng.choice(HEADERS)
        if odd and rng.random() < 0.02:
            method = rng.choice(["PUT", "GET", "DELETE", "PATCH", "OPTIONS", "HEAD", "BREW"])
        headers = f"Content-Type: {kind}\r\n" if kind else ""
        headers += f"{extra}\r\n" if extra else ""
        return FuzzRequest(method, path, headers, body)
