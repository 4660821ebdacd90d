"""The command line's page of docs is what the commands say of themselves."""

from __future__ import annotations

from brainformer.api.cli.main import app
from brainformer.api.cli.reference import reference
from tests.repository import REPOSITORY

PAGE = REPOSITORY / "docs" / "cli.md"


def test_the_reference_of_the_command_line_is_up_to_date() -> None:
    assert PAGE.read_text("utf-8") == reference(app), "run: make snapshots"
