"""Stand-in while the dispatcher lands."""


def doctor() -> None:
    """Stand-in."""
