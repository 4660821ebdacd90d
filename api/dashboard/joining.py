"""Our own modules joined into one script.

Each module becomes a function that runs once and returns what it exports, after those that it
imports. This reads the imports and exports of our own modules, which stand alone on their lines (a
test holds them to it), not JavaScript at large.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping

IMPORT = re.compile(
    r'^import (?:\* as (?P<whole>\w+)|\{(?P<names>[^}]+)\}) from "(?P<path>\.[\w./]+)";$',
    re.MULTILINE,
)
EXPORT = re.compile(r"^export ((?:async )?(?:function|class|const) (\w+))", re.MULTILINE)
LEFT_OVER = re.compile(r"^(?:import|export)\b|\bimport\s*[(.]", re.MULTILINE)


def joined(entry: str, sources: Mapping[str, str]) -> str:
    """Returns a module and all that it imports as one script.

    Args:
        entry: The module's path.
        sources: Modules by path.

    Raises:
        ValueError: a module is not there, imports itself, or is not understood.
    """
    order: list[str] = []
    _visit(entry, sources, order, ())
    names = {name: f"m{index}" for index, name in enumerate(order)}
    parts = [f"const {names[name]} = {_wrapped(name, sources[name], names)};" for name in order]
    return '"use strict";\n{\n' + "\n".join(parts) + "\n}\n"


def _visit(name: str, sources: Mapping[str, str], order: list[str], above: tuple[str, ...]) -> None:
    """Puts a module behind all that it imports."""
    if name in order:
        return
    if name in above:
        raise ValueError(f"{' imports '.join((*above, name))}")
    if name not in sources:
        raise ValueError(f"{above[-1] if above else 'nobody'} imports {name}, which is not there")
    for found in IMPORT.finditer(sources[name]):
        _visit(_target(name, found["path"]), sources, order, (*above, name))
    order.append(name)


def _target(name: str, path: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(name), path))


def _wrapped(name: str, source: str, names: Mapping[str, str]) -> str:
    """Returns a module as an expression whose value is what the module exports."""

    def imported(found: re.Match[str]) -> str:
        target = names[_target(name, found["path"])]
        if found["whole"]:
            return f"const {found['whole']} = {target};"
        return f"const {{{found['names'].replace(' as ', ': ')}}} = {target};"

    exports = [found[2] for found in EXPORT.finditer(source)]
    body = EXPORT.sub(r"\1", IMPORT.sub(imported, source))
    if LEFT_OVER.search(body):
        raise ValueError(f"an import or export of {name} is not understood")
    return f"(() => {{\n{body}\nreturn {{ {', '.join(exports)} }};\n}})()"
