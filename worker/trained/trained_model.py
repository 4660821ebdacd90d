"""A model with weights and its tokenizer: of a run, of one of its checkpoints, of an export."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from brainformer.search.errors import InvalidCheckpoint, InvalidExport, NotFound
from brainformer.search.export.manifest import MANIFEST as EXPORT
from brainformer.worker.datasets.dataset import Dataset
from brainformer.worker.datasets.kept_tokenizer import kept_tokenizer
from brainformer.worker.datasets.tokenizers import Tokenizer, load_tokenizer
from brainformer.worker.export.model_folders import read_model
from brainformer.worker.export.weighted_model import WeightedModel
from brainformer.worker.harness.language_model import tokenizer_of
from brainformer.worker.pretraining.manifest import is_checkpoint, read_manifest
from brainformer.worker.pretraining.planning import tokenizer_of as tokenizer_of_data
from brainformer.worker.pretraining.run_folder import RunFolder
from brainformer.worker.pretraining.start import model_of


@dataclass(frozen=True)
class TrainedModel:
    """A model and where it was read from.

    Attributes:
        folder: Of the checkpoint or the export.
        end_token: Of its tokenizer, as the data was prepared; None where nothing says.
    """

    folder: Path
    model: WeightedModel
    end_token: str | None = None

    def tokenizer(self, given: str | None = None) -> Tokenizer:
        """Returns its tokenizer: the one that is kept beside it, or a given one if it is the same.

        Raises:
            InvalidCheckpoint: none is kept and none given, or the given one is another.
            InvalidExport: the same of an export.
        """
        if not is_checkpoint(self.folder):
            return tokenizer_of(self.folder, self.model, given)
        told = self.model.provenance
        kind, digest = told.tokenizer or "bytes", told.tokenizer_sha256
        if given is None:
            found = kept_tokenizer(self.folder, kind=kind, digest=digest, end_token=self.end_token)
        else:
            found = load_tokenizer(given, None if given == "bytes" else self.end_token)
        if found is None:
            raise InvalidCheckpoint(
                f"{self.folder} keeps no tokenizer, for its data set had none; name the file that "
                "the data was prepared with: --tokenizer FILE"
            )
        if (found.kind, found.digest) != (kind, digest):
            raise InvalidCheckpoint(
                f"the model was trained with another tokenizer ({kind} {digest[:12]}); give that "
                "one"
            )
        return found

    def tokenizer_for(self, data: Dataset, given: str | None = None) -> Tokenizer | None:
        """Returns the tokenizer of data that the model reads; None where nobody has it.

        Raises:
            InvalidData: the given one is another than the data was prepared with.
        """
        found = tokenizer_of_data(data, given)
        if found is None and is_checkpoint(self.folder):
            told = data.manifest
            found = kept_tokenizer(
                self.folder,
                kind=told.tokenizer,
                digest=told.tokenizer_sha256,
                end_token=self.end_token,
            )
        return found

    def check_reads(self, data: Dataset) -> None:
        """Refuses data whose tokens are not the model's.

        Raises:
            InvalidCheckpoint: the data was prepared with another tokenizer, or has more tokens.
        """
        told, theirs = self.model.provenance, data.manifest
        known = told.tokenizer is not None
        if known and (told.tokenizer, told.tokenizer_sha256) != (
            theirs.tokenizer,
            theirs.tokenizer_sha256,
        ):
            raise InvalidCheckpoint(
                f"data set {theirs.id} was prepared with another tokenizer ({theirs.tokenizer} "
                f"{theirs.tokenizer_sha256[:12]}) than the model was trained with "
                f"({told.tokenizer} {told.tokenizer_sha256[:12]}); prepare it again with that one"
            )
        if theirs.vocab_size > self.model.proxy.vocab_size:
            raise InvalidCheckpoint(
                f"data set {theirs.id} has {theirs.vocab_size} tokens in its vocabulary, the model "
                f"{self.model.proxy.vocab_size}"
            )


def read_trained(folder: Path) -> TrainedModel:
    """Returns the model in a folder: a run's best checkpoint, a checkpoint, or an export.

    Raises:
        NotFound: there is no such folder.
        InvalidCheckpoint: a checkpoint is damaged, or of a newer version.
        InvalidExport: the same of an export, or the folder is neither.
    """
    place = checkpoint_in(folder)
    if place is not None:
        return TrainedModel(place, model_of(place), read_manifest(place).plan.end_token)
    if not folder.exists():
        raise NotFound("checkpoint, run or exported folder", folder)
    if not (folder / EXPORT).is_file():
        raise InvalidExport(f"{folder} is neither a run nor a checkpoint nor an exported folder")
    return TrainedModel(folder, read_model(folder))


def checkpoint_in(folder: Path) -> Path | None:
    """Returns the checkpoint that a folder is, or the best one of the run that it is."""
    if is_checkpoint(folder):
        return folder
    run = RunFolder(folder)
    return run.best() if run.exists else None
