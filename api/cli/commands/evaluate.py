"""`brainformer eval`: bits a byte of a trained model on the splits of a data set."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from brainformer.api.cli.terminal.options import AsJson, DataFolder, OwnTokenizer, TrainedFolder
from brainformer.api.cli.terminal.output import print_json, say, stdout, table
from brainformer.api.cli.terminal.worker_packages import require_worker_packages
from brainformer.search.counted import counted

if TYPE_CHECKING:
    from brainformer.worker.trained.evaluation import Score


class SplitChoice(StrEnum):
    """Splits of a data set."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


def evaluate(
    checkpoint: TrainedFolder,
    data: Annotated[
        str | None,
        typer.Option(help="A data set's id; the model's own by default.", show_default=False),
    ] = None,
    split: Annotated[
        list[SplitChoice] | None,
        typer.Option(
            help="train, validation or test; repeatable. Without it, validation and test.",
            show_default=False,
        ),
    ] = None,
    tokens: Annotated[
        str | None,
        typer.Option(
            help="About so many tokens of each split, evenly spaced: 1M; without it, all.",
            show_default=False,
        ),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Windows read together.")] = 16,
    tokenizer: OwnTokenizer = None,
    data_folder: DataFolder = None,
    as_json: AsJson = False,
) -> None:
    """Judge a model by whole splits: bits a byte, with the standard error over documents.

    The test split is for this command and for promotions; no search reads it.
    """
    require_worker_packages("jax", "flax")
    from brainformer.api.cli.searches.targets import parse_count
    from brainformer.worker.datasets.catalogue import open_dataset
    from brainformer.worker.trained.evaluation import Evaluator
    from brainformer.worker.trained.trained_model import read_trained

    most = None if tokens is None else parse_count(tokens)
    found = read_trained(checkpoint)
    opened = open_dataset(data or found.model.proxy.dataset, data_folder)
    found.check_reads(opened)
    words = found.tokenizer_for(opened, tokenizer)
    chosen = list(split or ())
    if not chosen:
        chosen = [SplitChoice.VALIDATION]
        chosen += [] if opened.test is None else [SplitChoice.TEST]
    say(f"{found.folder} on {opened.manifest.id}")
    length = found.model.proxy.sequence_length
    reader = Evaluator(found.model.decoder(), length=length, batch_size=batch_size)
    scores = [
        reader.score(opened, name.value, tokenizer=words, most_tokens=most) for name in chosen
    ]
    if as_json:
        print_json(
            {
                "checkpoint": str(found.folder),
                "data": opened.manifest.id,
                "data_hash": opened.manifest.hash,
                "steps": found.model.provenance.steps,
                "splits": {one.split: _plain(one) for one in scores},
            }
        )
        return
    columns = (
        "split",
        "bits a byte>",
        "standard error>",
        "nats a token>",
        "tokens>",
        "drawn again",
    )
    stdout().print(table(columns, [_row(one) for one in scores]))


def _plain(score: Score) -> dict[str, object]:
    from dataclasses import asdict

    return {name: value for name, value in asdict(score).items() if name != "split"}


def _row(score: Score) -> tuple[str, ...]:
    error = "-" if score.standard_error is None else f"{score.standard_error:.4f}"
    return (
        score.split,
        f"{score.bits_per_byte:.4f}",
        error,
        f"{score.loss:.4f}",
        f"{score.tokens:,}",
        counted(score.units, score.unit),
    )
