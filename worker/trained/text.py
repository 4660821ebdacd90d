"""Text from a trained model, token by token, as it comes.

Each token is drawn under a key that depends on the seed and its place alone, so the same seed
gives the same text. When the model's length is full, the last half of it is read again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from brainformer.model.decoder import Decoder
from brainformer.model.generation import Cache, causal_split, decode, empty_cache
from brainformer.search.errors import InvalidData, InvalidInput
from brainformer.worker.datasets.tokenizers import Tokenizer

UNFINISHED = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn.

    Attributes:
        temperature: 0 takes the likeliest token.
        top_p: Draws among the likeliest tokens that together have this probability.
        seed: Of the draws.
    """

    temperature: float = 0.8
    top_p: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature <= 100:
            raise InvalidInput("a temperature lies between 0 and 100", self.temperature)
        if not 0 < self.top_p <= 1:
            raise InvalidInput("top-p lies above 0 and is at most 1", self.top_p)


class Writer:
    """A model that writes.

    Args:
        decoder: The model, with a causal routing rule.
        tokenizer: The one that it was trained with.
        length: Tokens that it reads at once.

    Raises:
        InvalidGenome: the model follows the paper's leaking rule.
    """

    def __init__(self, decoder: Decoder, tokenizer: Tokenizer, *, length: int) -> None:
        self._graph, self._state = causal_split(decoder)
        self._decoder = decoder
        self._tokenizer = tokenizer
        self._length = length

    def tokens(self, prompt: list[int], sampling: Sampling, *, most: int) -> Iterator[int]:
        """Yields up to `most` tokens that follow a prompt; the end of a document is the last.

        Args:
            prompt: At least one token.
            sampling: How they are drawn.
            most: How many at most.
        """
        key = jax.random.key(sampling.seed)
        known = list(prompt)
        unread, cache, position = self._begun(known)
        for place in range(most):
            if position + len(unread) > self._length:
                unread, cache, position = self._begun(known[-max(1, self._length // 2) :])
            for token in unread[:-1]:
                _, cache = self._read(token, position, cache)
                position += 1
            logits, cache = self._read(unread[-1], position, cache)
            position += 1
            chosen = int(
                _draw(
                    logits,
                    jax.random.fold_in(key, place),
                    jnp.float32(sampling.temperature),
                    jnp.float32(sampling.top_p),
                    self._tokenizer.vocab_size,
                )
            )
            yield chosen
            if chosen == self._tokenizer.end:
                return
            known.append(chosen)
            unread = [chosen]

    def text(self, prompt: str, sampling: Sampling, *, most: int) -> Iterator[str]:
        """Yields the text that follows a prompt, in pieces of whole characters.

        Raises:
            InvalidData: the tokenizer has nothing to begin with, or refuses the prompt.
        """
        given = self._encoded(prompt)
        before, told, told_length = self._tokenizer.decode(given), list(given), 0
        text = ""
        for token in self.tokens(given, sampling, most=most):
            if token == self._tokenizer.end:
                break
            told.append(token)
            text = self._tokenizer.decode(told)[len(before) :]
            if not text.endswith(UNFINISHED):
                yield text[told_length:]
                told_length = len(text)
        yield text[told_length:]

    def _encoded(self, prompt: str) -> list[int]:
        end = self._tokenizer.end
        found = [int(token) for token in self._tokenizer.encode(prompt)]
        found = found if end is None else found[:-1]
        if found:
            return found
        if end is None:
            raise InvalidData(
                "an empty prompt needs a tokenizer that ends documents; give some text"
            )
        return [end]  # as if a document had just ended

    def _begun(self, known: list[int]) -> tuple[list[int], Cache, int]:
        """Returns what is to be read, an empty cache, and the first position."""
        cache = empty_cache(self._decoder, batch=1, length=self._length)
        cache = jax.tree.map(jnp.copy, cache)  # keys and values share zeros; each is donated
        return list(known[-self._length :]), cache, 0

    def _read(self, token: int, position: int, cache: Cache) -> tuple[Array, Cache]:
        found: tuple[Array, Cache] = _next_logits(
            self._graph, self._state, jnp.int32([token]), jnp.int32(position), cache
        )
        return found


@partial(jax.jit, static_argnums=0, donate_argnums=4)
def _next_logits(
    graph: Any, state: Any, token: Int[Array, " B"], position: Int[Array, ""], cache: Cache
) -> tuple[Float[Array, " V"], Cache]:
    model: Decoder = nnx.merge(graph, state)
    logits, cache = decode(model, token, position, cache)
    return logits[0].astype(jnp.float32), cache


@partial(jax.jit, static_argnums=4)
def _draw(
    logits: Float[Array, " V"], key: Array, temperature: Array, top_p: Array, vocabulary: int
) -> Int[Array, ""]:
    """Returns the likeliest token at temperature 0, else one of the nucleus (arXiv:1904.09751)."""
    logits = jnp.where(jnp.arange(logits.shape[0]) < vocabulary, logits, -jnp.inf)
    warm = logits / jnp.maximum(temperature, 1e-6)
    order = jnp.argsort(-warm)
    chances = jax.nn.softmax(warm[order])
    before = jnp.cumsum(chances) - chances  # 0 for the likeliest, which so always stays
    kept = jnp.where(before < top_p, warm[order], -jnp.inf)
    drawn = order[jax.random.categorical(key, kept)]
    return jnp.where(temperature > 0, drawn, jnp.argmax(logits))
