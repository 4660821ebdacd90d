"""A run from the start to its end, on the way of which everything may happen."""

import json
import threading

import numpy as np
import pytest

from brainformer.search.errors import EnvironmentProblem, TrainingDiverged
from brainformer.worker.pretraining import pretraining
from brainformer.worker.pretraining.intervals import Every
from brainformer.worker.pretraining.manifest import read_manifest
from brainformer.worker.pretraining.run_folder import RunFolder
from brainformer.worker.pretraining.start import model_of
from tests.worker.pretraining.runs import (
    BLOCK,
    Notes,
    arrays_of,
    assert_same_state,
    steps_in,
)


def test_a_run_learns_saves_and_tells(train, tmp_path):
    notes = Notes()
    ending = train(
        tmp_path / "run",
        steps=120,
        observers=[notes],
        save=Every(steps=40),
        validate=Every(steps=20),
    )
    assert (ending.why, ending.step) == ("completed", 120)
    assert sorted(notes.losses) == [20, 40, 60, 80, 96, 100, 120]  # the decay begins at 96
    assert notes.saves == [0, 40, 80, 96, 120]
    assert notes.losses[120] == ending.validation_loss < notes.losses[20] - 0.3
    assert ending.bits_per_byte == pytest.approx(ending.validation_loss / np.log(2))
    assert notes.statuses[-1].step == 120
    assert notes.statuses[-1].fraction == 1.0
    assert all(one.tokens_per_second > 0 and 0 < one.mfu < 1 for one in notes.statuses)
    assert notes.ends == 1


def test_a_stopped_run_ends_where_one_that_never_stopped_ends(train, tmp_path):
    whole = train(tmp_path / "whole", steps=60)
    stop = threading.Event()
    first = train(tmp_path / "run", steps=60, stop=stop, observers=[Notes(at=17, act=stop.set)])
    assert first.why == "stopped"
    assert 17 <= first.step < 60
    assert read_manifest(first.checkpoint).validation_loss is None  # nobody waited for it
    second = train(None, source=tmp_path / "run")
    assert (second.why, second.step) == ("completed", 60)
    assert second.validation_loss == whole.validation_loss
    assert_same_state(second.checkpoint, whole.checkpoint)


def test_the_same_command_goes_on_too_and_a_complete_run_stays(train, tmp_path):
    stop = threading.Event()
    train(tmp_path / "run", steps=30, stop=stop, observers=[Notes(at=9, act=stop.set)])
    notes, told = Notes(), []
    again = train(tmp_path / "run", steps=30, observers=[notes], tell=told.append)
    assert notes.beginnings[0].step >= 9
    before = sorted((tmp_path / "run").rglob("*"))
    once_more = train(tmp_path / "run", steps=30, tell=told.append)
    assert once_more == again
    assert "is complete" in told[-1]
    assert sorted((tmp_path / "run").rglob("*")) == before


def test_a_prolonged_run_is_the_one_that_was_longer_from_the_start(train, tmp_path):
    # Warm-up must be stated: by default it is a share of the length.
    train(tmp_path / "short", steps=40, warmup_steps=5)
    assert steps_in(tmp_path / "short") == [0, 32, 40]
    train(tmp_path / "longer", source=tmp_path / "short", prolong=True, steps=60)
    train(tmp_path / "whole", steps=60, warmup_steps=5)
    longer, whole = (RunFolder(tmp_path / name).newest() for name in ("longer", "whole"))
    assert read_manifest(longer).plan.differences(read_manifest(whole).plan) == []
    assert_same_state(longer, whole)
    assert steps_in(tmp_path / "short") == [0, 32, 40]  # untouched


def test_what_stays_is_the_newest_the_best_and_where_the_decay_began(train, tmp_path):
    losses = iter([5.0, 2.0, 4.0, 3.0, 4.5, 4.4, 4.3, 4.2, 4.1, 4.05, 4.04])
    judged = {}

    def loss(self, evaluate, *, sketch=False):
        judged[len(judged)] = next(losses)
        return judged[len(judged) - 1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretraining.ValidationSet, "loss", loss)
        train(tmp_path / "run", steps=100, save=Every(steps=10), keep=2, decay_share=0.35)
    # Saves at 10, 20 ... 100 and at 65; the second one was the best.
    assert steps_in(tmp_path / "run") == [20, 65, 90, 100]
    assert RunFolder(tmp_path / "run").best().name == "0000000020"


def test_a_run_by_the_clock_decays_when_its_share_is_left(train, tmp_path):
    notes = Notes()
    ending = train(tmp_path / "run", hours=2.0 / 3600, decay_share=0.25, observers=[notes])
    plan = ending.plan
    start = plan.decay_start
    assert ending.why == "completed"
    assert ending.step == plan.total_steps == start + plan.decay_steps
    assert plan.decay_steps == pytest.approx(start / 3, abs=1)
    assert start in steps_in(tmp_path / "run")
    assert read_manifest(RunFolder(tmp_path / "run").newest()).plan == plan
    rates = [one.learning_rate for one in notes.statuses]
    assert rates[-1] < 0.2 * max(rates)


def test_a_constant_run_by_the_clock_is_complete_when_its_time_is_over(train, tmp_path):
    ending = train(tmp_path / "run", hours=1.0 / 3600, schedule="constant")
    assert ending.step == ending.plan.total_steps
    assert train(None, source=tmp_path / "run") == ending


def test_a_decision_of_the_clock_is_kept_by_the_one_who_goes_on(train, tmp_path):
    stop = threading.Event()

    class InTheDecay(Notes):
        def trained(self, status, *, due):
            if status.total_steps is not None:
                stop.set()

    train(tmp_path / "run", hours=1.0 / 3600, stop=stop, observers=[InTheDecay()])
    stopped = read_manifest(RunFolder(tmp_path / "run").newest()).plan
    ending = train(None, source=tmp_path / "run")
    assert ending.plan == stopped
    assert ending.step == stopped.total_steps


def test_weights_of_an_export_are_where_training_begins(train, tmp_path):
    train(tmp_path / "first", steps=30)
    model = model_of(RunFolder(tmp_path / "first").newest())
    block = type(BLOCK)(model.genome, model.proxy, model.provenance, model)
    train(tmp_path / "second", source=block, steps=10)
    begun = model_of(tmp_path / "second" / "checkpoints" / "0000000000")
    assert begun.arrays.keys() == model.arrays.keys()
    for name, value in model.arrays.items():
        assert np.array_equal(begun.arrays[name], value), name
    after = model_of(RunFolder(tmp_path / "second").newest())
    assert any(not np.array_equal(after.arrays[name], one) for name, one in begun.arrays.items())


def test_a_branch_leaves_the_run_that_it_comes_from(train, tmp_path):
    train(tmp_path / "run", steps=30, save=Every(steps=10))
    before = arrays_of(tmp_path / "run" / "checkpoints" / "0000000020")
    source = tmp_path / "run" / "checkpoints" / "0000000020"
    ending = train(tmp_path / "branch", source=source, learning_rate=0.001, steps=40)
    assert steps_in(tmp_path / "branch")[0] == 20
    assert ending.step == 40
    assert_same_state(tmp_path / "branch" / "checkpoints" / "0000000020", source)
    assert arrays_of(source).keys() == before.keys()
    assert read_manifest(ending.checkpoint).run != read_manifest(source).run


def test_longer_rows_may_have_another_rotary_base(train, tmp_path):
    ending = train(tmp_path / "run", steps=2, sequence_length=48, rope_base=500)
    proxy = read_manifest(ending.checkpoint).plan.proxy
    assert (proxy.sequence_length, proxy.rope_base) == (48, 500)
    assert model_of(ending.checkpoint).config.rope_base == 500


def test_a_loss_that_is_no_number_ends_the_run_and_no_checkpoint_holds_it(train, tmp_path):
    with pytest.raises(TrainingDiverged, match="lower --learning-rate") as error:
        train(tmp_path / "run", steps=500, learning_rate=1e30, save=Every(steps=100))
    last = RunFolder(tmp_path / "run").newest()
    assert int(last.name) < error.value.step
    assert all(np.isfinite(value).all() for value in arrays_of(last).values())


def test_the_journal_forgets_what_was_done_behind_the_last_checkpoint(train, tmp_path):
    run = tmp_path / "run"
    train(run, steps=40, save=Every(steps=20))
    journal = run / "journal.jsonl"
    with journal.open("a") as file:
        file.write('{"kind": "trained", "step": 90}\n{"kind": "tra')
    RunFolder(run).forget_after(40)
    steps = [json.loads(line)["step"] for line in journal.read_text().splitlines()]
    assert max(steps) == 40
    assert 10 in steps


def test_the_disk_must_have_room_for_checkpoints(train, tmp_path, monkeypatch):
    from brainformer.worker.pretraining import session

    monkeypatch.setattr(session.shutil, "disk_usage", lambda _: type("Disk", (), {"free": 1000}))
    with pytest.raises(EnvironmentProblem, match="MiB free"):
        train(tmp_path / "run", steps=10)
    assert not (tmp_path / "run").exists()
