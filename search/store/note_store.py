"""Notes that people keep on searches, and which searches they have put away."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import datetime

from pydantic import BaseModel, ConfigDict

from brainformer.search.store.actor import Actor


class NoteRecord(BaseModel):
    """A note on a search. To archive a search hides it in lists and changes nothing else."""

    model_config = ConfigDict(frozen=True)

    search_id: str
    note: str = ""
    archived_at: datetime | None = None


class NoteStore(ABC):
    """Notes, one a search."""

    @abstractmethod
    def list_all(self) -> list[NoteRecord]:
        """Returns the notes that hold something, and the searches that are archived."""

    @abstractmethod
    def change(
        self, search_id: str, *, note: str | None, archived: bool | None, actor: Actor
    ) -> NoteRecord:
        """Changes what is given of a search's note; None leaves it as it is.

        Raises:
            NotFound: there is no such search.
        """
