import threading

import jax
import pytest

from brainformer.search.errors import InvalidData
from brainformer.search.space.genome import parse_genome
from brainformer.search.trials.lease_messages import Directive
from brainformer.search.trials.trial import Outcome
from brainformer.worker.datasets.catalogue import open_dataset
from brainformer.worker.datasets.preparation import prepare_dataset
from brainformer.worker.training import proxy_training
from brainformer.worker.training.evaluation_program import forget_pieces
from brainformer.worker.training.proxy_training import train_proxy
from tests.worker.leases import GENOME
from tests.worker.leases import make_lease as lease


@pytest.fixture(scope="module")
def data():
    return open_dataset("python-stdlib")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compiled")
    yield folder
    jax.config.update("jax_compilation_cache_dir", None)


def agree(progress):
    return Directive(action="continue")


@pytest.fixture
def train(data, cache):
    def run(the_lease=None, on_progress=agree, **options):
        return train_proxy(
            the_lease or lease(), on_progress=on_progress, data=data, cache_folder=cache, **options
        )

    return run


def test_a_completed_trial_measures_everything(train):
    reports = []

    def note(progress):
        reports.append(progress)
        return Directive(action="continue")

    result = train(lease(inference_time=True), on_progress=note)
    m = result.measurements
    assert result.outcome is Outcome.COMPLETED
    assert [point.fraction for point in m.curve] == [0.25, 0.5, 0.75, 1.0]
    assert [report.point.fraction for report in reports] == [0.25, 0.5, 0.75]
    assert all(report.step_time_ms > 0 for report in reports)
    assert m.curve[-1].validation_loss == m.validation_loss < 5.5
    assert m.bits_per_byte == pytest.approx(m.validation_loss / 0.6931472, rel=1e-5)
    assert m.tokens == m.steps * 8 * 16
    assert m.clock == "calibrated"
    assert sum(m.expert_load) == pytest.approx(1.0, abs=1e-3)
    assert 0 < m.training_seconds < m.elapsed_seconds
    assert m.utilisation == pytest.approx(m.training_seconds / m.occupied_seconds, rel=1e-6)
    for name in (
        "step_time_ms",
        "inference_time_ms",
        "compile_seconds",
        "parameters",
        "activated_parameters",
        "peak_memory_bytes",
        "estimated_memory_bytes",
        "gradient_norm",
        "contention",
    ):
        assert getattr(m, name) > 0, name
    assert 0.3 < m.evaluation_experts < 2, "expert choice promises one"
    assert 0 <= m.evaluation_drop_fraction < 1
    assert 0 < abs(m.routing_gap) < 0.5
    quiet = 0.2 / (m.step_time_ms / 1e3)
    assert m.calibration_lost_steps == pytest.approx(quiet - m.steps, abs=1)


def test_two_choices_of_each_token_are_two_experts_and_nothing_is_dropped(train):
    layers = [layer.model_dump() for layer in GENOME.layers]
    layers[1]["gating"] = "top_2"
    chosen = parse_genome({"model_dim": 16, "layers": layers})
    m = train(lease(genome=chosen), recorded_steps=20).measurements
    assert m.evaluation_experts == pytest.approx(2)
    assert m.evaluation_drop_fraction == 0
    assert m.routing_gap is not None
    assert m.calibration_lost_steps is None, "nothing was decided by a calibration"


def test_a_block_without_experts_has_no_gap(train):
    plain = parse_genome({"model_dim": 16, "layers": [GENOME.layers[0].model_dump()]})
    m = train(lease(genome=plain), recorded_steps=20).measurements
    assert (m.routing_gap, m.evaluation_experts, m.evaluation_drop_fraction) == (None, None, None)


def test_recorded_steps_reproduce_a_trial_bit_for_bit(train):
    first = train().measurements
    again = train(recorded_steps=first.steps).measurements
    assert again.steps == first.steps
    assert [p.validation_loss for p in again.curve] == [p.validation_loss for p in first.curve]
    assert [p.training_loss for p in again.curve][-1] == pytest.approx(
        first.curve[-1].training_loss, rel=0.2
    )
    other = train(lease(seed=6), recorded_steps=first.steps).measurements
    assert other.validation_loss != first.validation_loss


def test_one_state_is_held_at_a_time(train, monkeypatch):
    compiled, held, sizes = proxy_training.compile_lease, [], []

    def compile_lease(*given, **options):
        program = compiled(*given, **options)
        sizes.append(
            sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(program.shapes))
        )

        def initial():
            held.append(sum(array.nbytes for array in jax.live_arrays()))
            return program.initial()

        return program._replace(initial=initial)

    monkeypatch.setattr(proxy_training, "compile_lease", compile_lease)
    train(lease(), recorded_steps=2)
    warming_up, training = held
    assert training - warming_up < sizes[0] / 2


def test_wall_clock_spends_its_budget(train):
    m = train(lease(proxy={"clock": "wall"})).measurements
    assert m.clock == "wall"
    assert 0.2 <= m.training_seconds < 0.3
    assert m.steps > 4


def test_one_step_is_enough_for_every_fraction(train):
    m = train(recorded_steps=1).measurements
    assert m.steps == 1
    assert len(m.curve) == 4


@pytest.mark.parametrize(
    ("told", "outcome"),
    [
        (Outcome.PRUNED, Outcome.PRUNED),
        (Outcome.INFEASIBLE, Outcome.INFEASIBLE),
        (Outcome.CANCELLED, Outcome.CANCELLED),
        (None, Outcome.PRUNED),
    ],
)
def test_a_stop_directive_is_obeyed_with_its_reason(train, told, outcome):
    directive = Directive(action="stop", outcome=told, reason="infeasible, as words go")
    result = train(on_progress=lambda p: directive, recorded_steps=40)
    assert result.outcome is outcome
    assert result.message == "infeasible, as words go"
    assert result.measurements.steps == 10
    assert len(result.measurements.curve) == 1


def test_a_diverged_trial_is_a_result(train):
    result = train(
        lease(proxy={"peak_learning_rate": 1e30, "warmup_fraction": 0}), recorded_steps=50
    )
    assert result.outcome is Outcome.DIVERGED
    assert "loss is" in result.message
    assert result.measurements.validation_loss is None
    assert result.measurements.steps <= 50


def test_what_does_not_fit_is_refused_before_training(train, monkeypatch):
    monkeypatch.setattr(proxy_training, "memory_limit_bytes", lambda device: 1000)
    result = train()
    assert result.outcome is Outcome.OUT_OF_MEMORY
    assert "GiB" in result.message
    assert result.measurements.steps is None
    assert result.measurements.estimated_memory_bytes > 1000


def test_a_preempted_trial_resumes_where_it_stood(train, tmp_path):
    whole = train(recorded_steps=40).measurements
    stop = threading.Event()

    def stop_at_half(progress):
        if progress.point.fraction == 0.5:
            stop.set()
        return Directive(action="continue")

    folder = tmp_path / "trial-1"
    first = train(on_progress=stop_at_half, recorded_steps=40, stop=stop, checkpoint_folder=folder)
    assert first.outcome is Outcome.PREEMPTED
    assert first.measurements.steps == 20
    second = train(checkpoint_folder=folder)
    assert second.outcome is Outcome.COMPLETED
    assert second.measurements.steps == 40
    assert second.measurements.validation_loss == whole.validation_loss
    assert len(second.measurements.curve) == 4
    assert second.measurements.training_seconds > first.measurements.training_seconds
    assert not folder.exists()


def test_a_checkpoint_of_another_seed_is_not_resumed(train, tmp_path):
    stop = threading.Event()
    stop.set()
    train(recorded_steps=40, stop=stop, checkpoint_folder=tmp_path)
    result = train(lease(seed=9), recorded_steps=12, checkpoint_folder=tmp_path)
    assert result.measurements.steps == 12


@pytest.fixture
def traced_anew():
    """Forgets what was traced before and in the test: a patched model must be traced itself."""
    jax.clear_caches()
    forget_pieces()
    yield
    jax.clear_caches()
    forget_pieces()


@pytest.mark.usefixtures("traced_anew")
def test_a_leaking_genome_fails_with_the_reason(train, monkeypatch):
    from brainformer.model.experts import moe, router

    def within_rows(probabilities, cutoff):
        length = probabilities.shape[0] // 8
        rows = probabilities.reshape(8, length, -1)
        best = jax.numpy.max(rows, axis=1, keepdims=True)  # looks at later tokens of the row
        return jax.numpy.where(rows == best, rows, 0.0).reshape(probabilities.shape)

    assert router.threshold_gates is moe.threshold_gates
    monkeypatch.setattr(moe, "threshold_gates", within_rows)
    result = train(recorded_steps=20)
    assert result.outcome is Outcome.LEAKS_FUTURE
    assert "leaks the future" in result.message
    assert result.measurements.validation_loss > 0


@pytest.mark.slow
def test_the_labelled_reproduction_of_the_paper_s_rule_is_not_failed(train):
    result = train(lease(proxy={"routing": "paper"}), recorded_steps=2)
    assert result.outcome is Outcome.COMPLETED


def test_data_that_does_not_fit_is_named(cache, tmp_path):
    path = tmp_path / "tiny.jsonl"
    path.write_text("\n".join(f'{{"text": "document {i}"}}' for i in range(40)))
    prepare_dataset("tiny", [path], folder=tmp_path / "sets", validation_share=0.4)
    with pytest.raises(InvalidData, match="one batch"):
        train_proxy(
            lease(proxy={"batch_size": 512}),
            on_progress=agree,
            data=open_dataset("tiny", tmp_path / "sets"),
            cache_folder=cache,
        )


def test_an_unexpected_error_is_not_swallowed(train):
    def broken(progress):
        raise RuntimeError("the wire is cut")

    with pytest.raises(RuntimeError, match="the wire is cut"):
        train(on_progress=broken, recorded_steps=4)
