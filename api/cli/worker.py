"""Stand-in while the dispatcher lands."""


def worker() -> None:
    """Stand-in."""
