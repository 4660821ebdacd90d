"""Scopes of tokens: what their bearer may do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TypeAlias, get_args

Scope: TypeAlias = Literal["read", "write", "worker", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
SESSION_PREFIX = "bfs_"  # of a browser's session, which is no token
# What each scope lets its holder do beside its own name.
IMPLIED = {
    "admin": frozenset({"read", "write", "worker", "admin"}),
    "write": frozenset({"read", "write"}),
}


def scopes_of(names: Iterable[str]) -> frozenset[str]:
    """Returns the scopes that a token has, those implied included."""
    found: set[str] = set()
    for name in names:
        found |= IMPLIED.get(name, frozenset({name}))
    return frozenset(found)
