"""A controller, driven from Python: searches are created, found and listed."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from brainformer.api.cli.searches.imports import launched
from brainformer.api.cli.terminal.address import DEFAULT_URL, path_part, search_path
from brainformer.api.cli.terminal.controller_client import ControllerClient
from brainformer.api.client.search import Search
from brainformer.search.spec import SearchSpec, parse_spec, read_spec_file
from brainformer.search.store.records import (
    PoolDetail,
    PoolRecord,
    PoolRetirement,
    SearchRecord,
    WorkerRecord,
)

PAGE = 100


class Client:
    """Calls the controller at an address; answers are the records that REST documents.

    Every refusal is one of this project's errors (`brainformer.search.errors`): `NotFound`,
    `InvalidSpec`, `Conflict`, `ControllerUnreachable` ...
    """

    def __init__(self, url: str | None = None, token: str | None = None) -> None:
        """Makes a client; nothing is sent yet.

        Args:
            url: The controller's address; without it BRAINFORMER_URL's, or this machine's.
            token: A bearer token; without it BRAINFORMER_TOKEN's, if that is set.
        """
        address = url or os.environ.get("BRAINFORMER_URL") or DEFAULT_URL
        self._rest = ControllerClient(address, token or os.environ.get("BRAINFORMER_TOKEN"))

    @property
    def url(self) -> str:
        """The controller's address, where its dashboard is."""
        return self._rest.url

    def create(
        self,
        spec: SearchSpec | Mapping[str, Any] | str | Path,
        *,
        imported: Sequence[Path] = (),
        idempotency_key: str | None = None,
    ) -> Search:
        """Launches a search.

        Args:
            spec: A spec, its fields, its text in YAML or JSON, or the path of its file.
            imported: Files of trials that earlier searches with the same space, proxy, data and
                baseline have evaluated (`export --format trials`); they count.
            idempotency_key: The same key with the same spec never creates twice.

        Raises:
            InvalidSpec: the spec breaks a rule; nothing was sent.
            InvalidInput: a file does not fit the spec; nothing was sent.
            Conflict: the key was used with another spec.
        """
        wanted = _spec_of(spec)
        key = idempotency_key or uuid.uuid4().hex
        record, _ = launched(self._rest, wanted, imported, key=key)
        return Search(self._rest, SearchRecord.model_validate(record))

    def search(self, named: str) -> Search:
        """Returns the search of that id or name.

        Raises:
            NotFound: there is none.
        """
        record = self._rest.get(f"/searches/{search_path(named)}")
        return Search(self._rest, SearchRecord.model_validate(record))

    def searches(self) -> Iterator[Search]:
        """Yields all searches, newest first."""
        cursor: str | None = None
        while True:
            page = self._rest.get("/searches", cursor=cursor, limit=PAGE)
            for item in page["items"]:
                yield Search(self._rest, SearchRecord.model_validate(item))
            cursor = page.get("next_cursor")
            if cursor is None:
                return

    def workers(self) -> list[WorkerRecord]:
        """Returns the workers that have claimed leases, latest first."""
        return [WorkerRecord.model_validate(one) for one in self._rest.get("/workers")["items"]]

    def pools(self) -> list[PoolRecord]:
        """Returns the kinds of hardware that have worked here."""
        return [PoolRecord.model_validate(one) for one in self._rest.get("/pools")["items"]]

    def retire_pool(self, pool: str) -> PoolRetirement:
        """Takes a pool that will not come back out of every open search.

        Raises:
            NotFound: no worker has claimed for it, and no open search names it.
        """
        return PoolRetirement.model_validate(self._rest.post(f"/pools/{path_part(pool)}/retire"))

    def return_pool(self, pool: str) -> PoolDetail:
        """Gives a retired pool work again, in the searches that are still open.

        Raises:
            NotFound: no worker has claimed for it.
        """
        return PoolDetail.model_validate(self._rest.post(f"/pools/{path_part(pool)}/return"))

    def close(self) -> None:
        """Closes the connections; searches that came from it can no longer be asked."""
        self._rest.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _spec_of(given: SearchSpec | Mapping[str, Any] | str | Path) -> SearchSpec:
    if isinstance(given, SearchSpec):
        return given
    if isinstance(given, Path):
        return parse_spec(read_spec_file(given))
    return parse_spec(dict(given) if isinstance(given, Mapping) else given)
