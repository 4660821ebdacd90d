"""Draws the tables of rooms in docs/architecture.md: `python docs/site/architecture.py`.

The order of the rooms and the contracts come from pyproject.toml, what a room is for from the first
line of its docstring, and the arrows from the imports themselves.
"""

from __future__ import annotations

import ast
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from textwrap import fill
from typing import Any

import grimp

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = REPOSITORY / "docs" / "architecture.md"
START = "<!-- made by `make snapshots` from pyproject.toml, the docstrings and the imports -->"
END = "<!-- end of what is made -->"
ROOT = "brainformer"
COLUMNS = 100


def rooms() -> str:
    """Returns the tables of rooms, one for each container of rooms, and the list of contracts."""
    layers = [one for one in contracts("layers") if "containers" in one]
    tables = [_table(container, one["layers"]) for one in layers for container in one["containers"]]
    rules = "\n".join(_rule(one) for one in contracts("forbidden"))
    return "\n\n".join([*tables, _flat("model"), f"### What is never imported\n\n{rules}"])


def with_rooms(page: str) -> str:
    """Returns the page with its drawn part replaced."""
    before, _, rest = page.partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}\n\n{rooms()}\n\n{END}{after}"


def contracts(kind: str) -> list[dict[str, Any]]:
    """Returns import-linter's contracts of one type, in the order of pyproject.toml."""
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))
    found: list[dict[str, Any]] = settings["tool"]["importlinter"]["contracts"]
    return [one for one in found if one["type"] == kind]


def purpose(module: str) -> str:
    """Returns the first line of a module's docstring."""
    path = REPOSITORY.joinpath(*module.split(".")[1:])
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    docstring = ast.get_docstring(ast.parse(source.read_text("utf-8"))) or ""
    return docstring.split("\n")[0].removesuffix(".")


def _table(container: str, layers: list[str]) -> str:
    lines = [
        f"### {_folder(container)}",
        "",
        f"{purpose(container)}.",
        "",
        "| room | what it is | imports |",
        "| --- | --- | --- |",
    ]
    for layer in layers:
        names = [name.strip() for name in layer.split("|")]
        lines += [_row(container, name) for name in names]
    return "\n".join(lines)


def _flat(package: str) -> str:
    """Returns the section of a package that is one room."""
    module = f"{ROOT}.{package}"
    arrows = ", ".join(_arrows(module, module))
    return f"### {package}/\n\n" + fill(
        f"{purpose(module)}. One room; it imports {arrows}.", COLUMNS
    )


def _row(container: str, name: str) -> str:
    arrows = ", ".join(_arrows(container, f"{container}.{name}")) or "nothing of ours"
    return f"| {name} | {purpose(f'{container}.{name}')} | {arrows} |"


def _arrows(container: str, room: str) -> Iterator[str]:
    """Yields the rooms that a room imports: its neighbours by name, others by package."""
    outside: dict[str, set[str]] = defaultdict(set)
    inside: set[str] = set()
    for target in sorted(_targets(room)):
        if target.startswith(f"{container}."):
            inside.add(target.removeprefix(f"{container}.").split(".")[0])
        else:
            package, _, rest = target.removeprefix(f"{ROOT}.").partition(".")
            outside[package].add(rest.split(".")[0])
    yield from sorted(inside)
    for package, names in sorted(outside.items()):
        yield f"{package}/ ({', '.join(sorted(names))})" if package != "model" else "model/"


def _targets(room: str) -> set[str]:
    """Returns the modules outside a room that its modules import."""
    graph = _graph()
    modules = {room, *graph.find_descendants(room)}
    found = {
        target for module in modules for target in graph.find_modules_directly_imported_by(module)
    }
    return found - modules


@cache
def _graph() -> grimp.ImportGraph:
    return grimp.build_graph(ROOT)


def _rule(contract: dict[str, Any]) -> str:
    forbidden = ", ".join(
        _folder(one) if one.startswith(ROOT) else one for one in contract["forbidden_modules"]
    )
    line = f"- {contract['name']} (checked: {forbidden})."
    return fill(line, COLUMNS, subsequent_indent="  ", break_on_hyphens=False)


def _folder(module: str) -> str:
    return module.removeprefix(f"{ROOT}.").replace(".", "/") + "/"


if __name__ == "__main__":
    PAGE.write_text(with_rooms(PAGE.read_text("utf-8")), "utf-8")
