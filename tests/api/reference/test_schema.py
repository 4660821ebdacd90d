from pathlib import Path

import pytest

from tests.api.schema_run import schema_run


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_schemathesis_finds_nothing_with_all_checks(tmp_path: Path, database_url: str):
    # The whole run is benchmarks/fuzz.py.
    ended, log = schema_run(tmp_path, database_url, "--max-examples", "6", "--seed", "11")
    assert ended.returncode == 0, ended.stdout[-8000:]
    assert not [line for line in log if "traceback" in line]
