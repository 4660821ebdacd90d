"""Results on disk until the controller has them: a dead network loses nothing."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from brainformer.search.errors import (
    ControllerUnreachable,
    InvalidInput,
    LeaseLost,
    NotAuthorised,
)
from brainformer.search.trials.lease_id import LeaseId
from brainformer.search.trials.lease_messages import Result
from brainformer.worker.slot.controller_client import LeaseClient

log = logging.getLogger(__name__)
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
INHERIT_SECONDS = 60.0  # between looks for what a process that died has left


class Letter(BaseModel):
    """A result on its way, and the search that it belongs to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    search_id: str
    result: Result


class Outbox:
    """Delivers results in the background, with backoff.

    Several processes may share the folder: to deliver twice is harmless.

    Args:
        folder: Of one controller alone, since another one counts its leases from the start.
        client: Speaks to the controller.
        inherits: Whether to deliver what other processes have left there too; one of those that
            share a folder should, and all of them would be a flood.
        first_pause: Seconds before the second delivery is tried; doubled from then on.
    """

    def __init__(
        self,
        folder: Path,
        client: LeaseClient,
        *,
        inherits: bool,
        first_pause: float = FIRST_PAUSE_SECONDS,
    ) -> None:
        self._folder = folder
        self._client = client
        self._first_pause = first_pause
        self._wake = threading.Event()
        self._closed = threading.Event()
        self._inherits = inherits
        self._own: set[str] = set()
        self._in_hand: set[str] = set()
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)
        self._thread.start()

    def put(self, lease_id: str, search_id: str, result: Result, *, wait: bool = True) -> None:
        """Keeps a result and delivers it, now or as soon as the controller answers.

        Args:
            lease_id: What has ended.
            search_id: Of the search that it belongs to.
            result: How.
            wait: Whether the first delivery is tried before this returns.

        Raises:
            BrainformerError: it can neither be kept nor delivered.
        """
        path = self._folder / f"{lease_id}.json"
        part = path.with_suffix(".part")
        letter = Letter(search_id=search_id, result=result)
        self._in_hand.add(path.name)
        try:
            part.write_text(letter.model_dump_json(), "utf-8")
            part.replace(path)
        except OSError as error:  # a full disk: one delivery without the safety net
            log.warning("result of lease %s cannot be kept: %s", lease_id, error.strerror)
            self._client.result(lease_id, result)
        else:
            self._own.add(path.name)
            delivered = wait and self._deliver(path)
            self._in_hand.discard(path.name)
            if not delivered:
                self._wake.set()
        finally:
            self._in_hand.discard(path.name)

    def waiting(self) -> list[Path]:
        """Returns the results that are not delivered yet, of other processes too if it inherits."""
        paths = [path for path in self._folder.glob("*.json") if LeaseId.is_one(path.stem)]
        return sorted(path for path in paths if self._inherits or path.name in self._own)

    def close(self) -> None:
        """Stops the background deliveries; what is left stays on disk."""
        self._closed.set()
        self._wake.set()
        self._thread.join(timeout=20)

    def _run(self) -> None:
        pause = self._first_pause
        while not self._closed.is_set():
            undelivered = [path for path in self.waiting() if not self._deliver_later(path)]
            if undelivered:
                self._closed.wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            else:
                pause = self._first_pause
                self._wake.wait(INHERIT_SECONDS if self._inherits else None)
                self._wake.clear()

    def _deliver_later(self, path: Path) -> bool:
        """Delivers unless `put` is just doing it."""
        return path.name in self._in_hand or self._deliver(path)

    def _deliver(self, path: Path) -> bool:
        """Returns whether the result needs no further delivery."""
        try:
            letter = Letter.model_validate_json(path.read_bytes())
            # A controller at the same address may have started over, with the same lease ids.
            if path.name not in self._own and self._client.forgot(letter.search_id):
                return self._set_aside(path, f"the controller knows no search {letter.search_id}")
            self._client.result(path.stem, letter.result)
        except FileNotFoundError:
            return True  # another delivery was faster
        except (ControllerUnreachable, NotAuthorised) as error:
            log.warning("result of lease %s is kept for later: %s", path.stem, error.message)
            return False
        except LeaseLost as error:
            log.warning("%s", error.message)
        except InvalidInput as error:
            return self._set_aside(path, error.message)
        except ValidationError:
            return self._set_aside(path, "it is not a result")
        except OSError as error:
            log.warning("%s cannot be read: %s", path, error.strerror)
            return False
        path.unlink(missing_ok=True)
        self._own.discard(path.name)
        return True

    def _set_aside(self, path: Path, why: str) -> bool:
        log.warning("%s is set aside: %s", path, why)
        self._own.discard(path.name)
        try:
            path.replace(path.with_suffix(".refused"))
        except FileNotFoundError:
            return True
        return True
