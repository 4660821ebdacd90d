"""Tokens and the audit trail. Secrets are kept as SHA-256 only: 256 random bits need no salt."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import threading
from collections.abc import Sequence

from sqlalchemy import insert, select, update

from brainformer.search.errors import Conflict, InvalidInput, NotFound
from brainformer.search.sql.connection.database import Transaction
from brainformer.search.sql.connection.storable_text import storable
from brainformer.search.sql.connection.tables import audit, tokens
from brainformer.search.sql.rows.table_rows import AuditRow, TokenRow
from brainformer.search.sql.rows.values import at, when
from brainformer.search.store.actor import Actor
from brainformer.search.store.records import AuditRecord, Page, TokenRecord
from brainformer.search.store.scopes import SCOPES

PREFIX = "bf_"
SHOWN = 9  # characters of a secret that may be shown
ADOPTABLE = re.compile(r"bf_[A-Za-z0-9_-]{43,200}")  # 43 characters hold 256 bits
TOUCH_SECONDS = 60.0  # how often the use of a token is written down


class TokenUses:
    """Which uses of tokens are worth writing down: one a minute of each."""

    def __init__(self) -> None:
        self._written: dict[int, float] = {}
        self._lock = threading.Lock()

    def due(self, token_id: int, now: float) -> bool:
        """Returns whether the use of a token at this time is to be written."""
        with self._lock:
            last = self._written.get(token_id)
            if last is not None and 0 <= now - last < TOUCH_SECONDS:
                return False
            self._written[token_id] = now
            return True


def create_token(
    tx: Transaction, name: str, scopes: Sequence[str], lifetime: float | None, actor: Actor
) -> tuple[TokenRecord, str]:
    """Returns a new token and its secret."""
    secret = PREFIX + secrets.token_urlsafe(32)
    return _insert(tx, name, scopes, secret, lifetime, actor), secret


def adopt_token(
    tx: Transaction, name: str, scopes: Sequence[str], secret: str, actor: Actor
) -> TokenRecord:
    """Returns the token of a secret that was made elsewhere, created unless it is there."""
    if not ADOPTABLE.fullmatch(secret):
        raise InvalidInput(
            "a secret to adopt is bf_ and 43 or more random letters, digits, - or _; make one "
            "with: echo bf_$(openssl rand -hex 32)"
        )
    row = tx.first(TokenRow, select(tokens).where(tokens.c.secret_hash == hash_of(secret)))
    if row is None:
        return _insert(tx, name, scopes, secret, None, actor)
    if row.revoked_at is not None:
        raise Conflict(f"the secret is that of token {row.id}, which was revoked; make a new one")
    if set(row.scopes.split()) != set(scopes):
        raise Conflict(f"the secret is that of token {row.id} with the scopes {row.scopes}")
    return token_record(row)


def _insert(
    tx: Transaction,
    name: str,
    scopes: Sequence[str],
    secret: str,
    lifetime: float | None,
    actor: Actor,
) -> TokenRecord:
    """Returns the record of a new token."""
    if not name or len(name) > 128:
        raise InvalidInput("a token's name has 1 to 128 characters", name[:64], "/name")
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown or not scopes:
        met = f", not {', '.join(unknown)}" if unknown else ""
        raise InvalidInput(f"scopes are one or more of {', '.join(SCOPES)}{met}", None, "/scopes")
    if lifetime is not None and not 0 < lifetime <= 100 * 365 * 86_400:
        raise InvalidInput("a token's lifetime must be above 0 s and at most 100 years", lifetime)
    values = {
        "name": storable(name),
        "prefix": secret[:SHOWN],
        "secret_hash": hash_of(secret),
        "scopes": " ".join(scope for scope in SCOPES if scope in scopes),
        "created_at": tx.now,
        "expires_at": None if lifetime is None else tx.now + lifetime,
    }
    token_id: int = tx.run(insert(tokens).returning(tokens.c.id), values).scalar_one()
    audit_action(tx, actor, "token.create", str(token_id))
    return token_record(_row(tx, token_id))


def find_token(tx: Transaction, secret: str) -> TokenRecord | None:
    """Returns the live token of this secret.

    The look-up is by hash, so its time tells nothing of the secret.
    """
    hashed = hash_of(secret)
    row = tx.first(TokenRow, select(tokens).where(tokens.c.secret_hash == hashed))
    if row is None or not hmac.compare_digest(row.secret_hash, hashed):
        return None
    return token_record(row) if live(row, tx.now) else None


def live(row: TokenRow, now: float) -> bool:
    """Returns whether a token opens doors at a time."""
    return row.revoked_at is None and (row.expires_at is None or row.expires_at > now)


def touch_token(tx: Transaction, token_id: int) -> None:
    """Notes when a token was used, unless somebody holds its row."""
    free = select(tokens.c.id).where(tokens.c.id == token_id).with_for_update(skip_locked=True)
    tx.run(update(tokens).where(tokens.c.id.in_(free)), {"last_used_at": tx.now})


def list_tokens(tx: Transaction) -> list[TokenRecord]:
    """Returns all tokens, without secrets."""
    return [token_record(row) for row in tx.all(TokenRow, select(tokens).order_by(tokens.c.id))]


def revoke_token(tx: Transaction, token_id: int, actor: Actor) -> TokenRecord:
    """Revokes a token at once."""
    row = _row(tx, token_id)
    if row.revoked_at is None:
        tx.change(tokens, token_id, {"revoked_at": tx.now})
        audit_action(tx, actor, "token.revoke", str(token_id))
    return token_record(_row(tx, token_id))


def audit_action(tx: Transaction, actor: Actor, action: str, target: str) -> None:
    """Adds a line to the audit trail."""
    values = {
        "at": tx.now,
        "actor": storable(actor.name)[:128],
        "action": action,
        "target": target,
        "request_id": storable(actor.request_id)[:128],
    }
    tx.run(insert(audit), values)


def audit_page(tx: Transaction, *, before: int | None, limit: int) -> Page[AuditRecord]:
    """Returns a page of the audit trail, newest first."""
    query = select(audit).order_by(audit.c.id.desc()).limit(limit + 1)
    if before is not None:
        query = query.where(audit.c.id < before)
    rows = tx.all(AuditRow, query)
    items = tuple(
        AuditRecord(
            id=row.id,
            at=at(row.at),
            actor=row.actor,
            action=row.action,
            target=row.target,
            request_id=row.request_id,
        )
        for row in rows[:limit]
    )
    more = str(rows[limit - 1].id) if len(rows) > limit else None
    return Page(items=items, next_cursor=more)


def hash_of(secret: str) -> str:
    """Returns what is kept of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _row(tx: Transaction, token_id: int) -> TokenRow:
    row = None
    if 0 < token_id < 2**63:
        row = tx.first(TokenRow, select(tokens).where(tokens.c.id == token_id))
    if row is None:
        raise NotFound("token", token_id)
    return row


def token_record(row: TokenRow) -> TokenRecord:
    """Returns a token as the rest of the system sees it."""
    return TokenRecord(
        id=row.id,
        name=row.name,
        prefix=row.prefix,
        scopes=tuple(row.scopes.split()),
        created_at=at(row.created_at),
        expires_at=when(row.expires_at),
        revoked_at=when(row.revoked_at),
        last_used_at=when(row.last_used_at),
    )
