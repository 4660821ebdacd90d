"""The SentencePiece tokenizer that a searched block was trained with, for transformers."""

import shutil
from pathlib import Path

import sentencepiece
from transformers import PreTrainedTokenizer

MODEL_FILE = "tokenizer.model"


class BrainformerTokenizer(PreTrainedTokenizer):
    """Gives text the numbers that training gave it: the model's own pieces, nothing added."""

    vocab_files_names = {"vocab_file": MODEL_FILE}
    model_input_names = ["input_ids", "attention_mask"]

    def __init__(self, vocab_file, **settings):
        self.vocab_file = str(vocab_file)
        self.library = sentencepiece.SentencePieceProcessor(model_file=self.vocab_file)
        settings.setdefault("unk_token", self.library.id_to_piece(self.library.unk_id()))
        settings["special_tokens_pattern"] = "none"
        super().__init__(**settings)

    @property
    def vocab_size(self):
        """The number of the model's pieces."""
        return self.library.vocab_size()

    def get_vocab(self):
        """Returns the number of each piece."""
        pieces = {self.library.id_to_piece(i): i for i in range(self.vocab_size)}
        return {**pieces, **self.added_tokens_encoder}

    def _tokenize(self, text, **_kwargs):
        return self.library.encode(text, out_type=str)

    def _convert_token_to_id(self, token):
        return self.library.piece_to_id(token)

    def _convert_id_to_token(self, index):
        return self.library.id_to_piece(index)

    def convert_tokens_to_string(self, tokens):
        """Returns the text of pieces."""
        return self.library.decode(tokens)

    def save_vocabulary(self, save_directory, filename_prefix=None):
        """Copies the model file; returns where it lies."""
        name = f"{filename_prefix}-{MODEL_FILE}" if filename_prefix else MODEL_FILE
        place = Path(save_directory) / name
        if place.resolve() != Path(self.vocab_file).resolve():
            shutil.copyfile(self.vocab_file, place)
        return (str(place),)
