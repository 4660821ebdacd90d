"""What people read: links lead somewhere, pages keep their form, commands and examples work."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from brainformer.api.cli.main import app
from tests.repository import REPOSITORY

ROOT = REPOSITORY
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md")]
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
EXPERIMENTS = sorted((ROOT / "docs" / "experiments").glob("*.md"))
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)\s]*)?\)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COLUMNS = 100
README = (ROOT / "README.md").read_text("utf-8")


def by_path(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=by_path)
def test_every_relative_link_leads_to_a_file(page: Path) -> None:
    targets = [link for link in LINK.findall(page.read_text("utf-8")) if "://" not in link]
    missing = [link for link in targets if not (page.parent / link).exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=by_path)
def test_lines_are_wrapped(page: Path) -> None:
    lines = page.read_text("utf-8").splitlines()
    assert [line for line in lines if len(line) > COLUMNS and not _unbreakable(line)] == []


@pytest.mark.parametrize("page", PAGES, ids=by_path)
def test_lists_and_tables_follow_an_empty_line(page: Path) -> None:
    """Python-Markdown, which builds the site, would join them to the paragraph before."""
    joined = []
    before = ""
    for line in FENCE.sub("", page.read_text("utf-8")).splitlines():
        for start in ("- ", "| ", "1. "):
            part_of_list = before.startswith((start, " ", "1. ", "2. ", "3. ", "- "))
            if line.startswith(start) and before.strip() and not part_of_list:
                joined.append(line)
        before = line
    assert joined == []


@pytest.mark.parametrize("record", DECISIONS, ids=by_path)
def test_a_decision_follows_the_template_on_one_page(record: Path) -> None:
    text = record.read_text("utf-8")
    assert text.startswith(f"# {int(record.name[:4])}. ")
    places = [text.find(f"\n**{part}.** ") for part in ("Decision", "Why", "Consequences")]
    assert -1 not in places
    assert places == sorted(places)
    assert len(text.splitlines()) <= 50


def test_the_index_has_one_line_for_every_decision() -> None:
    index = (ROOT / "docs" / "decisions" / "README.md").read_text("utf-8")
    lines = re.findall(r"^- \[([^\]]+)\]\((\d[^)]+)\)", index, re.MULTILINE)
    titles = {one.name: one.read_text("utf-8").split("\n")[0][2:] for one in DECISIONS}
    assert {file: " ".join(title.split()) for title, file in lines} == titles
    assert len(lines) == len(titles)


@pytest.mark.parametrize("page", EXPERIMENTS, ids=by_path)
def test_a_page_of_experiments_opens_with_what_stands_now(page: Path) -> None:
    headings = re.findall(r"^## (.*)$", page.read_text("utf-8"), re.MULTILINE)
    assert headings[0] == "What stands now"


def test_the_readmes_example_runs_and_is_short(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = (code for language, code in FENCE.findall(README) if language == "python")
    assert len([line for line in example.splitlines() if line.strip()]) <= 12
    names: dict[str, Any] = {}
    exec(example, names)
    best = names["search"].best()[0]
    assert best.fitness is not None
    assert best.fitness > -0.1
    assert capsys.readouterr().out.strip() == best.genome.canonical_json()


@pytest.mark.parametrize("page", PAGES, ids=by_path)
def test_python_in_pages_is_python(page: Path) -> None:
    for language, code in FENCE.findall(page.read_text("utf-8")):
        if language == "python":
            ast.parse(code)


@pytest.mark.parametrize("page", PAGES, ids=by_path)
def test_commands_in_pages_exist_with_their_options(page: Path) -> None:
    if page.name == "cli.md":
        return  # generated from the commands; tests/api/cli compares it
    root = typer.main.get_command(app)
    for line in _commands(page.read_text("utf-8")):
        words = shlex.split(line, comments=True)[1:]
        command: Any = root
        while words and words[0] in (children := getattr(command, "commands", {})):
            command = children[words.pop(0)]
        assert words == [] or not hasattr(command, "commands"), line
        known = {option for one in command.params for option in one.opts}
        assert {word for word in words if word.startswith("-")} <= known, line


@pytest.mark.parametrize("page", PAGES, ids=by_path)
def test_make_targets_in_pages_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    targets |= {f"bench-{one.stem.replace('_', '-')}" for one in (ROOT / "benchmarks").glob("*.py")}
    named = set(re.findall(r"`make ([a-z-]+)`", page.read_text("utf-8")))
    assert named - targets == set()


def test_a_result_is_named_as_make_names_its_benchmark() -> None:
    named = {
        one.stem: found[1]
        for one in (ROOT / "benchmarks").glob("*.py")
        if (found := re.search(r"\breport\(\s*name=\"([^\"]+)\"", one.read_text("utf-8")))
    }
    assert named
    assert named == {stem: stem.replace("_", "-") for stem in named}
    results = {one.stem for one in (ROOT / "benchmarks" / "results").glob("*.jsonl")}
    assert results <= set(named.values())


def _unbreakable(line: str) -> bool:
    """Whether a line is a table's row, or one link or word that no line break may split."""
    return line.startswith(("| ", "![")) or len(line.lstrip(" -*").split()) == 1 or _link(line)


def _link(line: str) -> bool:
    return re.fullmatch(r"\s*(?:[-*] )?\[[^\]]*\]\([^)]*\)\S*", line) is not None


def _commands(text: str) -> list[str]:
    """Returns the command lines that begin with `brainformer` in a page's code."""
    code = "\n".join(code for _, code in FENCE.findall(text)).replace("\\\n", " ")
    spans = re.findall(r"`(brainformer [^`]*)`", text)
    found = [line.strip() for line in [*code.splitlines(), *spans]]
    return [line for line in found if re.match(r"brainformer [a-z]", line)]
