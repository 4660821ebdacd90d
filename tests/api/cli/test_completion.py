"""What the shell offers behind a command, asked as the shell asks."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from brainformer.search.space.zoo import zoo_names
from tests.api.dashboard.site import ScriptedWorker, Site


def offered(line: str, url: str = "http://127.0.0.1:9") -> list[str]:
    """Returns what bash is told may stand at the end of the line."""
    asked = {"_BRAINFORMER_COMPLETE": "complete_bash", "COMP_WORDS": line}
    asked |= {"COMP_CWORD": str(len(line.split(" ")) - 1), "BRAINFORMER_URL": url}
    script = "from brainformer.api.cli.main import app; app(prog_name='brainformer')"
    ran = subprocess.run(
        [sys.executable, "-c", script], env=os.environ | asked, capture_output=True, text=True
    )
    assert ran.stderr == ""
    return ran.stdout.split()


def test_names_of_searches_are_offered(site: Site) -> None:
    worker = ScriptedWorker(site)
    for name in ("laptop", "laptop-2", "other"):
        worker.create_search(name=name)
    worker.http.close()
    assert sorted(offered("brainformer search show lap", site.url)) == ["laptop", "laptop-2"]
    assert offered("brainformer best oth", site.url) == ["other"]


@pytest.mark.slow
def test_without_a_controller_no_names_and_no_error_are_told() -> None:
    assert offered("brainformer search show lap") == []
    assert offered("brainformer search show lap", "not a url") == []


def test_names_of_the_zoo_and_of_spaces_are_offered() -> None:
    assert offered("brainformer genome draw gl") == ["glam"]
    assert offered("brainformer zoo show ") == zoo_names()
    assert offered("brainformer space show na") == ["nano"]
    assert offered("brainformer genome cost glam --space br") == ["brainformer-100m32e"]
