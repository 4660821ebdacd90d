"""Whether the packages of a worker are installed; the controller does without them."""

from __future__ import annotations

from importlib.util import find_spec

from brainformer.search.errors import EnvironmentProblem


def require_worker_packages(*packages: str) -> None:
    """Checks that `packages` can be imported.

    Raises:
        EnvironmentProblem: names what is missing and how to install it.
    """
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        raise EnvironmentProblem(
            f"this command trains models, and {', '.join(missing)} is not installed",
            "install the worker's packages: pip install 'brainformer-search[cpu]'",
        )
