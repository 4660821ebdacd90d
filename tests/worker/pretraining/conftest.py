from pathlib import Path

import jax
import pytest

from tests.worker.pretraining.runs import prepared, trained


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared(tmp_path_factory.mktemp("data"))


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
