"""Two attacks on a running controller: 100,000 broken requests, and schemathesis with all checks.

The first goes over several kept-alive connections to the lease and genome endpoints: sound bodies
with something broken in them, on leases that live, have ended or never were. The bar: no answer of
500 or above, no connection dropped, no traceback in the log, and afterwards a search whose counters
agree with its trials. The second runs schemathesis' four phases, stateful links included.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import re
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from benchmarks.load_clients import Connection
from benchmarks.report import report
from benchmarks.request_fuzzer import FuzzRequest, RequestFuzzer
from brainformer.api.reference.examples import SPEC
from tests.api.controller_process import ControllerProcess, controller_process
from tests.api.schema_run import SETTINGS, schema_run

CONNECTIONS = 6


def main() -> None:
    """Runs both and reports."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--examples", type=int, default=100, help="of schemathesis, an operation")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--try", dest="trying", action="store_true", help="keep no result")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        folder = Path(name)
        fuzzed = fuzz(folder, options.requests, options.seed)
        checked = schemathesis(folder, options.examples, options.seed)
    for line in fuzzed["failures"][:20]:
        print("failure:", line)
    count = len(fuzzed["failures"]) + checked["failures"]
    report(
        name="fuzz",
        value=count,
        unit="failures",
        target="none in 100,000 requests to leases and genomes, none of schemathesis' checks",
        ok=count == 0 and options.requests >= 100_000,
        details={
            "requests": options.requests,
            "seed": options.seed,
            "connections": CONNECTIONS,
            "requests_per_second": fuzzed["requests_per_second"],
            "statuses": fuzzed["statuses"],
            "fuzz_failures": len(fuzzed["failures"]),
            "schemathesis": checked,
        },
        keep=not options.trying,
    )


@dataclass
class Outcome:
    """What the fuzz met."""

    statuses: Counter[int] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    left: int = 0


def fuzz(folder: Path, requests: int, seed: int) -> dict[str, Any]:
    """Returns statuses and failures of that many broken requests."""
    outcome = Outcome(left=requests)
    url = f"sqlite:///{folder / 'fuzz.db'}"
    began = time.perf_counter()
    with controller_process(url, **SETTINGS) as controller:
        base = f"{controller.url}/api/v1"
        spec = {**SPEC, "limits": {"trials": 10_000_000}, "baseline_repeats": 1, "hurdle": False}
        spec |= {"screening": {"kind": "none"}, "max_attempts": 100}
        httpx2.post(f"{base}/searches", json=spec, trust_env=False).raise_for_status()
        asyncio.run(_attack(controller, outcome, seed))
        outcome.failures += _contradictions(base)
    outcome.failures += [str(line) for line in controller.log if "traceback" in line]
    return {
        "statuses": dict(sorted(outcome.statuses.items())),
        "failures": outcome.failures,
        "requests_per_second": round(requests / (time.perf_counter() - began)),
    }


async def _attack(controller: ControllerProcess, outcome: Outcome, seed: int) -> None:
    address = httpx2.URL(controller.url)
    rng = random.Random(seed)
    fuzzer = RequestFuzzer(rng)
    connections = [Connection(address.host, address.port or 80, "") for _ in range(CONNECTIONS)]
    await asyncio.gather(*(_one_line(http, fuzzer, outcome) for http in connections))


async def _one_line(http: Connection, fuzzer: RequestFuzzer, outcome: Outcome) -> None:
    while outcome.left > 0:
        outcome.left -= 1
        request = fuzzer.draw()
        try:
            status, body = await http.ask_raw(request.method, request.path, *_wire(request))
        except (OSError, asyncio.IncompleteReadError, ValueError) as error:
            outcome.failures.append(f"{error!r} after {request.shown()}")
            continue
        outcome.statuses[status] += 1
        if status >= 500:
            outcome.failures.append(f"{status} for {request.shown()}")
        if status >= 400 and b'"code":' not in body and request.method != "HEAD":
            outcome.failures.append(f"{status} without a code for {request.shown()}")
        if status == 200 and request.path.endswith("/claim"):
            fuzzer.live += re.findall(r'"lease_id":"(\d+-\d+)"', body.decode())


def _wire(request: FuzzRequest) -> tuple[str, bytes]:
    return request.headers, request.body


def _contradictions(base: str) -> list[str]:
    """Returns what is wrong with the search after the attack."""
    with httpx2.Client(base_url=base, timeout=60, trust_env=False) as http:
        [search] = http.get("/searches").json()["items"]
        lines = http.get(f"/searches/{search['id']}/trials.jsonl").text.splitlines()
        counted = Counter(re.findall(r'"status":"(\w+)"', line)[0] for line in lines)
        told = {status: count for status, count in search["counts"].items() if count}
        found = [] if told == dict(counted) else [f"counters {told}, trials {dict(counted)}"]
        if search["status"] != "running":
            found.append(f"the search is {search['status']}: {search['reason']}")
    return found


def schemathesis(folder: Path, examples: int, seed: int) -> dict[str, Any]:
    """Returns the figures of a schemathesis run."""
    url = f"sqlite:///{folder / 'schema.db'}"
    began = time.perf_counter()
    ended, log = schema_run(
        folder, url, "--max-examples", str(examples), "--seed", str(seed), "--continue-on-failure"
    )
    print(ended.stdout[-6000:])
    failed = re.findall(r"(\d+) failed|(\d+) errors?|(\d+) failures?", ended.stdout)
    tracebacks = sum("traceback" in line for line in log)
    cases = re.findall(r"([\d,]+) generated", ended.stdout)
    return {
        "exit_code": ended.returncode,
        "failures": tracebacks + (max(1, len(failed)) if ended.returncode else 0),
        "cases": sum(int(one.replace(",", "")) for one in cases),
        "seconds": round(time.perf_counter() - began),
    }


if __name__ == "__main__":
    main()
