"""Settings in the environment: what Kubernetes puts there is left alone, lists are easy to write.

For every Service in a pod's namespace Kubernetes sets NAME_PORT=tcp://10.96.12.7:8700 and the like.
Of a Service called brainformer these names begin as settings do.
"""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping

from pydantic_settings import EnvSettingsSource

PREFIX = "BRAINFORMER_"
SERVICE_LINK = re.compile(r"(tcp|udp|sctp)://", re.IGNORECASE)
SET_BY_KUBERNETES = re.compile(
    r".*_SERVICE_(HOST|PORT\w*)|.*_PORT_[0-9]+_\w+|.*PORT", re.IGNORECASE
)
# Read by the command line, not by the controller.
OTHERS = frozenset({"URL", "TOKEN", "TOKEN_FILE", "FAMILY"})


class Environment(EnvSettingsSource):
    """The environment without what Kubernetes has put there."""

    def _load_env_vars(self) -> Mapping[str, str | None]:
        found = super()._load_env_vars()
        return {name: value for name, value in found.items() if not is_service_link(name, value)}


def is_service_link(name: str, value: str | None) -> bool:
    """Returns whether a variable tells of a Service rather than of a setting."""
    return name.upper().endswith("PORT") and SERVICE_LINK.match(value or "") is not None


def listed(given: object) -> object:
    """Returns the entries of a list that is written with commas or as JSON.

    Raises:
        ValueError: it begins like JSON and is not.
    """
    if not isinstance(given, str):
        return given
    if given.lstrip().startswith("["):
        try:
            return json.loads(given)
        except ValueError:
            raise ValueError("a list is written with commas (a,b) or as JSON") from None
    return [entry.strip() for entry in given.split(",") if entry.strip()]


def unknown_variables(known: Iterable[str]) -> Iterator[str]:
    """Yields a sentence on each variable that looks like a setting and is none.

    Args:
        known: The settings' names.
    """
    names = {name.upper() for name in known}
    for variable in sorted(os.environ):
        upper = variable.upper()
        name = upper.removeprefix(PREFIX)
        if name == upper or name in names | OTHERS or SET_BY_KUBERNETES.fullmatch(f"_{name}"):
            continue
        near = difflib.get_close_matches(name, sorted(names), n=1)
        hint = f"; did you mean {PREFIX}{near[0]}?" if near else ""
        yield f"{variable} in the environment is not a setting{hint}"
