import anyio
import pytest

from brainformer.api.gate.middleware import _reader_has_gone

GONE = anyio.BrokenResourceError()
BUG = ValueError("a bug")


@pytest.mark.parametrize(
    ("error", "gone"),
    [
        (GONE, True),
        (ExceptionGroup("tasks", [GONE]), True),
        (ExceptionGroup("tasks", [ExceptionGroup("inner", [GONE])]), True),
        (BUG, False),
        (ExceptionGroup("tasks", [GONE, BUG]), False),
    ],
)
def test_only_a_reader_that_leaves_is_no_failure(error: Exception, gone: bool) -> None:
    assert _reader_has_gone(error) is gone
