import jax
import pytest

from tests.worker.pretraining.runs import trained
from tests.worker.training_data import data_folder, subwords

__all__ = ["data_folder", "subwords"]


@pytest.fixture(scope="module")
def cache_folder(tmp_path_factory: pytest.TempPathFactory):
    yield tmp_path_factory.mktemp("compiled")
    jax.config.update("jax_compilation_cache_dir", None)


@pytest.fixture
def train(data_folder, cache_folder):
    def run(place, **options):
        options = {"data_folder": data_folder, "cache_folder": cache_folder} | options
        return trained(place, **options)

    return run
