"""The model `brainformer` of lm-evaluation-harness: an exported folder, by its path.

The harness's released versions know a model once its module is imported, later ones find it by the
entry point `lm_eval.models`: `brainformer.lm_eval` serves both.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lm_eval.api.model import TemplateLM
from lm_eval.api.registry import register_model

from brainformer.search.errors import InvalidInput
from brainformer.worker.harness.language_model import LanguageModel

DEFAULT_NEW_TOKENS = 256


@register_model("brainformer")
class BrainformerLM(TemplateLM):
    """`lm_eval --model brainformer --model_args path=FOLDER[,tokenizer=...][,max_length=...]`."""

    def __init__(
        self,
        path: str,
        tokenizer: str | None = None,
        max_length: int | None = None,
        batch_size: int | str = 8,
        **_others: Any,
    ) -> None:
        """Reads the folder that `brainformer export` wrote.

        Args:
            path: The folder.
            tokenizer: "bytes" or a file; needed where the folder neither holds nor names one.
            max_length: Tokens to read at once; those of a training sequence by default.
            batch_size: Rows that are computed together; "auto" takes 8.
            **_others: What the harness hands to every model: device, largest batch.
        """
        super().__init__()
        rows = 8 if str(batch_size).startswith("auto") else int(batch_size)
        self.model = LanguageModel(
            Path(path), tokenizer=tokenizer, length=max_length, batch_size=rows
        )

    @property
    def eot_token_id(self) -> int:
        """The token that ends a document, and stands before a text."""
        return self.model.prefix

    @property
    def max_length(self) -> int:
        """Tokens that are read at once."""
        return self.model.length

    @property
    def max_gen_toks(self) -> int:
        """Tokens that are generated where a task does not say."""
        return min(DEFAULT_NEW_TOKENS, self.model.length - 1)

    def tok_encode(self, string: str, *_flags: Any, **_rest: Any) -> list[int]:
        """Returns a text's tokens; nothing is added to them."""
        return self.model.encode(string)

    def tok_decode(self, tokens: Sequence[int]) -> str:
        """Returns the text of tokens."""
        return self.model.tokenizer.decode(tokens)

    def _loglikelihood_tokens(
        self, requests: list[tuple[tuple[str, str], list[int], list[int]]], **_rest: Any
    ) -> list[tuple[float, bool]]:
        rows = [([*context, *ending], len(ending)) for _, context, ending in requests]
        found = [(one.log_likelihood, one.is_greedy) for one in self.model.score(rows)]
        for (texts, _, _), one in zip(requests, found, strict=True):
            self.cache_hook.add_partial("loglikelihood", texts, one)
        return found

    def loglikelihood_rolling(self, requests: list[Any], **_rest: Any) -> list[float]:
        """Returns the log-likelihood of whole texts, in nats, each token predicted once."""
        texts = [self.tok_encode(request.args[0]) for request in requests]
        rows = [([self.prefix_token_id, *tokens], len(tokens)) for tokens in texts]
        found = [one.log_likelihood for one in self.model.score(rows)]
        for request, one in zip(requests, found, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, one)
        return found

    def generate_until(self, requests: list[Any], **_rest: Any) -> list[str]:
        """Returns the likeliest continuations, cut before the first stop or a document's end.

        Raises:
            InvalidInput: a task asks for sampling.
        """
        told = [""] * len(requests)
        for steps, places in self._by_steps(requests).items():
            prompts = [self._prompt(requests[place].args[0]) for place in places]
            outs = self.model.continue_greedily(prompts, steps)
            for place, tokens in zip(places, outs, strict=True):
                told[place] = self._cut(tokens, _stops(requests[place].args[1]))
        for request, text in zip(requests, told, strict=True):
            self.cache_hook.add_partial("generate_until", request.args, text)
        return told

    def _prompt(self, text: str) -> list[int]:
        return self.tok_encode(text) or [self.prefix_token_id]

    def _by_steps(self, requests: list[Any]) -> dict[int, list[int]]:
        """Returns the places of requests by how many tokens they want."""
        found: dict[int, list[int]] = {}
        for place, request in enumerate(requests):
            wanted = request.args[1]
            if wanted.get("do_sample") and wanted.get("temperature", 1.0):
                raise InvalidInput(
                    "the model `brainformer` generates greedily; set do_sample=False"
                )
            steps = int(wanted.get("max_gen_toks") or self.max_gen_toks)
            found.setdefault(steps, []).append(place)
        return found

    def _cut(self, tokens: list[int], stops: Sequence[str]) -> str:
        end = self.model.tokenizer.end
        text = self.tok_decode(tokens[: tokens.index(end)] if end in tokens else tokens)
        for stop in stops:
            text = text.split(stop, 1)[0]
        return text


def _stops(wanted: dict[str, Any]) -> list[str]:
    until = wanted.get("until") or []
    return [one for one in ([until] if isinstance(until, str) else until) if one]
