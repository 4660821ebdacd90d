"""`brainformer data`: prepare data sets on a worker's machine, list and show them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from brainformer.api.cli.terminal.group import Group
from brainformer.api.cli.terminal.options import AsJson
from brainformer.api.cli.terminal.output import (
    print_json,
    print_line,
    say,
    stdout,
    table,
)
from brainformer.api.cli.terminal.worker_packages import require_worker_packages
from brainformer.search.counted import counted
from brainformer.worker.datasets.readers.limits import DOCUMENT_BYTES, MEBIBYTE
from brainformer.worker.datasets.readers.sources import Format

app = typer.Typer(cls=Group, no_args_is_help=True, help="Data sets on this machine.")

Folder = Annotated[
    Path | None,
    typer.Option("--folder", help="Where data sets lie; per user by default.", show_default=False),
]


@app.command()
def prepare(
    dataset: Annotated[str, typer.Argument(metavar="ID", show_default=False)],
    files: Annotated[
        list[Path],
        typer.Argument(
            help="Text, JSON lines (.jsonl, .ndjson) or Parquet, the first two also .gz, .bz2 or "
            ".xz; a folder for all below it; - for standard input.",
            show_default=False,
        ),
    ],
    format: Annotated[  # noqa: A002 (the option's name)
        Format, typer.Option(help="Of all files; auto goes by each one's name.")
    ] = Format.AUTO,
    tokenizer: Annotated[
        str, typer.Option(help="bytes, a tokenizers .json or a SentencePiece .model.")
    ] = "bytes",
    end_token: Annotated[
        str | None,
        typer.Option(
            help="The tokenizer's token that ends a document, or none; by default what it says "
            "itself.",
            show_default=False,
        ),
    ] = None,
    text_field: Annotated[str, typer.Option(help="JSONL key or Parquet column.")] = "text",
    max_document_mib: Annotated[
        float, typer.Option(min=0.001, max=1024, help="Largest document, in MiB.")
    ] = DOCUMENT_BYTES / MEBIBYTE,
    validation_share: Annotated[
        float, typer.Option(min=0, max=1, help="Share of documents that a search judges by.")
    ] = 0.05,
    test_share: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Share of documents that no search reads, for promotions and eval; by default "
            "as large, 0 for none.",
            show_default=False,
        ),
    ] = None,
    folder: Folder = None,
    as_json: AsJson = False,
) -> None:
    """Turn files into token shards with a manifest; whole or not at all."""
    require_worker_packages("numpy")
    from brainformer.worker.datasets.preparation import prepare_dataset

    manifest = prepare_dataset(
        dataset,
        files,
        tokenizer=tokenizer,
        text_field=text_field,
        format=format,
        end_token=end_token,
        max_document_bytes=round(max_document_mib * MEBIBYTE),
        validation_share=validation_share,
        test_share=test_share,
        folder=folder,
    )
    if as_json:
        print_json(manifest.model_dump(mode="json"))
        return
    print_line(manifest.hash)
    say(
        f"{dataset}: {manifest.train_tokens:,} tokens to train on, "
        f"{manifest.validation_tokens:,} to validate on, {manifest.test_tokens:,} to test on, "
        f"vocabulary {manifest.vocab_size:,}"
    )


@app.command("list")
def list_prepared(folder: Folder = None, as_json: AsJson = False) -> None:
    """List the prepared data sets; python-stdlib is always there."""
    from brainformer.worker.datasets.catalogue import list_datasets
    from brainformer.worker.datasets.stdlib_text import BUILT_IN

    manifests = list_datasets(folder)
    if as_json:
        print_json([manifest.model_dump(mode="json") for manifest in manifests])
        return
    rows = [
        (m.id, m.tokenizer, f"{m.vocab_size:,}", f"{m.train_tokens:,}", m.hash[:12])
        for m in manifests
    ]
    if all(manifest.id != BUILT_IN for manifest in manifests):
        rows.append((BUILT_IN, "bytes", "256", "made at first use", ""))
    stdout().print(table(("id", "tokenizer", "vocabulary>", "train tokens>", "hash"), rows))


@app.command()
def show(
    dataset: Annotated[str, typer.Argument(metavar="ID", show_default=False)],
    folder: Folder = None,
    as_json: AsJson = False,
) -> None:
    """Show a data set's manifest after checking every shard against it."""
    from brainformer.worker.datasets.catalogue import open_dataset

    manifest = open_dataset(dataset, folder).manifest
    if as_json:
        print_json(manifest.model_dump(mode="json"))
        return
    rows = [
        ("id", manifest.id),
        ("hash", manifest.hash),
        ("tokenizer", f"{manifest.tokenizer}, vocabulary {manifest.vocab_size:,}"),
        ("documents", f"{manifest.documents:,}"),
        ("train tokens", f"{manifest.train_tokens:,} in {counted(len(manifest.train), 'shard')}"),
        ("validation tokens", f"{manifest.validation_tokens:,}"),
        ("test tokens", f"{manifest.test_tokens:,}"),
        ("bytes a token", f"{manifest.bytes_per_token:.3f}"),
    ]
    stdout().print(table(("", ""), rows))
