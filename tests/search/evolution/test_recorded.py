"""Proposals are, one by one, those that earlier versions made of the same results."""

from __future__ import annotations

import json

import pytest

from tests.search.evolution.recorded import CAMPAIGNS, FILE, proposals


@pytest.mark.parametrize("campaign", CAMPAIGNS)
def test_proposals_are_those_that_were_recorded(campaign: str) -> None:
    recorded = json.loads(FILE.read_text("utf-8"))[campaign].split()
    assert proposals(campaign) == recorded
