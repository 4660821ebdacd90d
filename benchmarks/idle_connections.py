"""Slow heads and idle connections beside clients that work.

`python -m benchmarks.idle_connections [--slow 500] [--idle 2000] [--seconds 20]`
Eight clients ask for a page of trials and claim, first alone, then while 500 connections send a
byte of their request's head every second and 2,000 say nothing; whichever the controller closes is
opened again. `value` is the p99 of those who work in the second phase, relative to the first.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path

import httpx2
import numpy as np

from benchmarks.report import report
from tests.api.controller_process import controller_process
from tests.api.rest_site import CLAIM, ROOT, SPEC

MOST_RATIO = 2.0
HEAD = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "
WORKERS = 8
# Linux answers on all of 127.0.0.0/8: a flood comes from many addresses.
SOURCES = itertools.cycle([f"127.0.0.{last}" for last in range(2, 22)])


async def opened(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Returns a connection from the next address."""
    return await asyncio.open_connection("127.0.0.1", port, local_addr=(next(SOURCES), 0))


async def slow_head(port: int) -> None:
    """Sends a byte a second; when it is cut off, begins again."""
    while True:
        with contextlib.suppress(OSError):
            _, writer = await opened(port)
            writer.write(HEAD)
            while not writer.is_closing():
                await asyncio.sleep(1)
                writer.write(b"x")
                await writer.drain()
        await asyncio.sleep(0.2)


async def idle(port: int) -> None:
    """Says nothing; when it is closed, comes back."""
    while True:
        with contextlib.suppress(OSError):
            reader, writer = await opened(port)
            await reader.read()
            writer.close()
        await asyncio.sleep(0.2)


async def working(url: str, end: float, found: list[float], refused: list[int]) -> None:
    """Asks and claims until the time is over; notes how long each answer took."""
    async with httpx2.AsyncClient(base_url=f"{url}{ROOT}", timeout=60, trust_env=False) as http:
        for number in itertools.count():
            if time.monotonic() > end:
                return
            began = time.perf_counter()
            if number % 2:
                answer = await http.get("/searches")
            else:
                answer = await http.post("/leases/claim", json=CLAIM)
            found.append(1000 * (time.perf_counter() - began))
            if answer.status_code != 200:
                refused.append(answer.status_code)
            await asyncio.sleep(0.02)


async def phase(url: str, seconds: float, refused: list[int]) -> float:
    """Returns the p99 of the clients that work, in milliseconds."""
    found: list[float] = []
    end = time.monotonic() + seconds
    await asyncio.gather(*(working(url, end, found, refused) for _ in range(WORKERS)))
    return float(np.percentile(found, 99))


def crowd(port: int, slow: int, quiet: int) -> None:
    """Is slow and idle until it is killed; a process apart, to disturb the controller alone."""

    async def all_of_them() -> None:
        tasks = [slow_head(port) for _ in range(slow)] + [idle(port) for _ in range(quiet)]
        await asyncio.gather(*tasks)

    asyncio.run(all_of_them())


def measured(url: str, slow: int, quiet: int, seconds: float) -> tuple[float, float, int]:
    """Returns both phases' p99, and how many requests were refused."""
    port, refused = int(url.rpartition(":")[2]), list[int]()
    asyncio.run(phase(url, 3, refused))
    alone = asyncio.run(phase(url, seconds, refused))
    others = multiprocessing.get_context("spawn").Process(target=crowd, args=(port, slow, quiet))
    others.start()
    try:
        time.sleep(6)
        beside = asyncio.run(phase(url, seconds, refused))
    finally:
        others.kill()
        others.join()
    return alone, beside, len(refused)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slow", type=int, default=500)
    parser.add_argument("--idle", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=20)
    given = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory(prefix="idle-") as folder:
        database = f"sqlite:///{Path(folder) / 'search.db'}"
        with controller_process(database, log_level="error") as running:
            httpx2.post(f"{running.url}{ROOT}/searches", json=SPEC, trust_env=False)
            alone, beside, refused = measured(running.url, given.slow, given.idle, given.seconds)
    print("| p99 alone | p99 beside the crowd | refused |\n| --- | --- | --- |")
    print(f"| {alone:.1f} ms | {beside:.1f} ms | {refused} |")
    whole = given.slow >= 500 and given.idle >= 2000
    report(
        name="idle-connections",
        value=round(beside / alone, 2),
        unit="ratio",
        target="p99 at most twice that without 500 slow and 2,000 idle connections; none refused",
        ok=(beside / alone <= MOST_RATIO and not refused) if whole else None,
        details={"alone_ms": round(alone, 2), "beside_ms": round(beside, 2), "refused": refused},
        keep=whole,
    )


if __name__ == "__main__":
    main()
