"""What a compiled step asks of each device, by the compiler's own account. Nothing has run."""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass, field
from typing import Any

COLLECTIVE = re.compile(
    r"= \(?(?P<shapes>[^=]*?) "
    r"(?P<kind>all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)(?P<start>-start)?\("
)
COMMENT = re.compile(r"/\*.*?\*/")  # XLA counts the members of long tuples
SHAPE = re.compile(r"\b(pred|[sufb]f?(?:8|16|32|64))\w*\[([0-9,]*)\]")
# What XLA says of a program that is too large, with the bytes wanted and those there are.
OVER = (
    re.compile(r"Used ([0-9.]+)([KMG]) of ([0-9.]+)([KMG]) hbm"),
    re.compile(r"temporaries \(([0-9.]+)([KMG])\) exceeds available HBM \(([0-9.]+)([KMG])\)"),
)
UNITS = {"K": 2**10, "M": 2**20, "G": 2**30}


@dataclass(frozen=True)
class Collective:
    """One kind of collective operation of a step.

    Attributes:
        count: Operations in the program; those in a loop count once.
        megabytes: What they yield on a device, all together.
    """

    count: int = 0
    megabytes: float = 0.0


@dataclass(frozen=True)
class Account:
    """A compiled step's needs, a device.

    Attributes:
        memory_bytes: Arguments, results, temporaries and code.
        limit_bytes: What the compiler allows, where it has refused the program.
        temporary_bytes: Of these the temporaries.
        flops: Of the program as the compiler counts them; the body of a loop once.
        hbm_bytes: Read and written, counted alike.
        collectives: By kind.
        compile_seconds: From tracing to the program.
    """

    memory_bytes: int
    limit_bytes: int | None = None
    temporary_bytes: int = 0
    flops: float = 0.0
    hbm_bytes: float = 0.0
    collectives: dict[str, Collective] = field(default_factory=dict)
    compile_seconds: float = 0.0

    def plain(self) -> dict[str, Any]:
        """Returns it as plain data."""
        return asdict(self)

    @classmethod
    def parse(cls, data: dict[str, Any]) -> Account:
        """Returns it from plain data."""
        kinds = {kind: Collective(**one) for kind, one in data.pop("collectives").items()}
        return cls(**data, collectives=kinds)


def account_of(compiled: Any, memory_bytes: int, compile_seconds: float) -> Account:
    """Returns the account of a compiled step."""
    costs = compiled.cost_analysis() or {}
    return Account(
        memory_bytes=memory_bytes,
        temporary_bytes=int(compiled.memory_analysis().temp_size_in_bytes),
        flops=float(costs.get("flops", 0.0)),
        hbm_bytes=float(costs.get("bytes accessed", 0.0)),
        collectives=collectives_of(compiled.as_text()),
        compile_seconds=compile_seconds,
    )


def refused_account(message: str) -> Account | None:
    """Returns what the compiler says of a program that is too large; None for another error."""
    met = next(filter(None, (words.search(message) for words in OVER)), None)
    if met is None:
        return None
    used, limit = (float(met[at]) * UNITS[met[at + 1]] for at in (1, 3))
    return Account(memory_bytes=int(used), limit_bytes=int(limit))


def collectives_of(text: str) -> dict[str, Collective]:
    """Returns the collective operations in a program's text, by kind."""
    found: dict[str, Collective] = {}
    for line in text.splitlines():
        match = COLLECTIVE.search(COMMENT.sub("", line))
        if match is not None:
            kind, sizes = match["kind"], _bytes(match["shapes"])
            # An asynchronous start lists what goes in beside what comes out, but for all-reduce.
            moved = max(sizes) if match["start"] and kind != "all-reduce" else sum(sizes)
            before = found.get(kind, Collective())
            found[kind] = Collective(before.count + 1, round(before.megabytes + moved / 1e6, 6))
    return found


def _bytes(shapes: str) -> list[float]:
    """Returns the bytes of each of the shapes."""
    sizes = [0.0]
    for kind, sides in SHAPE.findall(shapes):
        width = 1.0 if kind == "pred" else int(re.sub(r"\D", "", kind)) / 8
        sizes.append(width * math.prod(int(side) for side in filter(None, sides.split(","))))
    return sizes
