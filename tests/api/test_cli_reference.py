"""The command line's page of docs is what the commands say of themselves."""

from __future__ import annotations

from pathlib import Path

from api.cli.main import app
from api.cli.reference import reference

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"


def test_the_reference_of_the_command_line_is_up_to_date() -> None:
    assert PAGE.read_text("utf-8") == reference(app), "run: python -m api.cli.reference"
