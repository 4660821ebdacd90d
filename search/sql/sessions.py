"""Sessions: what a browser holds instead of a token. They end by time, by sign-out, or with it."""

from __future__ import annotations

import secrets

from sqlalchemy import delete, insert, select
from typing_extensions import override

from brainformer.search.sql.connection.database import Database, Transaction
from brainformer.search.sql.connection.tables import sessions, tokens
from brainformer.search.sql.rows.table_rows import TokenRow
from brainformer.search.sql.rows.values import when
from brainformer.search.sql.tokens import find_token, hash_of, live, token_record
from brainformer.search.store.records import TokenRecord
from brainformer.search.store.scopes import SESSION_PREFIX
from brainformer.search.store.session_store import SessionStore

MOST_OF_ONE_TOKEN = 100  # the oldest makes room


class SqlSessions(SessionStore):
    """The sessions of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @override
    def begin(self, token_secret: str, *, seconds: float) -> str | None:
        with self._database.write() as tx:
            return begin_session(tx, token_secret, seconds)

    @override
    def end(self, secret: str) -> None:
        with self._database.write() as tx:
            end_session(tx, secret)


def begin_session(tx: Transaction, token_secret: str, seconds: float) -> str | None:
    """Returns the secret of a new session of a live token; None if there is no such token."""
    token = find_token(tx, token_secret)
    if token is None:
        return None
    tx.run(delete(sessions).where(sessions.c.expires_at <= tx.now))
    newest = (
        select(sessions.c.secret_hash)
        .where(sessions.c.token_id == token.id)
        .order_by(sessions.c.created_at.desc())
        .limit(MOST_OF_ONE_TOKEN - 1)
    )
    mine = sessions.c.token_id == token.id
    tx.run(delete(sessions).where(mine, sessions.c.secret_hash.not_in(newest)))
    secret = SESSION_PREFIX + secrets.token_urlsafe(32)
    values = {
        "secret_hash": hash_of(secret),
        "token_id": token.id,
        "created_at": tx.now,
        "expires_at": tx.now + seconds,
    }
    tx.run(insert(sessions), values)
    return secret


def find_session(tx: Transaction, secret: str) -> TokenRecord | None:
    """Returns the token of a live session, expiring when the session does; None if there is none.

    The look-up is by hash, so its time tells nothing of the secret.
    """
    ends = select(sessions.c.expires_at, sessions.c.token_id).where(
        sessions.c.secret_hash == hash_of(secret), sessions.c.expires_at > tx.now
    )
    found = tx.run(ends).first()
    if found is None:
        return None
    row = tx.first(TokenRow, select(tokens).where(tokens.c.id == found.token_id))
    if row is None or not live(row, tx.now):
        return None
    ending = min(found.expires_at, row.expires_at or found.expires_at)
    return token_record(row).model_copy(update={"expires_at": when(ending)})


def end_session(tx: Transaction, secret: str) -> None:
    """Ends a session at once; harmless if there is none."""
    tx.run(delete(sessions).where(sessions.c.secret_hash == hash_of(secret)))
