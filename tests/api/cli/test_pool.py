"""Pools from the command line, against a real controller."""

from __future__ import annotations

import json

import httpx2
from typer.testing import CliRunner, Result

from brainformer.api.cli.main import app
from tests.api.dashboard.site import Site
from tests.api.rest_site import claim, create


def brainformer(site: Site, *arguments: str) -> Result:
    result = CliRunner().invoke(app, [*arguments, "--url", site.url], env={"COLUMNS": "160"})
    assert result.exit_code == 0, (result.output, result.exception)
    return result


def test_a_pool_is_listed_shown_drained_and_resumed(site: Site) -> None:
    with httpx2.Client(base_url=site.url, timeout=20, trust_env=False) as http:
        create(http, baseline_repeats=2)
        claim(http)
    assert "works" in brainformer(site, "pool", "list").stdout
    shown = brainformer(site, "pool", "show", "cpu").stdout
    assert "the baseline is measured first: 0 of 2 runs" in shown
    drained = brainformer(site, "pool", "drain", "cpu")
    assert "draining" in drained.stdout
    assert "1 trials still run" in drained.stderr
    assert "wait for this pool: laptop" in drained.stderr
    told = json.loads(brainformer(site, "pool", "show", "cpu", "--json").stdout)
    assert told["drained_at"] is not None
    assert "works" in brainformer(site, "pool", "resume", "cpu").stdout
