"""Tokens and the audit trail of a store in SQL."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from typing_extensions import override

from brainformer.search.sql import searches, tokens
from brainformer.search.sql.connection.database import Database
from brainformer.search.sql.sessions import find_session
from brainformer.search.storage_errors import StorageUnavailable
from brainformer.search.store.actor import Actor
from brainformer.search.store.patience import patience
from brainformer.search.store.records import AuditRecord, Page, TokenRecord
from brainformer.search.store.scopes import SESSION_PREFIX
from brainformer.search.store.token_store import TokenStore

MAX_PAGE = 1000
TOUCH_SECONDS = 0.5  # the longest wait to note that a token was used


class SqlTokens(TokenStore):
    """The part of the store that knows who may do what, and who did it."""

    _database: Database
    _token_uses: tokens.TokenUses

    @override
    def create_token(
        self,
        name: str,
        scopes: Sequence[str],
        *,
        expires_in_seconds: float | None,
        actor: Actor,
    ) -> tuple[TokenRecord, str]:
        with self._database.write() as tx:
            return tokens.create_token(tx, name, scopes, expires_in_seconds, actor)

    @override
    def adopt_token(
        self, name: str, scopes: Sequence[str], secret: str, *, actor: Actor
    ) -> TokenRecord:
        with self._database.write() as tx:
            return tokens.adopt_token(tx, name, scopes, secret, actor)

    @override
    def find_token(self, secret: str) -> TokenRecord | None:
        find = find_session if secret.startswith(SESSION_PREFIX) else tokens.find_token
        with self._database.read(aside=True) as tx:
            found = find(tx, secret)
            now = tx.now
        if found is not None and self._token_uses.due(found.id, now):
            # Who reads must be let in though nothing can be written.
            with (
                suppress(StorageUnavailable),
                patience(TOUCH_SECONDS),
                self._database.write() as tx,
            ):
                tokens.touch_token(tx, found.id)
        return found

    @override
    def list_tokens(self) -> list[TokenRecord]:
        with self._database.read(aside=True) as tx:
            return tokens.list_tokens(tx)

    @override
    def revoke_token(self, token_id: int, *, actor: Actor) -> TokenRecord:
        with self._database.write() as tx:
            return tokens.revoke_token(tx, token_id, actor)

    @override
    def audit(self, *, cursor: str | None = None, limit: int = 100) -> Page[AuditRecord]:
        before = None if cursor is None else searches.whole_cursor(cursor)
        with self._database.read() as tx:
            return tokens.audit_page(tx, before=before, limit=page_size(limit))


def page_size(limit: int) -> int:
    """Returns how many rows a page has, whatever was asked for."""
    return max(1, min(limit, MAX_PAGE))
