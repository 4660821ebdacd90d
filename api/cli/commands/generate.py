"""`brainformer generate`: text from a trained model, as it comes."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from brainformer.api.cli.terminal.options import AsJson, OwnTokenizer, TrainedFolder
from brainformer.api.cli.terminal.output import print_json, say
from brainformer.api.cli.terminal.worker_packages import require_worker_packages


def generate(
    checkpoint: TrainedFolder,
    prompt: Annotated[
        str, typer.Option(help='The text to go on from; "" begins a document, - is stdin.')
    ] = "",
    max_tokens: Annotated[int, typer.Option(min=1, help="Tokens to add at most.")] = 200,
    temperature: Annotated[
        float, typer.Option(help="Below 1, likely tokens become likelier; 0 is --greedy.")
    ] = 0.8,
    top_p: Annotated[
        float,
        typer.Option(help="Draw among the likeliest tokens that together have this probability."),
    ] = 0.95,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same text.")] = 0,
    greedy: Annotated[
        bool, typer.Option("--greedy", help="Always the likeliest token; nothing is drawn.")
    ] = False,
    tokenizer: OwnTokenizer = None,
    as_json: AsJson = False,
) -> None:
    """Write on from a prompt. Text goes to stdout as it comes, the prompt first."""
    require_worker_packages("jax", "flax")
    from brainformer.worker.trained.text import Sampling, Writer
    from brainformer.worker.trained.trained_model import read_trained

    sampling = Sampling(temperature=0.0 if greedy else temperature, top_p=top_p, seed=seed)
    found = read_trained(checkpoint)
    words = found.tokenizer(tokenizer)
    say(f"{found.folder}")
    writer = Writer(found.model.decoder(), words, length=found.model.proxy.sequence_length)
    given = sys.stdin.read() if prompt == "-" else prompt
    pieces = writer.text(given, sampling, most=max_tokens)
    if as_json:
        print_json({"checkpoint": str(found.folder), "prompt": given, "text": "".join(pieces)})
        return
    _show(given)
    for piece in pieces:
        _show(piece)
    _show("\n")


def _show(text: str) -> None:
    """Writes text at once; on a terminal what would move the cursor is spelled out."""
    from brainformer.api.cli.terminal.plain_text import visible

    shown = visible(text) if sys.stdout.isatty() else text
    sys.stdout.buffer.write(shown.encode("utf-8"))
    sys.stdout.buffer.flush()
