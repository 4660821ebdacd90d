"""Results on disk until the controller has them: a dead network loses nothing."""

from __future__ import annotations

import logging
import re
import threading
from pathlib import Path

from pydantic import ValidationError

from search.errors import ControllerUnreachable, LeaseLost
from search.lease import Result
from worker.client import LeaseClient

log = logging.getLogger(__name__)
LEASE_ID = re.compile(r"^[0-9]+-[0-9]+$")
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0


class Outbox:
    """Delivers results in the background, with backoff, and what an earlier process left."""

    def __init__(self, folder: Path, client: LeaseClient) -> None:
        self._folder = folder
        self._client = client
        self._wake = threading.Event()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)
        self._thread.start()

    def put(self, lease_id: str, result: Result) -> None:
        """Keeps a result and delivers it, now or as soon as the controller answers."""
        path = self._folder / f"{lease_id}.json"
        part = path.with_suffix(".part")
        part.write_text(result.model_dump_json(), "utf-8")
        part.replace(path)
        if not self._deliver(path):
            self._wake.set()

    def waiting(self) -> list[Path]:
        """Returns the results that are not delivered yet, oldest first."""
        paths = [path for path in self._folder.glob("*.json") if LEASE_ID.match(path.stem)]
        return sorted(paths, key=lambda path: path.name)

    def close(self) -> None:
        """Stops the background deliveries; what is left stays on disk."""
        self._closed.set()
        self._wake.set()
        self._thread.join(timeout=20)

    def _run(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while not self._closed.is_set():
            undelivered = [path for path in self.waiting() if not self._deliver(path)]
            if undelivered:
                self._closed.wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            else:
                pause = FIRST_PAUSE_SECONDS
                self._wake.wait()
                self._wake.clear()

    def _deliver(self, path: Path) -> bool:
        """Returns whether the result needs no further delivery."""
        try:
            result = Result.model_validate_json(path.read_bytes())
            self._client.result(path.stem, result)
        except FileNotFoundError:
            return True  # another delivery was faster
        except ControllerUnreachable as error:
            log.warning("result of lease %s is kept for later: %s", path.stem, error.message)
            return False
        except LeaseLost as error:
            log.warning("%s", error.message)
        except ValidationError:
            log.warning("%s is not a result; it is set aside", path)
            path.replace(path.with_suffix(".broken"))
            return True
        path.unlink(missing_ok=True)
        return True
