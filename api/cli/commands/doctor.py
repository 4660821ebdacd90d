"""`brainformer doctor`: what this machine offers to trials, and whether it can run them."""

from __future__ import annotations

from dataclasses import asdict

import typer

from brainformer.api.cli.terminal.exit_codes import ERROR
from brainformer.api.cli.terminal.options import AsJson, DataFolder
from brainformer.api.cli.terminal.output import (
    print_json,
    say,
    stdout,
    table,
)
from brainformer.api.cli.terminal.worker_packages import require_worker_packages


def doctor(
    data_folder: DataFolder = None,
    as_json: AsJson = False,
) -> None:
    """Say what this machine offers to trials: hardware, speed, noise, Ray, data, a pool's name.

    The exit code is 1 if trials cannot run here.
    """
    require_worker_packages("jax", "ray")
    from brainformer.worker.doctor.examination import examine

    findings = examine(data_folder)
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        rows = [
            (one.name, one.found, "" if one.usable else "UNUSABLE", one.advice) for one in findings
        ]
        stdout().print(table(("", "found", "", ""), rows))
    broken = [finding.name for finding in findings if not finding.usable]
    if broken:
        say(f"trials cannot run here: {', '.join(broken)}")
        raise typer.Exit(ERROR)
