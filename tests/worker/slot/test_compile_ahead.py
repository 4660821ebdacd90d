import pytest

from brainformer.search.trials.lease_messages import Directive
from brainformer.search.trials.trial import Outcome
from brainformer.worker.process import cores
from brainformer.worker.process.isolation import TrainingProcess
from brainformer.worker.settings import WorkerSettings
from brainformer.worker.slot.compile_ahead import CompileAhead
from tests.worker.leases import make_lease
from tests.worker.waiting import wait_for

pytestmark = pytest.mark.timed


@pytest.fixture
def settings(tmp_path, monkeypatch):
    monkeypatch.setattr(cores, "_held", {})
    made = WorkerSettings(url="http://x", pool="cpu", state_folder=tmp_path, compile_ahead=True)
    made.make_folders()
    yield made
    for _, file in cores._held.values():
        file.close()


def programs(settings):
    return {path.name for path in settings.cache_folder.glob("jit_*step*-cache")} | {
        path.name for path in settings.cache_folder.glob("jit_evaluate*-cache")
    }


@pytest.mark.slow
def test_the_trial_loads_what_was_compiled_ahead_on_other_cores(settings):
    ahead = CompileAhead(settings)
    training = TrainingProcess(settings, lambda _: Directive(action="continue"))
    try:
        ahead.begin(make_lease())
        wait_for(lambda: ahead.done(1.0), seconds=120)
        compiled = programs(settings)
        assert {name.partition("-")[0] for name in compiled} == {
            "jit_step",
            "jit_evaluate_embedding",
            "jit_evaluate_branch",
            "jit_evaluate_losses",
        }
        training.begin(make_lease())
        assert training.result(120).outcome is Outcome.COMPLETED
        assert programs(settings) == compiled
        assert set(cores._held["train"][0]).isdisjoint(cores._held["compile"][0])
    finally:
        ahead.close()
        training.kill()


def test_a_lease_is_compiled_once_and_nothing_waits_where_nothing_runs(settings, monkeypatch):
    begun = []
    ahead = CompileAhead(settings)
    monkeypatch.setattr(ahead._process, "begin", begun.append)
    monkeypatch.setattr(ahead._process, "result", lambda _timeout: None)
    assert ahead.done(0.0)
    ahead.begin(make_lease())
    ahead.begin(make_lease())
    ahead.begin(make_lease(lease_id="2-1"))  # the first is still being compiled
    assert [lease.lease_id for lease in begun] == ["1-1"]
    assert not ahead.done(0.0)


def test_a_slot_that_compiles_ahead_takes_twice_the_cores(settings):
    assert settings.slot_cores == 2
    assert not CompileAhead(settings.model_copy(update={"compile_ahead": False})).wanted
