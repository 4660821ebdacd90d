"""The contract of browsers' sessions."""

from __future__ import annotations

from abc import ABC, abstractmethod


class SessionStore(ABC):
    """Sessions: they end by time, by sign-out, or with their token.

    `SearchStore.find_token` finds the token of a session's secret.
    """

    @abstractmethod
    def begin(self, token_secret: str, *, seconds: float) -> str | None:
        """Returns the secret of a new session of a live token; None if there is no such token.

        A session ends with its token, after so many seconds, or when it is ended.
        """

    @abstractmethod
    def end(self, secret: str) -> None:
        """Ends a session at once; harmless if there is none."""
