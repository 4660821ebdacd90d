"""The part of the store's contract that says who may do what, and who did it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from brainformer.search.store.actor import Actor
from brainformer.search.store.records import AuditRecord, Page, TokenRecord


class TokenStore(ABC):
    """Tokens and the audit trail."""

    @abstractmethod
    def create_token(
        self,
        name: str,
        scopes: Sequence[str],
        *,
        expires_in_seconds: float | None,
        actor: Actor,
    ) -> tuple[TokenRecord, str]:
        """Creates a token; the secret is returned here only and kept as a SHA-256."""

    @abstractmethod
    def adopt_token(
        self, name: str, scopes: Sequence[str], secret: str, *, actor: Actor
    ) -> TokenRecord:
        """Returns the token of a secret that was made elsewhere, created unless it is there.

        Raises:
            InvalidInput: the secret does not have the form of our own, so it may be guessable.
            Conflict: it is that of a token with other scopes, or of a revoked one.
        """

    @abstractmethod
    def find_token(self, secret: str) -> TokenRecord | None:
        """Returns the live token of this secret, or of this session's; None if there is none.

        In constant time. A session's token expires when the session does.
        """

    @abstractmethod
    def list_tokens(self) -> list[TokenRecord]:
        """Returns all tokens, without secrets."""

    @abstractmethod
    def revoke_token(self, token_id: int, *, actor: Actor) -> TokenRecord:
        """Revokes a token at once; asking twice is harmless."""

    @abstractmethod
    def audit(self, *, cursor: str | None = None, limit: int = 100) -> Page[AuditRecord]:
        """Returns the audit trail, newest first."""
