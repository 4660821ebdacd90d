"""Notes that people keep on searches."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Response

from brainformer.api.dependencies import Parts, Reads, SearchId, Writer
from brainformer.api.gate.strict_body import body_schema, strict_body
from brainformer.api.problems.problem import problems
from brainformer.api.routes.answers import answer
from brainformer.api.schemas import NoteChange, Notes
from brainformer.search.store.note_store import NoteRecord

router = APIRouter(tags=["searches"])


@router.get("/notes", response_model=Notes, responses=problems(), dependencies=[Reads])
def list_notes(parts: Parts) -> Response:
    """Lists the notes on searches, and which searches are archived."""
    return answer(Notes.model_construct(items=tuple(parts.store.notes.list_all())))


@router.patch(
    "/searches/{search_id}/note",
    response_model=NoteRecord,
    responses=problems(404, 409, 413),
    openapi_extra=body_schema(NoteChange),
)
def change_note(
    parts: Parts,
    actor: Writer,
    search_id: SearchId,
    change: Annotated[NoteChange, strict_body(NoteChange)],
) -> Response:
    """Changes a search's note, or archives it: lists hide it, and nothing else changes."""
    found = parts.store.notes.change(
        search_id, note=change.note, archived=change.archived, actor=actor
    )
    return answer(found)
