"""The clients of `benchmarks/api_load.py`, in a process of their own.

Readers, workers and a dashboard.

Each client has one kept-alive connection, asks, waits for the whole answer, thinks (an exponential
time of a given mean) and asks again. Prints one JSON object: latencies in ms by operation, errors.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import gzip
import json
import random
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

ROOT = "/api/v1"
CALM_SECONDS = 1.0  # between two refreshes of the page, as in search/session.js
SLOW_SECONDS = 8.0  # between two readings of what it sums over the whole search


class Connection:
    """One kept-alive HTTP/1.1 connection; small, so that the generator takes little of a core."""

    def __init__(self, host: str, port: int, secret: str) -> None:
        self._address = host, port
        self._head = f"Host: {host}:{port}\r\nAccept-Encoding: gzip\r\n"
        if secret:
            self._head += f"Authorization: Bearer {secret}\r\n"
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        """Returns status and body; a kept connection that was closed is opened once more."""
        for attempt in (1, 2):
            try:
                status, headers = await self.send(method, path, body)
                return status, await self._body(headers)
            except (ConnectionError, asyncio.IncompleteReadError):
                self._reader = None
                if attempt == 2:
                    raise
        raise AssertionError

    async def ask_raw(self, method: str, path: str, headers: str, body: bytes) -> tuple[int, bytes]:
        """Sends headers and body as they are; returns status and body."""
        if self._reader is None:
            self._reader, self._writer = await asyncio.open_connection(*self._address)
        assert self._writer is not None
        head = f"{method} {path} HTTP/1.1\r\n{self._head}{headers}Content-Length: {len(body)}\r\n"
        self._writer.write(head.encode("latin-1") + b"\r\n" + body)
        try:
            status, found = await self._answer()
            data = b"" if method == "HEAD" else await self._body(found)
        except asyncio.IncompleteReadError:
            self._reader = None
            raise
        if found.get("connection") == "close":
            self._reader = None
        return status, data

    async def send(self, method: str, path: str, body: Any = None) -> tuple[int, dict[str, str]]:
        """Sends a request; returns status and headers."""
        if self._reader is None:
            self._reader, self._writer = await asyncio.open_connection(*self._address)
        assert self._writer is not None
        text = b"" if body is None else json.dumps(body).encode()
        kind = f"Content-Type: application/json\r\nContent-Length: {len(text)}\r\n"
        head = f"{method} {path} HTTP/1.1\r\n{self._head}{kind if body is not None else ''}\r\n"
        self._writer.write(head.encode() + text)
        return await self._answer()

    async def _answer(self) -> tuple[int, dict[str, str]]:
        """Returns status and headers; an interim answer is passed over."""
        assert self._reader is not None
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        start, *lines = head.split("\r\n")
        status = int(start.split()[1])
        if status == 100:
            return await self._answer()
        pairs = (line.split(": ", 1) for line in lines if line)
        return status, {name.lower(): value for name, value in pairs}

    async def line(self) -> bytes:
        """Returns the next line of a streamed body, chunk sizes included."""
        assert self._reader is not None
        return await self._reader.readline()

    async def _body(self, headers: dict[str, str]) -> bytes:
        assert self._reader is not None
        if headers.get("transfer-encoding") == "chunked":
            parts = []
            while size := int(await self._reader.readline(), 16):
                parts.append(await self._reader.readexactly(size))
                await self._reader.readexactly(2)
            await self._reader.readexactly(2)
            data = b"".join(parts)
        else:
            data = await self._reader.readexactly(int(headers.get("content-length", "0")))
        return gzip.decompress(data) if headers.get("content-encoding") == "gzip" else data


@dataclass
class Measured:
    """What all clients have seen."""

    latencies_ms: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: list[str] = field(default_factory=list)
    events: int = 0

    async def timed(
        self, http: Connection, name: str, method: str, path: str, body: Any = None
    ) -> Any:
        """Asks, notes the time and any error; returns the JSON, or None."""
        began = time.perf_counter()
        status, data = await http.ask(method, path, body)
        self.latencies_ms[name].append(1000 * (time.perf_counter() - began))
        if status >= 400:
            self.errors.append(f"{status} {method} {path}: {data[:200].decode(errors='replace')}")
            return None
        return json.loads(data) if data[:1] in b"{[" else None


@dataclass(frozen=True)
class Target:
    """Where the search is, and how large."""

    search: str
    trials: int

    def reads(self, rng: random.Random) -> dict[str, Callable[[], str]]:
        """Returns every read operation: its name and what draws its path."""
        at = f"{ROOT}/searches/{self.search}"

        def number() -> int:
            return rng.randrange(self.trials)

        return {
            "list_searches": lambda: f"{ROOT}/searches",
            "get_search": lambda: at,
            "list_trials": lambda: f"{at}/trials",
            "list_trials, fittest": lambda: f"{at}/trials?sort=-fitness",
            "list_trials, by step time": lambda: f"{at}/trials?sort=step_time_ms",
            "list_trials, by parameters": lambda: f"{at}/trials?sort=-parameters",
            "list_trials, latest change": lambda: f"{at}/trials?sort=-seq&limit=20",
            "list_trials, pruned": lambda: f"{at}/trials?status=pruned&kind=candidate&pool=cpu",
            "list_trials, 500 rows": lambda: f"{at}/trials?after_seq={3 * number()}&limit=500",
            "get_trial": lambda: f"{at}/trials/{number()}",
            "get_ancestry": lambda: f"{at}/trials/{number()}/ancestry",
            "get_population": lambda: f"{at}/population",
            "get_pareto": lambda: f"{at}/pareto",
            "get_best": lambda: f"{at}/best",
            "get_baselines": lambda: f"{at}/baselines",
            "get_report": lambda: f"{at}/report",
            "get_overview": lambda: f"{at}/charts/overview",
            "get_front": lambda: f"{at}/charts/front",
            "get_gains": lambda: f"{at}/charts/gains",
            "get_composition": lambda: f"{at}/charts/composition",
            "get_lineage": lambda: f"{at}/charts/lineage",
            "get_failures": lambda: f"{at}/charts/failures",
            "get_machines": lambda: f"{at}/charts/machines",
            "get_table": lambda: f"{at}/charts/table?sort=-fitness",
            "get_ancestors": lambda: f"{at}/charts/ancestors/{number()}",
            "get_curves": lambda: f"{at}/charts/curves?pool=cpu",
            "get_soundness": lambda: f"{at}/soundness",
            "list_promotions": lambda: f"{at}/promotions",
            "list_spaces": lambda: f"{ROOT}/spaces",
            "list_zoo": lambda: f"{ROOT}/zoo",
            "list_datasets": lambda: f"{ROOT}/datasets",
            "list_pools": lambda: f"{ROOT}/pools",
            "list_workers": lambda: f"{ROOT}/workers",
            "list_tokens": lambda: f"{ROOT}/tokens",
            "list_audit": lambda: f"{ROOT}/audit",
            "get_metrics": lambda: "/metrics",
            "get_health": lambda: "/healthz",
            "get_readiness": lambda: "/readyz",
        }


async def reader(
    http: Connection, seen: Measured, target: Target, think: float, end: float, rng: random.Random
) -> None:
    """Reads something else each time; follows a listing to its next page now and then."""
    reads = target.reads(rng)
    names = list(reads)
    while await thought(think, end, rng):
        name = rng.choice(names)
        path = reads[name]()
        page = await seen.timed(http, name, "GET", path)
        cursor = page.get("next_cursor") if page else None
        if cursor and "/trials" in path:
            join = "&" if "?" in path else "?"
            await seen.timed(http, "list_trials, next page", "GET", f"{path}{join}cursor={cursor}")


async def worker(
    http: Connection, seen: Measured, name: str, think: float, end: float, rng: random.Random
) -> None:
    """Claims a trial, reports twice, hands in its result: as a dispatcher does, but faster."""
    claim = {"worker_id": name, "pool": "cpu", "count": 1}
    while await thought(think, end, rng):
        granted = await seen.timed(http, "claim_leases", "POST", f"{ROOT}/leases/claim", claim)
        for lease in (granted or {}).get("leases", ()):
            path = f"{ROOT}/leases/{lease['lease_id']}"
            loss, step_ms = rng.gauss(2.3, 0.02), rng.uniform(15, 40)
            points = [point(part, loss) for part in (1, 2)]
            for one in points:
                await thought(think, end + 60, rng)
                report = {"point": one, "step_time_ms": step_ms}
                await seen.timed(http, "report_progress", "POST", f"{path}/progress", report)
            await thought(think, end + 60, rng)
            measured = {
                "validation_loss": loss,
                "bits_per_byte": loss * 1.4427,
                "step_time_ms": step_ms,
                "steps": 1000,
                "training_seconds": 60.0,
                "utilisation": 0.9,
                "curve": [point(part, loss) for part in range(9)],
            }
            result = {"outcome": "completed", "measurements": measured}
            await seen.timed(http, "report_result", "POST", f"{path}/result", result)


def point(part: int, loss: float) -> dict[str, float]:
    """Returns one point of a learning curve."""
    return {
        "fraction": part / 8,
        "step": 125 * part,
        "training_seconds": 7.5 * part,
        "validation_loss": loss + 1 / (2 + part),
    }


async def dashboard(
    stream: Connection, http: Connection, seen: Measured, target: Target, end: float
) -> None:
    """Keeps an event stream open and reads what changed after each event, as the page does."""
    at = f"{ROOT}/searches/{target.search}"
    news = asyncio.Event()

    async def follow() -> None:
        await stream.send("GET", f"{at}/events")
        while True:
            line = await stream.line()
            if line.startswith(b"data:"):
                seen.events += 1
                news.set()

    following = asyncio.create_task(follow())
    whole = await seen.timed(http, "dashboard: whole", "GET", f"{at}/charts/overview")
    seq, slow_at = whole["seq"], 0.0
    while time.monotonic() < end:
        try:
            await asyncio.wait_for(news.wait(), 5)
        except TimeoutError:
            continue
        news.clear()
        await seen.timed(http, "dashboard: search", "GET", at)
        path = f"{at}/charts/overview?after_seq={seq}"
        changed = await seen.timed(http, "dashboard: changes", "GET", path)
        seq = changed["seq"] if changed else seq
        if time.monotonic() - slow_at > SLOW_SECONDS:
            slow_at = time.monotonic()
            await seen.timed(http, "dashboard: front", "GET", f"{at}/charts/front")
            best = await seen.timed(http, "dashboard: best", "GET", f"{at}/best")
            if best is not None:
                number = best["trial"]["number"]
                await seen.timed(http, "dashboard: trial", "GET", f"{at}/trials/{number}")
                path = f"{at}/charts/ancestors/{number}"
                await seen.timed(http, "dashboard: ancestors", "GET", path)
        await asyncio.sleep(CALM_SECONDS)
    following.cancel()


async def thought(mean: float, end: float, rng: random.Random) -> bool:
    """Waits a random time; returns whether there is time left."""
    if mean > 0:
        await asyncio.sleep(min(rng.expovariate(1 / mean), 10 * mean))
    return time.monotonic() < end


async def run(options: argparse.Namespace) -> Measured:
    """Runs all clients to the end."""
    seen = Measured()
    end = time.monotonic() + options.seconds
    target = Target(options.search, options.trials)

    def connection() -> Connection:
        return Connection(options.host, options.port, options.secret)

    clients = [
        reader(connection(), seen, target, options.think, end, random.Random(index))
        for index in range(options.readers)
    ]
    clients += [
        worker(connection(), seen, f"load-{i}", options.think, end, random.Random(-1 - i))
        for i in range(options.workers)
    ]
    if options.dashboard:
        clients.append(dashboard(connection(), connection(), seen, target, end))
    await asyncio.gather(*clients)
    return seen


def main() -> None:
    """Reads the options, runs the clients, prints what they saw."""
    parser = argparse.ArgumentParser()
    for name, kind in [("host", str), ("port", int), ("secret", str), ("search", str)]:
        parser.add_argument(f"--{name}", type=kind, required=True)
    for name in ("trials", "readers", "workers"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--think", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--dashboard", action="store_true")
    options = parser.parse_args()
    gc.disable()
    seen = asyncio.run(run(options))
    told = {"latencies_ms": seen.latencies_ms, "errors": seen.errors, "events": seen.events}
    print(json.dumps(told))


if __name__ == "__main__":
    main()
