"""Clients of a controller under faults, and an oracle that knows only what they saw.

Every genome has a loss of its own, so a result that is recorded on another trial shows. A client
goes on with a lease until it has a receipt or is refused, as dispatchers do.
"""

from __future__ import annotations

import hashlib
import json
import random
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import httpx2

ROOT = "/api/v1"
ANSWER_SECONDS = 10.0  # after which a call of a controller that runs must have been answered
GIVE_UP_SECONDS = 120.0


def loss_of(genome: dict[str, Any]) -> float:
    """Returns the loss of a genome, which no other has."""
    digest = hashlib.sha256(json.dumps(genome, sort_keys=True).encode()).digest()
    return 2 + int.from_bytes(digest[:6], "big") / 2**48


@dataclass(frozen=True)
class Receipt:
    """What a client was promised.

    Attributes:
        order: Of arrival among all receipts.
        number: Of the trial.
    """

    order: int
    lease_id: str
    number: int
    genome: dict[str, Any]
    status: str


@dataclass
class Oracle:
    """What all clients saw together, and what is wrong with it.

    Attributes:
        world: Rises when the database is put back to an earlier state.
        running: Whether the controller runs, so that it must answer in time.
    """

    receipts: dict[str, Receipt] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
    refused: int = 0
    slowest_seconds: float = 0.0
    world: int = 0
    running: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def count(self) -> int:
        """How many receipts there are."""
        return len(self.receipts)

    def receipted(self, lease: dict[str, Any], receipt: dict[str, Any], world: int) -> None:
        """Keeps what a client was promised in a world; a repeat must promise the same."""
        with self._lock:
            if world != self.world:
                return
            new = Receipt(
                len(self.receipts),
                lease["lease_id"],
                lease["trial_number"],
                lease["genome"],
                receipt["status"],
            )
            before = self.receipts.setdefault(new.lease_id, new)
            if before.status != new.status:
                self.violate(f"{new.lease_id} was {before.status} and then {new.status}")

    def rewound(self, receipts_before: int) -> None:
        """Says that everything after so many receipts may be forgotten."""
        with self._lock:
            self.world += 1
            kept = {one.lease_id: one for one in self.receipts.values()}
            self.receipts = {name: one for name, one in kept.items() if one.order < receipts_before}

    def answered(self, what: str, seconds: float, *, ran: bool) -> None:
        """Notes how long a client waited for an answer."""
        if not (ran and self.running.is_set()):
            return
        self.slowest_seconds = max(self.slowest_seconds, seconds)
        if seconds > ANSWER_SECONDS:
            self.violate(f"{what} was answered after {seconds:.1f} s")

    def violate(self, what: str) -> None:
        """Notes a violation."""
        self.violations.append(what)

    def promised(self) -> list[Receipt]:
        """Returns the receipts so far."""
        with self._lock:
            return list(self.receipts.values())

    def judge(self, trials: list[dict[str, Any]], promised: list[Receipt]) -> None:
        """Compares what the controller tells with what clients were promised.

        Args:
            trials: All of the search, over REST.
            promised: The receipts that there were when these were asked for.
        """
        known = {one["number"]: one for one in trials}
        for number, trial in known.items():
            measured = trial["measurements"].get("validation_loss")
            if trial["status"] == "completed" and measured != loss_of(trial["genome"]):
                self.violate(f"trial {number} has the loss of another genome: {measured}")
            if trial["status"] == "failed":
                self.violate(f"trial {number} failed: {trial['message']}")
        digests = [one["digest"] for one in trials if one["kind"] == "candidate"]
        if len(digests) != len(set(digests)):
            self.violate("a genome was proposed twice")
        for receipt in promised:
            trial = known.get(receipt.number)
            if receipt.status != "completed":
                continue
            if trial is None or trial["status"] != "completed":
                self.violate(f"lost: {receipt.lease_id} was receipted as completed")
            elif trial["genome"] != receipt.genome:
                self.violate(f"{receipt.lease_id} is recorded for another genome")


class Client(threading.Thread):
    """Claims, beats, reports, until it is told to end."""

    def __init__(self, url: str, name: str, oracle: Oracle, seed: int) -> None:
        super().__init__(name=name, daemon=True)
        self._http = httpx2.Client(base_url=f"{url}{ROOT}", timeout=30, trust_env=False)
        self._oracle = oracle
        self._rng = random.Random(seed)
        self.ended = threading.Event()

    def run(self) -> None:
        """Works."""
        while not self.ended.is_set():
            world = self._oracle.world
            answer = self._ask("claim", "/leases/claim", {"worker_id": self.name, "pool": "cpu"})
            if answer is None or answer.status_code != 200:
                self.ended.wait(0.2)
                continue
            leases = answer.json()["leases"]
            for lease in leases:
                self._work(lease, world)
            if not leases:
                self.ended.wait(0.2)

    def _work(self, lease: dict[str, Any], world: int) -> None:
        path = f"/leases/{lease['lease_id']}"
        trained = time.monotonic() + self._rng.choice([0.0, 0.1, 0.5, 2.5])
        while time.monotonic() < trained:
            answer = self._ask("progress", f"{path}/progress", {})
            if self._is_lost(answer, lease, world):
                return
            time.sleep(min(0.5, max(0.0, trained - time.monotonic())))
        body = {
            "outcome": "completed",
            "measurements": {
                "validation_loss": loss_of(lease["genome"]),
                "step_time_ms": 20.0,
                "curve": [],
            },
        }
        end = time.monotonic() + GIVE_UP_SECONDS
        while time.monotonic() < end:
            answer = self._ask("result", f"{path}/result", body)
            if self._is_lost(answer, lease, world):
                return
            if answer is not None and answer.status_code == 200:
                self._oracle.receipted(lease, answer.json(), world)
                return
            time.sleep(0.2)
        self._oracle.violate(f"{lease['lease_id']} could not be delivered")

    def _is_lost(self, answer: httpx2.Response | None, lease: dict[str, Any], world: int) -> bool:
        """Returns whether the lease is gone; only a rewind may take one from who is heard of."""
        if answer is None or answer.status_code in {200, 503}:
            return False
        if self._oracle.world == world:
            told = answer.text[:200]
            self._oracle.violate(f"live lease {lease['lease_id']}: {answer.status_code} {told}")
        self._oracle.refused += 1
        return True

    def _ask(self, what: str, path: str, body: dict[str, Any]) -> httpx2.Response | None:
        began, ran = time.monotonic(), self._oracle.running.is_set()
        try:
            answer = self._http.post(path, json=body)
        except httpx2.HTTPError:
            return None
        self._oracle.answered(what, time.monotonic() - began, ran=ran)
        return answer
