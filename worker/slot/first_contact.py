"""The first word with a controller, before Ray starts: is it there, does it take this worker?"""

from __future__ import annotations

import threading
from collections.abc import Callable

from brainformer.search.errors import ControllerUnreachable, NotAuthorised
from brainformer.worker.slot.controller_client import LeaseClient

SCOPE = "worker"
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 15.0


def meet_controller(
    client: LeaseClient,
    ended: threading.Event,
    tell: Callable[[str], None],
    *,
    first_pause: float = FIRST_PAUSE_SECONDS,
) -> None:
    """Returns once the controller has answered and takes this worker, or `ended` is set.

    A controller that is not there yet is waited for, and each time said so.

    Raises:
        NotAuthorised: it refuses the token, or the token lacks the scope.
        InvalidInput: what answers there is not a controller.
    """
    pause = first_pause
    while not ended.is_set():
        try:
            who = client.whoami()
        except ControllerUnreachable as error:
            tell(f"{error.message}; trying again in {pause:g} s")
            ended.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            continue
        if SCOPE not in who.scopes:
            raise NotAuthorised(
                f"the controller at {client.url} knows this worker as {who.name}, which may not "
                f"claim leases; give a token with the scope {SCOPE}"
            )
        tell(f"the controller at {client.url} answers and knows this worker as {who.name}")
        return
