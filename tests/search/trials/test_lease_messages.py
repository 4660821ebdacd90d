"""What controller and worker of different versions understand of each other."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from brainformer.search.trials.lease_messages import GO_ON, Directive, Progress, Receipt
from brainformer.search.trials.trial import Outcome


def test_a_worker_of_before_outcomes_reads_every_heartbeat() -> None:
    assert GO_ON.model_dump_json() == '{"action":"continue","reason":""}'


def test_a_directive_of_before_outcomes_is_a_pruning() -> None:
    told = Directive.model_validate_json('{"action":"stop","reason":"infeasible: too slow"}')
    assert told.outcome is None
    assert told.stopped_as is Outcome.PRUNED


def test_a_stop_survives_the_wire() -> None:
    told = Directive.stop(Outcome.INFEASIBLE, "too slow")
    assert Directive.model_validate_json(told.model_dump_json()) == told
    assert told.stopped_as is Outcome.INFEASIBLE


def test_what_a_newer_controller_says_beside_is_left_aside() -> None:
    assert Directive.model_validate({"action": "continue", "pace": 2}) == GO_ON
    Receipt.model_validate({"trial_id": 1, "attempt": 1, "status": "completed", "rank": 3})


def test_what_a_worker_says_beside_is_refused() -> None:
    with pytest.raises(ValidationError):
        Progress.model_validate({"phase": "alive", "pace": 2})
