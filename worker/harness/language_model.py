"""An exported model as harnesses ask for one: texts scored and continued, in batches.

Shapes are few, so that few programs are compiled: batches are always full, rows are padded on the
right to a power of two. Neither padding nor batch-mates change what a row is told, since evaluation
routes every token by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from brainformer.model.decoder import Decoder
from brainformer.model.generation import generate
from brainformer.search.errors import InvalidExport
from brainformer.worker.datasets.kept_tokenizer import FILES
from brainformer.worker.datasets.tokenizers import Tokenizer, load_tokenizer
from brainformer.worker.export.model_folders import read_model
from brainformer.worker.export.tokenizer_files import default_tokenizer
from brainformer.worker.export.weighted_model import WeightedModel

SHORTEST_ROW = 16


class Score(NamedTuple):
    """How likely a continuation is.

    Attributes:
        log_likelihood: Sum over its tokens, in nats.
        is_greedy: Whether each of its tokens is the likeliest one.
    """

    log_likelihood: float
    is_greedy: bool


class Window(NamedTuple):
    """Tokens that are read at once: from `start` on, predicting those from `first` up to `end`."""

    start: int
    first: int
    end: int


def windows(count: int, scored: int, length: int) -> Iterator[Window]:
    """Yields windows that predict each of the last `scored` of `count` tokens once.

    Every window but the last predicts as many as fit; the last sees as much of the past as fits.

    Args:
        count: Tokens in all; the first one is never predicted.
        scored: How many of them are predicted.
        length: Tokens that the model reads at once.
    """
    for first in range(count - scored, count, length):
        end = min(first + length, count)
        yield Window(max(0, end - 1 - length), first, end)


class LanguageModel:
    """An exported folder's model and tokenizer.

    Attributes:
        tokenizer: The one that the model was trained with.
        length: Tokens that the model reads at once.
        prefix: The token that stands before a text: the end of the document before it.
    """

    def __init__(
        self,
        folder: Path,
        *,
        tokenizer: str | None = None,
        length: int | None = None,
        batch_size: int = 8,
    ) -> None:
        """Reads and checks the folder.

        Args:
            folder: As `brainformer export` has written it, of any format that holds weights.
            tokenizer: "bytes" or a file; needed where the folder neither holds nor names one.
            length: Tokens to read at once; those of a training sequence by default.
            batch_size: Rows that are computed together.

        Raises:
            NotFound: there is no such folder.
            InvalidExport: it is damaged, or the tokenizer is not the model's.
        """
        model = read_model(folder)
        self.tokenizer = tokenizer_of(folder, model, tokenizer)
        self.length = length or model.proxy.sequence_length
        self.prefix = self._prefix()
        self._batch = batch_size
        self._decoder = model.decoder()
        self._graph, self._state = nnx.split(self._decoder)

    def encode(self, text: str) -> list[int]:
        """Returns the text's tokens, without one that ends a document."""
        tokens = [int(token) for token in self.tokenizer.encode(text)]
        return tokens if self.tokenizer.end is None else tokens[:-1]

    def score(self, rows: Sequence[tuple[Sequence[int], int]]) -> list[Score]:
        """Returns how likely the ends of rows of tokens are.

        Args:
            rows: Tokens, and how many of the last ones are to be predicted: fewer than all.
        """
        pieces = [
            (place, tokens[one.start : one.end], one.end - one.first)
            for place, (tokens, scored) in enumerate(rows)
            for one in windows(len(tokens), scored, self.length)
        ]
        totals, greedy = np.zeros(len(rows)), np.ones(len(rows), bool)
        pieces.sort(key=lambda piece: len(piece[1]))
        for start in range(0, len(pieces), self._batch):
            batch = pieces[start : start + self._batch]
            logs, hits = self._predictions([tokens for _, tokens, _ in batch])
            for row, (place, tokens, predicted) in enumerate(batch):
                end = len(tokens) - 1
                totals[place] += float(np.sum(logs[row, end - predicted : end], dtype=np.float64))
                greedy[place] &= bool(hits[row, end - predicted : end].all())
        return [Score(float(total), bool(one)) for total, one in zip(totals, greedy, strict=True)]

    def continue_greedily(self, prompts: Sequence[Sequence[int]], steps: int) -> list[list[int]]:
        """Returns the likeliest next tokens of each prompt, one after the other.

        Of a prompt that is too long the last tokens are read. At most `length` - 1 are added.

        Args:
            prompts: Tokens, at least one each.
            steps: Tokens to add.
        """
        steps = min(steps, self.length - 1)
        width = self.length - steps
        told: list[list[int]] = []
        for start in range(0, len(prompts), self._batch):
            rows = [list(prompt)[-width:] for prompt in prompts[start : start + self._batch]]
            full = [*rows, *[[self.prefix]] * (self._batch - len(rows))]
            lengths = np.array([len(row) for row in full], np.int32)
            tokens = np.zeros((self._batch, width), np.int32)
            for row, known in enumerate(full):
                tokens[row, : len(known)] = known
            out = np.asarray(
                generate(
                    self._decoder, jnp.asarray(tokens), steps=steps, lengths=jnp.asarray(lengths)
                )
            )
            told += [
                out[row, lengths[row] : lengths[row] + steps].tolist() for row in range(len(rows))
            ]
        return told

    def _prefix(self) -> int:
        if self.tokenizer.end is not None:
            return self.tokenizer.end
        return self.encode("\n")[0]  # documents ran together, most often with a line's end between

    def _predictions(self, rows: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
        """Returns of each row's next tokens the log-likelihood, and whether it is the likeliest."""
        longest = max(len(row) for row in rows) - 1
        width = SHORTEST_ROW
        while width < longest:
            width *= 2
        tokens = np.zeros((self._batch, width + 1), np.int32)
        for row, known in enumerate(rows):
            tokens[row, : len(known)] = known
        logs, hits = _next_tokens(self._graph, self._state, jnp.asarray(tokens))
        return np.asarray(logs), np.asarray(hits)


@partial(jax.jit, static_argnums=0)
def _next_tokens(
    graph: Any, state: Any, tokens: Int[Array, "B S+1"]
) -> tuple[Float[Array, "B S"], Bool[Array, "B S"]]:
    model: Decoder = nnx.merge(graph, state)
    logits, _ = model(tokens[:, :-1], training=False)
    targets = tokens[:, 1:]
    chosen = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
    logs = chosen - jax.nn.logsumexp(logits, axis=-1)
    return logs, jnp.argmax(logits, axis=-1) == targets


def tokenizer_of(folder: Path, model: WeightedModel, given: str | None) -> Tokenizer:
    """Returns the tokenizer that is given, or the one that the folder holds or names.

    Raises:
        InvalidExport: the folder has none, or it is not the one that the model was trained with.
    """
    told = model.provenance
    file = folder / FILES.get(told.tokenizer or "", "")
    if given is None and file.is_file():
        return load_tokenizer(str(file))
    found = load_tokenizer(given or default_tokenizer(told))
    if found.vocab_size > model.proxy.vocab_size:
        raise InvalidExport(
            f"the tokenizer has numbers up to {found.vocab_size - 1}, the model has "
            f"{model.proxy.vocab_size} tokens; give the tokenizer that it was trained with"
        )
    if told.tokenizer is not None and (told.tokenizer, told.tokenizer_sha256) != (
        found.kind,
        found.digest,
    ):
        raise InvalidExport("the model was trained with another tokenizer; give that one")
    return found
