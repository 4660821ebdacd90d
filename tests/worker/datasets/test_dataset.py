import json
import random

import numpy as np
import pytest

from brainformer.search.errors import InvalidData, NotFound
from brainformer.worker.datasets.catalogue import list_datasets, open_dataset
from brainformer.worker.datasets.manifest import token_dtype
from brainformer.worker.datasets.preparation import prepare_dataset, write_dataset
from brainformer.worker.datasets.splits import Shares
from brainformer.worker.datasets.tokenizers import ByteTokenizer

WORDS = ["déjà", "vu", "again", "and"] + [f"word{number}" for number in range(90)]
TEXT = [
    f"Document {i}: " + " ".join(random.Random(i).choices(WORDS, k=25 + 5 * (i % 7)))
    for i in range(60)
]
SPLITS = ("train", "validation", "test")


@pytest.fixture
def jsonl(tmp_path):
    path = tmp_path / "documents.jsonl"
    path.write_text("\n".join(json.dumps({"text": text}) for text in TEXT), "utf-8")
    return path


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "datasets"


def prepare(jsonl, folder, **options):
    return prepare_dataset("mine", [jsonl], folder=folder, validation_share=0.2, **options)


def test_every_byte_of_every_document_arrives(jsonl, folder):
    manifest = prepare(jsonl, folder)
    total = sum(len(text.encode()) + 1 for text in TEXT)
    assert manifest.train_tokens + manifest.validation_tokens + manifest.test_tokens == total
    assert manifest.documents == len(TEXT)
    assert manifest.bytes_per_token == 1.0
    shard = np.load(folder / "mine" / "train-00000.npy")
    documents = bytes(shard).split(b"\x00")[:-1]
    assert set(documents) < {text.encode() for text in TEXT}


def test_splits_do_not_share_a_document(jsonl, folder):
    prepare(jsonl, folder)
    train, validation, test = (
        set(bytes(np.load(folder / "mine" / f"{name}-00000.npy")).split(b"\x00")) - {b""}
        for name in SPLITS
    )
    assert train.isdisjoint(validation)
    assert test.isdisjoint(train | validation)
    assert len(train) + len(validation) + len(test) == len(TEXT)


def test_same_files_give_the_same_hash(jsonl, folder, tmp_path):
    assert prepare(jsonl, folder).hash == prepare(jsonl, tmp_path / "other").hash


def test_batches_are_the_same_for_the_same_seed_and_step(jsonl, folder):
    prepare(jsonl, folder, shard_tokens=1000)
    train = open_dataset("mine", folder).train
    one = train.batch(seed=3, step=7, batch_size=4, length=33)
    assert one.shape == (4, 33)
    assert one.dtype == np.int32
    assert np.array_equal(one, train.batch(seed=3, step=7, batch_size=4, length=33))
    assert not np.array_equal(one, train.batch(seed=3, step=8, batch_size=4, length=33))
    assert not np.array_equal(one, train.batch(seed=4, step=7, batch_size=4, length=33))


def test_windows_reach_every_shard_and_never_cross_one(jsonl, folder):
    manifest = prepare(jsonl, folder, shard_tokens=1000)
    assert len(manifest.train) > 3
    shards = [np.load(folder / "mine" / shard.file) for shard in manifest.train]
    windows = open_dataset("mine", folder).train.batch(seed=0, step=0, batch_size=400, length=50)
    texts = [bytes(shard) for shard in shards]
    homes = [
        next(i for i, t in enumerate(texts) if bytes(w.astype(np.uint8)) in t) for w in windows
    ]
    assert set(homes) == set(range(len(shards)))


def test_fixed_windows_span_the_split_from_first_to_last_token(jsonl, folder):
    prepare(jsonl, folder)
    split = open_dataset("mine", folder).validation
    tokens = np.load(folder / "mine" / "validation-00000.npy")
    windows = split.fixed_windows(count=5, length=20)
    assert np.array_equal(windows[0], tokens[:20])
    assert np.array_equal(windows[-1], tokens[-20:])


def test_text_files_are_one_document_each(folder, tmp_path):
    paths = []
    for i, text in enumerate(TEXT):
        paths.append(tmp_path / f"{i:02d}.txt")
        paths[-1].write_text(text, "utf-8")
    manifest = prepare_dataset("mine", paths, folder=folder, validation_share=0.2)
    assert manifest.documents == len(TEXT)


def test_parquet_equals_jsonl(jsonl, folder, tmp_path):
    import pyarrow
    from pyarrow import parquet

    path = tmp_path / "documents.parquet"
    parquet.write_table(pyarrow.table({"text": TEXT}), path)
    other = prepare_dataset("other", [path], folder=folder, validation_share=0.2)
    assert other.hash == prepare(jsonl, folder).hash


def test_hugging_face_tokenizer(jsonl, folder, tmp_path):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    library = Tokenizer(models.BPE(unk_token="[UNK]"))
    library.pre_tokenizer = pre_tokenizers.ByteLevel()
    library.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["[UNK]", "</s>"]
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=special, initial_alphabet=alphabet)
    library.train_from_iterator(TEXT, trainer)
    library.save(str(tmp_path / "tokenizer.json"))
    manifest = prepare(jsonl, folder, tokenizer=str(tmp_path / "tokenizer.json"))
    assert manifest.tokenizer == "huggingface"
    assert manifest.vocab_size == library.get_vocab_size()
    assert manifest.bytes_per_token > 2
    shard = np.load(folder / "mine" / "train-00000.npy")
    first = shard[: np.argmax(shard == library.token_to_id("</s>"))]
    assert library.decode(list(first)).strip() in {text.strip() for text in TEXT}


@pytest.fixture
def gapped_tokenizer(tmp_path):
    """A tokenizer of few tokens, one of which has a number far beyond their count."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = {
        word: number
        for number, word in enumerate(["[UNK]", "</s>", *WORDS, ":", "<", "/", "s", ">"])
    }
    library = Tokenizer(models.WordLevel(words | {"Document": 300}, unk_token="[UNK]"))
    library.pre_tokenizer = pre_tokenizers.Whitespace()
    library.add_special_tokens(["[UNK]", "</s>"])
    path = tmp_path / "tokenizer.json"
    library.save(str(path))
    return path


def stored_tokens(folder):
    return np.concatenate([np.load(path) for path in sorted((folder / "mine").glob("*.npy"))])


def test_token_numbers_beyond_their_count_are_stored_as_they_are(jsonl, folder, gapped_tokenizer):
    manifest = prepare(jsonl, folder, tokenizer=str(gapped_tokenizer))
    assert manifest.vocab_size == 301
    assert int((stored_tokens(folder) == 300).sum()) == len(TEXT)
    assert open_dataset("mine", folder).manifest == manifest


def test_truncation_and_padding_saved_with_a_tokenizer_do_not_cut_documents(
    jsonl, folder, gapped_tokenizer, tmp_path
):
    from tokenizers import Tokenizer

    whole = prepare(jsonl, folder, tokenizer=str(gapped_tokenizer))
    library = Tokenizer.from_file(str(gapped_tokenizer))
    library.enable_truncation(8)
    library.enable_padding(length=64)
    library.save(str(gapped_tokenizer))
    again = prepare(jsonl, tmp_path / "other", tokenizer=str(gapped_tokenizer))
    assert [shard.sha256 for shard in again.train] == [shard.sha256 for shard in whole.train]


def test_text_does_not_become_a_control_token(folder, gapped_tokenizer, tmp_path):
    path = tmp_path / "documents.jsonl"
    rows = [{"text": f"and </s> {text}"} for text in TEXT]
    path.write_text("\n".join(json.dumps(row) for row in rows), "utf-8")
    prepare(path, folder, tokenizer=str(gapped_tokenizer))
    ends = int((stored_tokens(folder) == 1).sum())
    assert ends == len(rows)  # one at the end of each document, none of its text


def test_a_token_outside_the_vocabulary_is_refused(jsonl, folder):
    class Damaged(ByteTokenizer):
        vocab_size = 100

    with pytest.raises(InvalidData, match="outside its vocabulary of 100"):
        write_dataset("mine", TEXT, tokenizer=Damaged(), shares=Shares(0.2, 0.2), folder=folder)
    assert not (folder / "mine").exists()


def test_sentencepiece_tokenizer(jsonl, folder, tmp_path):
    import sentencepiece

    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT),
        model_prefix=str(tmp_path / "sp"),
        vocab_size=38,
        minloglevel=9,
    )
    manifest = prepare(jsonl, folder, tokenizer=str(tmp_path / "sp.model"))
    assert manifest.tokenizer == "sentencepiece"
    assert manifest.bytes_per_token > 1.2
    assert open_dataset("mine", folder).manifest == manifest


def test_a_truncated_shard_is_named(jsonl, folder):
    prepare(jsonl, folder)
    shard = folder / "mine" / "train-00000.npy"
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(InvalidData, match=r"train-00000\.npy: the shard is corrupt or truncated"):
        open_dataset("mine", folder)


def test_a_changed_byte_is_noticed(jsonl, folder):
    prepare(jsonl, folder)
    shard = folder / "mine" / "validation-00000.npy"
    data = bytearray(shard.read_bytes())
    data[-5] ^= 1
    shard.write_bytes(bytes(data))
    with pytest.raises(InvalidData, match=r"validation-00000\.npy: its content's hash"):
        open_dataset("mine", folder)


def test_a_missing_shard_is_named(jsonl, folder):
    prepare(jsonl, folder)
    (folder / "mine" / "train-00000.npy").unlink()
    with pytest.raises(InvalidData, match="missing"):
        open_dataset("mine", folder)


def test_a_manifest_whose_hash_differs_is_refused(jsonl, folder):
    prepare(jsonl, folder)
    path = folder / "mine" / "manifest.json"
    data = json.loads(path.read_text())
    data["hash"] = "0" * 64
    path.write_text(json.dumps(data))
    with pytest.raises(InvalidData, match="hash"):
        open_dataset("mine", folder)


def test_a_manifest_cannot_point_outside_its_folder(jsonl, folder):
    prepare(jsonl, folder)
    path = folder / "mine" / "manifest.json"
    path.write_text(path.read_text().replace("train-00000.npy", "../../secret.npy"))
    with pytest.raises(InvalidData, match="pattern"):
        open_dataset("mine", folder)


@pytest.mark.parametrize(
    ("name", "content", "rule"),
    [
        ("a.txt", b"caf\xe9", "must be UTF-8; byte 3"),
        ("a.jsonl", b'{"text": "x"}\n\xff\n', "line 2 must be UTF-8"),
        ("a.jsonl", b'{"text": "x"}\n{"text": \n', "line 2 is not JSON"),
        ("a.jsonl", b'{"body": "x"}\n', "line 1 needs a string under 'text'"),
        ("a.jsonl", b"[1, 2]\n", "line 1 needs a string"),
        ("a.parquet", b"PAR1 nonsense", "not a readable Parquet file"),
    ],
)
def test_a_broken_file_is_named_and_leaves_nothing_behind(name, content, rule, folder, tmp_path):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InvalidData, match=rule) as caught:
        prepare_dataset("mine", [path], folder=folder)
    assert str(path) in caught.value.message
    assert list(folder.iterdir()) == []


def test_a_failed_preparation_keeps_the_old_data_set(jsonl, folder, tmp_path):
    before = prepare(jsonl, folder)
    bad = tmp_path / "bad.txt"
    bad.write_bytes(b"\xff")
    with pytest.raises(InvalidData):
        prepare_dataset("mine", [bad], folder=folder)
    assert open_dataset("mine", folder).manifest == before


def test_one_document_cannot_fill_two_splits_and_what_would_is_said(folder, tmp_path):
    path = tmp_path / "one.txt"
    path.write_text("only one")
    with pytest.raises(InvalidData, match=r"split is empty.* JSONL with a document a line"):
        prepare_dataset("mine", [path], folder=folder)


def test_fewer_tokens_than_one_batch_are_refused(jsonl, folder):
    prepare(jsonl, folder)
    dataset = open_dataset("mine", folder)
    dataset.check_fits(vocab_size=256, batch_size=4, length=65)
    with pytest.raises(InvalidData, match="one batch of 512 x 1025 tokens"):
        dataset.check_fits(vocab_size=256, batch_size=512, length=1025)
    with pytest.raises(InvalidData, match="vocab_size"):
        dataset.check_fits(vocab_size=100, batch_size=4, length=65)
    with pytest.raises(InvalidData, match="shard of at least"):
        dataset.validation.fixed_windows(count=1, length=10**6)


@pytest.mark.parametrize("name", ["nothing-here", "../datasets/mine", "..", "/etc"])
def test_an_unknown_data_set_is_not_found(name, jsonl, folder):
    prepare(jsonl, folder)
    with pytest.raises(NotFound, match="mine"):
        open_dataset(name, folder)


@pytest.mark.parametrize("name", ["", "UPPER", "../x", "python-stdlib"])
def test_an_impossible_id_is_refused(name, jsonl, folder):
    with pytest.raises(InvalidData):
        prepare_dataset(name, [jsonl], folder=folder)


def test_damaged_data_sets_are_left_out_of_the_list(jsonl, folder):
    prepare(jsonl, folder)
    (folder / "broken").mkdir()
    (folder / "broken" / "manifest.json").write_text("{}")
    assert [manifest.id for manifest in list_datasets(folder)] == ["mine"]


def test_the_standard_library_is_always_there(folder):
    dataset = open_dataset("python-stdlib", folder)
    assert dataset.manifest.train_tokens > 5_000_000
    assert dataset.manifest.validation_tokens > 200_000
    assert dataset.manifest.vocab_size == 256
    text = bytes(dataset.train.batch(seed=0, step=0, batch_size=50, length=200).astype(np.uint8))
    assert b"def " in text
    before = (folder / "python-stdlib" / "manifest.json").stat().st_mtime_ns
    assert open_dataset("python-stdlib", folder).manifest == dataset.manifest
    assert (folder / "python-stdlib" / "manifest.json").stat().st_mtime_ns == before


def test_tokens_take_no_more_bytes_than_they_need():
    assert [token_dtype(size).itemsize for size in (256, 257, 65_536, 65_537)] == [1, 2, 2, 4]
