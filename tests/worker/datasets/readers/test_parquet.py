"""Parquet files: strings of every kind, rows named, memory bounded."""

import subprocess
import sys

import pyarrow
import pytest
from pyarrow import parquet

from brainformer.search.errors import InvalidData
from brainformer.worker.datasets.readers.documents import read_documents

MEASURE = """
import resource, sys
from pathlib import Path
from brainformer.search.errors import InvalidData
from brainformer.worker.datasets.readers.documents import read_documents
import pyarrow.parquet
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    for _ in read_documents([Path(sys.argv[1])]):
        pass
except InvalidData as error:
    print(error.message)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def write(folder, **columns):
    path = folder / "rows.parquet"
    parquet.write_table(pyarrow.table(columns), path, compression="zstd")
    return path


def refusal(path, **options):
    with pytest.raises(InvalidData) as caught:
        list(read_documents([path], **options))
    assert "\n" not in caught.value.message
    return caught.value.message


def measured(path) -> tuple[str, int]:
    """Returns what was said and the MiB that reading took."""
    ended = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=True
    )
    *said, grown = ended.stdout.splitlines()
    return " ".join(said), int(grown)


@pytest.mark.parametrize(
    "kind",
    [
        pyarrow.string(),
        pyarrow.large_string(),
        pyarrow.string_view(),
        pyarrow.dictionary(pyarrow.int32(), pyarrow.string()),
    ],
    ids=str,
)
def test_strings_of_every_kind_are_documents(kind, tmp_path):
    texts = ["one", "", "two\u2028", "one"]
    path = write(tmp_path, other=[{"a": 1}] * 4, text=pyarrow.array(texts).cast(kind))
    assert list(read_documents([path])) == texts


def test_a_row_without_text_is_named_by_its_number_in_the_file(tmp_path):
    path = tmp_path / "rows.parquet"
    table = pyarrow.table({"text": ["x"] * 1700 + [None] + ["x"] * 5})
    parquet.write_table(table, path, row_group_size=500)
    assert "row 1701 has no text in column 'text'" in refusal(path)


@pytest.mark.parametrize("values", [[1, 2], [b"x"], [["x"]], [{"text": "x"}]])
def test_a_column_of_another_type_is_refused_with_its_type(values, tmp_path):
    assert "column 'text' must hold strings, not " in refusal(write(tmp_path, text=values))


def test_a_missing_column_is_named_beside_those_that_there_are(tmp_path):
    told = refusal(write(tmp_path, body=["x"], n=[1]))
    assert "needs a column 'text'; it has ['body', 'n']" in told


def test_text_that_is_not_utf_8_is_named_by_its_row(tmp_path):
    raw = pyarrow.array([b"fine", b"caf\xe9"], pyarrow.binary())
    path = tmp_path / "rows.parquet"
    strings = pyarrow.StringArray.from_buffers(2, raw.buffers()[1], raw.buffers()[2])
    parquet.write_table(pyarrow.table({"text": strings}), path)
    assert "row 2 must be UTF-8" in refusal(path)


def test_a_row_larger_than_a_document_is_named(tmp_path):
    path = write(tmp_path, text=["x" * 100] * 50 + ["x" * 2000] + ["x"])
    assert "row 51 has more than" in refusal(path, max_bytes=1024)


def test_one_huge_row_is_refused_from_the_metadata_alone(tmp_path):
    told, mebibytes = measured(write(tmp_path, text=["a" * 200_000_000]))
    assert "a row among 1 to 1 has more than 16 MiB" in told
    assert mebibytes < 50


def test_a_huge_row_among_small_ones_takes_bounded_memory(tmp_path):
    told, mebibytes = measured(write(tmp_path, text=["x" * 99] * 5000 + ["a" * 200_000_000]))
    assert "row 5001 has more than 16 MiB" in told
    assert mebibytes < 1000


@pytest.mark.slow
def test_a_value_that_many_rows_share_is_in_memory_for_few_of_them(tmp_path):
    shared = pyarrow.DictionaryArray.from_arrays(
        pyarrow.array([0] * 1000, pyarrow.int32()), pyarrow.array(["a" * 10_000_000])
    )
    told, mebibytes = measured(write(tmp_path, text=shared))
    assert told == ""
    assert mebibytes < 300
