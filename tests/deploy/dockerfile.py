"""Reads a Dockerfile far enough to judge it without a Docker engine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Instruction:
    """One instruction of one stage (counted from 0; -1 before the first FROM)."""

    stage: int
    name: str
    rest: str


def read_dockerfile(path: Path) -> list[Instruction]:
    """Returns the instructions in order, continued lines joined."""
    found: list[Instruction] = []
    stage = -1
    pending = ""
    for line in path.read_text("utf-8").splitlines():
        if line.lstrip().startswith("#") or not (pending or line.strip()):
            continue
        pending += line.rstrip("\\")
        if line.endswith("\\"):
            continue
        name, _, rest = pending.strip().partition(" ")
        pending = ""
        stage += name == "FROM"
        found.append(Instruction(stage, name.upper(), rest.strip()))
    return found


def copied_from_context(instructions: list[Instruction]) -> list[str]:
    """Returns the sources of every COPY out of the build context."""
    sources: list[str] = []
    for each in instructions:
        if each.name == "COPY" and "--from=" not in each.rest:
            sources += each.rest.split()[:-1]
    return sources
