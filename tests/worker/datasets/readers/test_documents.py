"""Files of every kind as documents; what cannot be read is one sentence with its place."""

import bz2
import gzip
import io
import json
import lzma
import os
import sys
import threading

import pytest

from brainformer.search.errors import InvalidData
from brainformer.worker.datasets.readers.documents import read_documents
from brainformer.worker.datasets.readers.sources import Format

ROWS = ["one", "two \u2028 lines\u2029to\x85 Python \x0b\x0c", "trois \N{PILE OF POO}"]
JSONL = "".join(json.dumps({"text": row}, ensure_ascii=False) + "\n" for row in ROWS).encode()


def write(folder, name, content):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def read(*paths, **options):
    return list(read_documents(paths, **options))


def refusal(*paths, **options):
    with pytest.raises(InvalidData) as caught:
        read(*paths, **options)
    assert "\n" not in caught.value.message
    return caught.value.message


@pytest.mark.parametrize(
    "name", ["a.jsonl", "a.JSONL", "a.ndjson", "a.jsonlines", "a.v2.jsonl", "A.NDJSON"]
)
def test_json_lines_end_at_newlines_alone_whatever_the_file_is_called(name, tmp_path):
    assert read(write(tmp_path, name, JSONL)) == ROWS


@pytest.mark.parametrize(
    ("suffix", "pack"),
    [
        (".gz", gzip.compress),
        (".bz2", bz2.compress),
        (".xz", lzma.compress),
        (".GZ", gzip.compress),
    ],
)
def test_compressed_files_are_read_as_what_they_hold(suffix, pack, tmp_path):
    rows = write(tmp_path, "a.jsonl" + suffix, pack(JSONL))
    text = write(tmp_path, "b.txt" + suffix, pack(b"plain"))
    bare = write(tmp_path, "c" + suffix, pack(b"bare"))
    assert read(rows, text, bare) == [*ROWS, "plain", "bare"]


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("damage", [lambda data: data[:-6], lambda data: b"\0" * len(data)])
def test_a_damaged_compressed_file_is_named(pack, damage, tmp_path):
    suffix = {gzip.compress: ".gz", bz2.compress: ".bz2", lzma.compress: ".xz"}[pack]
    path = write(tmp_path, f"a.jsonl{suffix}", damage(pack(JSONL * 100)))
    told = refusal(path)
    assert str(path) in told
    assert f"not a sound {suffix} file" in told


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path):
    mark = b"\xef\xbb\xbf"
    rows = write(tmp_path, "a.jsonl", mark + JSONL)
    text = write(tmp_path, "a.txt", mark + b"plain" + mark)
    assert read(rows, text) == [*ROWS, "plain\ufeff"]


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-be"])
def test_utf_16_is_named_as_such(codec, tmp_path):
    content = "\ufeff".encode("utf-16-be") if codec == "utf-16-be" else b""
    path = write(tmp_path, "a.txt", content + "plain".encode(codec))
    assert "is UTF-16; turn it into UTF-8" in refusal(path)


def test_a_folder_stands_for_the_files_below_it_in_their_order(tmp_path):
    write(tmp_path, "set/b/2.txt", b"second")
    write(tmp_path, "set/b/1.txt", b"first")
    write(tmp_path, "set/c.jsonl", JSONL)
    write(tmp_path, "set/.git/config", b"hidden")
    write(tmp_path, "set/.hidden", b"hidden")
    assert read(tmp_path / "set") == ["first", "second", *ROWS]


def test_an_empty_folder_and_a_missing_file_are_named(tmp_path):
    (tmp_path / "empty").mkdir()
    assert "the folder holds no files" in refusal(tmp_path / "empty")
    assert "there is no such file" in refusal(tmp_path / "missing.txt")
    assert "neither a file nor a folder" in refusal(type(tmp_path)("/dev/null"))


def test_standard_input_is_read_once_its_format_is_told(tmp_path, monkeypatch):
    dash = type(tmp_path)("-")
    assert "add --format text or --format jsonl" in refusal(dash)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(JSONL)))
    assert read(dash, format=Format.JSONL) == ROWS
    assert "standard input: a Parquet file must be a plain file" in refusal(
        dash, format=Format.PARQUET
    )


def test_a_named_pipe_is_read_once_its_format_is_told(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert "add --format" in refusal(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(JSONL,))
    writer.start()
    assert read(pipe, format=Format.JSONL) == ROWS
    writer.join()


@pytest.mark.parametrize("name", ["a.json", "a.csv", "a.zst", "a.jsonl.zst", "a.tar.gz", "a.ZIP"])
def test_files_whose_syntax_would_be_trained_on_are_refused(name, tmp_path):
    path = write(tmp_path, name, b"{}")
    assert "files are not read; " in refusal(path)


def test_a_format_that_is_told_goes_before_the_name(tmp_path):
    assert read(write(tmp_path, "a.json", b'{"a": 1}'), format=Format.TEXT) == ['{"a": 1}']
    assert read(write(tmp_path, "part-00", JSONL), format=Format.JSONL) == ROWS


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        (rb'{"text": "\ud800"}', "half a surrogate pair"),
        (rb'{"text": "a\udc00\ud800"}', "half a surrogate pair"),
        (b'{"text": "x", "n": ' + b"9" * 5000 + b"}", "number too long to be read"),
        (b'{"text": ' + b"[" * 100_000 + b"}", "nested too deep"),
        (b'{"a":' * 100_000, "nested too deep"),
        (b'{"text": null}', "needs a string under 'text'"),
        (b'{"text": ["x"]}', "needs a string under 'text'"),
        (b'"text"', "needs a string under 'text'"),
        (b"{'text': 'x'}", "is not JSON"),
        (b"\xff", "must be UTF-8"),
        (b"\xed\xa0\x80", "must be UTF-8"),
    ],
)
def test_whatever_is_wrong_with_a_row_is_one_sentence_with_file_and_line(line, rule, tmp_path):
    path = write(tmp_path, "a.jsonl", JSONL + b"\n" + line + b"\n")
    told = refusal(path)
    assert f"{path}: line 5 " in told
    assert rule in told


def test_a_pair_of_surrogates_is_a_character(tmp_path):
    path = write(tmp_path, "a.jsonl", rb'{"text": "\ud83d\udca9"}')
    assert read(path) == ["\N{PILE OF POO}"]


def test_a_long_line_is_refused_before_it_is_read_whole(tmp_path):
    path = write(tmp_path, "a.jsonl", b'{"text": "' + b"x" * 5000)
    told = refusal(path, max_bytes=1024)
    assert "line 1 has more than" in told
    path = write(tmp_path, "b.jsonl", b'{"text": "' + b"x" * 1500 + b'"}\n')
    assert "line 1 has more than" in refusal(path, max_bytes=1024)
    assert read(path, max_bytes=1500) == ["x" * 1500]


def test_a_large_text_file_is_told_to_be_one_document(tmp_path):
    told = refusal(write(tmp_path, "a.txt", b"x" * 1025), max_bytes=1024)
    assert "a text file is one document" in told
    assert "--max-document-mib" in told


def test_a_bomb_is_refused_without_the_memory_that_it_wants(tmp_path):
    million = b'{"text": "' + b"x" * 2**20 + b'"}\n'
    path = tmp_path / "bomb.jsonl.gz"
    with gzip.open(path, "wb", compresslevel=9) as file:
        for _ in range(300):
            file.write(million)
    documents = read_documents([path])
    for _ in range(200):
        next(documents)
    with pytest.raises(InvalidData, match="expand to more than 200 times"):
        list(documents)


def test_an_unreadable_file_is_named(tmp_path, monkeypatch):
    path = write(tmp_path, "a.txt", b"x")

    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(path), "open", denied)
    assert refusal(path) == f"{path}: cannot be read: Permission denied"
