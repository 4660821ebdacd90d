"""The identity of a lease is written and read in one form."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainformer.search.errors import NotFound
from brainformer.search.trials.lease_id import LeaseId


@given(
    st.integers(1, 10**18 - 1),
    st.integers(1, 10**9 - 1),
    st.one_of(st.just(""), st.builds(LeaseId.new_key)),
)
def test_what_was_written_is_read_as_what_it_was(trial_id: int, attempt: int, key: str) -> None:
    lease = LeaseId(trial_id, attempt, key)
    assert LeaseId.parse(str(lease)) == lease


def test_its_text_is_what_earlier_versions_gave() -> None:
    assert str(LeaseId(42, 7)) == "42-7"
    assert str(LeaseId(42, 7, "0123456789abcdef")) == "42-7-0123456789abcdef"


def test_no_two_attempts_have_one_key() -> None:
    assert len({LeaseId.new_key() for _ in range(1000)}) == 1000


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "1-",
        "-1",
        "0-1",
        "1-0",
        "01-1",
        "1-1 ",
        "1-1\n",
        "٣-1",
        "1-1-1",
        "1-1-",
        "1-1-0123456789ABCDEF",
        "9" * 19,
    ],
)
def test_other_texts_are_no_leases(text: str) -> None:
    assert not LeaseId.is_one(text)
    with pytest.raises(NotFound, match="no lease"):
        LeaseId.parse(text)
