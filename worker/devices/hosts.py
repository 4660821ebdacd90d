"""The hosts of one trial: what only one of them can know, all of them do alike.

Every host runs the same programs in the same order. Clocks, directives and signals differ between
hosts, so the first one's word counts, and travels through the store that jax's own coordinator
keeps. Every wait has an end.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, TypeVar

AGREE_SECONDS = 600.0  # the first host may be writing a large checkpoint or asking the controller
KEPT = 16  # words behind the latest; a host that waits for one is at most one word behind

Word = TypeVar("Word")


class HostLost(Exception):
    """A host of this trial does not answer; the attempt cannot go on."""


class Hosts(ABC):
    """The hosts of one trial, as one of them sees them."""

    @property
    @abstractmethod
    def count(self) -> int:
        """How many there are."""

    @property
    @abstractmethod
    def first(self) -> bool:
        """Whether this is the one whose word counts, and that speaks with the controller."""

    @abstractmethod
    def agree(self, word: Callable[[], Word]) -> Word:
        """Returns what `word` returns on the first host; the others do not call it.

        Raises:
            HostLost: the first host has said nothing for too long.
        """

    @abstractmethod
    def together(self) -> None:
        """Returns once every host is here.

        Raises:
            HostLost: one has not come for too long.
        """

    @abstractmethod
    def ask_to_stop(self) -> None:
        """Has the first host stop the trial: this one must end."""

    @abstractmethod
    def asked_to_stop(self) -> bool:
        """Returns, on the first host, whether another one must end."""


class OneHost(Hosts):
    """The usual case: nobody to agree with."""

    count = 1
    first = True

    def agree(self, word: Callable[[], Word]) -> Word:
        """Returns the word."""
        return word()

    def together(self) -> None:
        """Returns: there is nobody to wait for."""

    def ask_to_stop(self) -> None:
        """Does nothing: this host looks at its own signal."""

    def asked_to_stop(self) -> bool:
        """Returns False: there is no other host."""
        return False


class SeveralHosts(Hosts):
    """Hosts that jax.distributed has brought together.

    Args:
        name: Of the attempt, the same on every host and never used before.
        client: Of jax's coordinator.
        rank: This host's number.
        count: How many there are.
    """

    def __init__(self, name: str, client: Any, *, rank: int, count: int) -> None:
        self._name = name
        self._client = client
        self._rank = rank
        self._count = count
        self._said = 0
        self._met = 0
        self._asked = False

    @property
    def count(self) -> int:
        """How many hosts there are."""
        return self._count

    @property
    def first(self) -> bool:
        """Whether this is host 0."""
        return self._rank == 0

    def agree(self, word: Callable[[], Word]) -> Word:
        """Returns the first host's word, which must be plain data."""
        self._said += 1
        key = f"{self._name}/word/{self._said}"
        if self.first:
            said = word()
            self._client.key_value_set(key, json.dumps(said))
            if self._said > KEPT:
                self._client.key_value_delete(f"{self._name}/word/{self._said - KEPT}")
            return said
        try:
            text = self._client.blocking_key_value_get(key, int(1000 * AGREE_SECONDS))
        except Exception as error:  # noqa: BLE001 (jax has no type for it)
            raise HostLost(f"the first host does not answer: {error}") from None
        heard: Word = json.loads(text)
        return heard

    def together(self) -> None:
        """Waits for the others; gloo gives up in half a minute where they still compile."""
        self._met += 1
        try:
            self._client.wait_at_barrier(f"{self._name}/met/{self._met}", int(1000 * AGREE_SECONDS))
        except Exception as error:  # noqa: BLE001 (jax has no type for it)
            raise HostLost(f"a host does not come: {error}") from None

    def ask_to_stop(self) -> None:
        """Leaves word for the first host, once."""
        if not self._asked:
            self._asked = True
            self._client.key_value_set(f"{self._name}/stop", "1", allow_overwrite=True)

    def asked_to_stop(self) -> bool:
        """Looks for such a word."""
        try:
            return bool(self._client.key_value_try_get(f"{self._name}/stop"))
        except Exception:  # noqa: BLE001 (there is none)
            return False


def hosts_here(name: str) -> Hosts:
    """Returns the hosts that this process belongs to."""
    from jax._src import distributed  # jax has no public way to its coordinator's store

    state = distributed.global_state
    if state.client is None:
        return OneHost()
    return SeveralHosts(name, state.client, rank=state.process_id, count=state.num_processes)
