"""docs/training.md: its commands run, one after another, as a newcomer would type them."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from brainformer.search.export.genome_file import GenomeExport
from brainformer.search.proxy.builtin_proxies import load_proxy
from brainformer.search.space.space import load_preset
from brainformer.search.space.zoo import zoo_genome
from tests.repository import REPOSITORY
from tests.worker.pretraining.runs import modules

pytestmark = pytest.mark.slow

PAGE = (REPOSITORY / "docs" / "training.md").read_text("utf-8")
# The only command that needs a controller; the test writes what it would.
NEEDS_A_SEARCH = "brainformer export laptop -o block.json"
# Needs two processes, which tests/api/cli/test_training.py starts.
SEVERAL_HOSTS = "--coordinator"
# Hours of training, shortened.
SHORTER = {"--tokens 300M": "--tokens 20k", "--tokens 100k": "--tokens 10k"}


def commands() -> list[str]:
    """Returns the page's commands, in their order."""
    blocks = re.findall(r"^```\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    return [one for one in lines if one.startswith("brain") and SEVERAL_HOSTS not in one]


@pytest.mark.timeout(900)
def test_the_pages_commands_run_in_their_order(tmp_path: Path) -> None:
    genome = zoo_genome("glam", load_preset("nano"))
    export = GenomeExport(
        digest=genome.digest,
        genome=genome,
        proxy=load_proxy("nano"),
        search_id="a",
        search_name="laptop",
        trial_number=1,
    )
    (tmp_path / "text").mkdir()
    for number, source in enumerate(modules()):
        (tmp_path / "text" / f"{number}.txt").write_text(source.read_text("utf-8"))
    settings = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")}

    def run(line: str) -> subprocess.CompletedProcess[str]:
        words = shlex.split(line)[1:]
        command = [sys.executable, "-m", "brainformer.api.cli.main", *words]
        ran = subprocess.run(command, cwd=tmp_path, env=settings, capture_output=True, text=True)
        assert ran.returncode == 0, f"{line}\n{ran.stderr[-3000:]}"
        return ran

    run("brainformer data prepare my-text text --validation-share 0.2")
    lines = commands()
    assert len(lines) >= 10
    assert NEEDS_A_SEARCH in lines
    told = {}
    for line in lines:
        if line == NEEDS_A_SEARCH:
            (tmp_path / "block.json").write_text(export.to_json())
            continue
        for long, short in SHORTER.items():
            line = line.replace(long, short)
        told[line] = run(line)
    assert "drawn again" in told["brainformer eval first"].stdout
    assert told['brainformer generate first --prompt "import " --max-tokens 80'].stdout.startswith(
        "import "
    )
    assert "is complete" in told["brainformer train longer"].stderr
    assert (tmp_path / "model" / "modeling_brainformer.py").is_file()
