import pytest
from pydantic import ValidationError

from brainformer.search.errors import EnvironmentProblem
from brainformer.worker.settings import WorkerSettings
from brainformer.worker.tune.ray_session import check_accelerators, trial_resources
from tests.worker.leases import make_lease


def settings(**changes):
    return WorkerSettings(**({"url": "http://127.0.0.1:1", "pool": "p"} | changes))


@pytest.mark.parametrize("chips", [1, 2, 4, 8])
def test_tpu_trials_take_a_number_of_chips_that_ray_serves(chips):
    found = settings(platform="tpu", accelerators=chips, accelerator_type="TPU-V6E")
    assert trial_resources(found) == {
        "cpu": 1,
        "TPU": chips,
        "accelerator_type:TPU-V6E": 0.001,
    }


@pytest.mark.parametrize("chips", [0, 3, 5, 16])
def test_other_numbers_of_chips_are_refused_before_they_kill_the_run(chips):
    with pytest.raises(ValidationError, match=r"\(1, 2, 4, 8\)"):
        settings(platform="tpu", accelerators=chips)


def test_gpu_trials_own_at_least_one_gpu():
    assert trial_resources(settings(platform="gpu", accelerators=2)) == {"cpu": 1, "gpu": 2}
    with pytest.raises(ValidationError, match="at least one GPU"):
        settings(platform="gpu")


@pytest.mark.parametrize(("platform", "here"), [("gpu", {"CPU": 2.0}), ("tpu", {"TPU": 1.0})])
def test_a_worker_that_would_wait_for_ever_for_accelerators_is_refused(platform, here):
    found = settings(platform=platform, accelerators=2)
    with pytest.raises(EnvironmentProblem, match=rf"--accelerators 2, .* {platform.upper()} on"):
        check_accelerators(found, here)
    check_accelerators(found, {platform.upper(): 2.0})
    joined = settings(platform=platform, accelerators=2, ray_address="auto")
    check_accelerators(joined, here)  # a cluster may yet grow


def test_cpu_trials_own_their_cores():
    assert trial_resources(settings(cores=4)) == {"cpu": 4}
    assert trial_resources(settings(cores=2, compile_ahead=True)) == {"cpu": 4}


def test_an_accelerator_is_not_shared_with_a_compiling_process():
    with pytest.raises(ValidationError, match="an accelerator is not shared"):
        settings(platform="gpu", accelerators=1, compile_ahead=True)


def test_tune_reserves_what_a_trial_needs():
    from ray.tune.execution.placement_groups import resource_dict_to_pg_factory

    found = settings(platform="tpu", accelerators=4, accelerator_type="TPU-V6E")
    (bundle,) = resource_dict_to_pg_factory(trial_resources(found)).bundles
    assert bundle == {"CPU": 1.0, "TPU": 4.0, "accelerator_type:TPU-V6E": 0.001}


def test_the_token_is_not_shown():
    assert "hush" not in repr(settings(token="hush"))


def test_two_controllers_do_not_share_an_outbox(tmp_path):
    one, other = (settings(url=f"http://{name}", state_folder=tmp_path) for name in "ab")
    assert one.outbox_folder != other.outbox_folder


def test_a_search_s_id_cannot_lead_a_checkpoint_out_of_its_folder(tmp_path):
    found = settings(state_folder=tmp_path)
    folder = found.checkpoint_folder(make_lease(search_id="../../etc"))
    assert folder.parent == found.checkpoints_folder


def test_worker_ids_are_never_used_twice():
    assert settings().worker_id != settings().worker_id
