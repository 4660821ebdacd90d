"""Tokens and the audit trail."""

from __future__ import annotations

import pytest

from brainformer.search.errors import Conflict, InvalidInput, NotFound
from brainformer.search.spec import Limits
from brainformer.search.status import SearchStatus
from brainformer.search.storage_errors import StorageUnavailable
from brainformer.search.store.actor import Actor
from tests.search.store.site import ME, Site, spec


def create(site: Site, lifetime: float | None = None) -> tuple[int, str]:
    record, secret = site.store.create_token(
        "ci", ["worker", "read"], expires_in_seconds=lifetime, actor=ME
    )
    return record.id, secret


def test_a_secret_finds_its_token_and_is_not_in_the_database(site: Site) -> None:
    token_id, secret = create(site)
    found = site.store.find_token(secret)
    assert found is not None
    assert (found.id, found.scopes) == (token_id, ("read", "worker"))
    assert secret.startswith(found.prefix)
    with site.store._database.read() as tx:
        rows = tx.connection.exec_driver_sql("SELECT * FROM tokens").all()
        audit = tx.connection.exec_driver_sql("SELECT * FROM audit").all()
    assert secret not in repr(rows) + repr(audit)


@pytest.mark.parametrize("secret", ["", "bf_", "bf_" + "x" * 43, "\0", "\ud800", "x" * 100_000])
def test_a_wrong_secret_finds_nothing(site: Site, secret: str) -> None:
    create(site)
    assert site.store.find_token(secret) is None


def test_a_token_expires_by_the_databases_time(site: Site) -> None:
    _, secret = create(site, 60)
    site.clock.advance(59)
    assert site.store.find_token(secret) is not None
    site.clock.advance(1)
    assert site.store.find_token(secret) is None


def test_a_revoked_token_is_dead_at_once_and_stays_so(site: Site) -> None:
    token_id, secret = create(site)
    first = site.store.revoke_token(token_id, actor=ME)
    assert site.store.find_token(secret) is None
    assert site.store.revoke_token(token_id, actor=ME) == first
    actions = [one.action for one in site.store.audit().items]
    assert actions == ["token.revoke", "token.create"]


def test_the_last_use_is_noted_once_a_minute_at_most(site: Site) -> None:
    _, secret = create(site)
    site.store.find_token(secret)
    first = site.store.list_tokens()[0].last_used_at
    site.clock.advance(59)
    site.store.find_token(secret)
    assert site.store.list_tokens()[0].last_used_at == first
    site.clock.advance(1)
    site.store.find_token(secret)
    assert site.store.list_tokens()[0].last_used_at != first


def test_a_token_is_found_though_its_use_cannot_be_noted(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, secret = create(site)

    def full(*_: object) -> None:
        raise StorageUnavailable("the disk is full")

    monkeypatch.setattr("brainformer.search.sql.tokens.touch_token", full)
    assert site.store.find_token(secret) is not None


@pytest.mark.parametrize("number", [0, -1, 7, 2**70])
def test_a_token_that_is_not_there_is_not_revoked(site: Site, number: int) -> None:
    with pytest.raises(NotFound):
        site.store.revoke_token(number, actor=ME)


@pytest.mark.parametrize(
    ("name", "scopes", "lifetime"),
    [
        ("", ["read"], None),
        ("x" * 129, ["read"], None),
        ("a", [], None),
        ("a", ["root"], None),
        ("a", ["read"], 0.0),
        ("a", ["read"], float("nan")),
        ("a", ["read"], 1e12),
    ],
)
def test_a_token_that_breaks_a_rule_is_not_made(
    site: Site, name: str, scopes: list[str], lifetime: float | None
) -> None:
    with pytest.raises(InvalidInput):
        site.store.create_token(name, scopes, expires_in_seconds=lifetime, actor=ME)
    assert site.store.list_tokens() == []


def test_the_audit_trail_says_who_did_what_newest_first(site: Site) -> None:
    ann, bob = Actor("ann", "r-1"), Actor("bob\0", "r-2")
    search_id = site.store.create_search(spec(), actor=ann).id
    site.store.change_limits(search_id, Limits(trials=9), actor=bob)
    site.store.change_status(search_id, SearchStatus.CANCELLED, actor=ann)
    site.store.delete_search(search_id, actor=bob)
    lines = [(one.actor[:3], one.action, one.request_id) for one in site.store.audit().items]
    assert lines == [
        ("bob", "search.delete", "r-2"),
        ("ann", "search.cancelled", "r-1"),
        ("bob", "search.limits", "r-2"),
        ("ann", "search.create", "r-1"),
    ]
    assert {one.target for one in site.store.audit().items} == {search_id}


def test_the_audit_trail_is_read_page_by_page(site: Site) -> None:
    for index in range(5):
        site.create(name=f"s{index}")
    first = site.store.audit(limit=3)
    rest = site.store.audit(limit=3, cursor=first.next_cursor)
    ids = [one.id for one in (*first.items, *rest.items)]
    assert ids == sorted(ids, reverse=True)
    assert (len(ids), rest.next_cursor) == (5, None)


def test_an_adopted_secret_is_found_like_any_other_and_once_only(site: Site) -> None:
    secret = "bf_" + "0123456789abcdef" * 4
    first = site.store.adopt_token("chart", ["worker"], secret, actor=ME)
    assert site.store.adopt_token("chart", ["worker"], secret, actor=ME) == first
    assert site.store.find_token(secret) == first
    assert [token.id for token in site.store.list_tokens()] == [first.id]
    with pytest.raises(Conflict, match="scopes worker"):
        site.store.adopt_token("chart", ["admin"], secret, actor=ME)
