"""PgBouncer in transaction mode: worked with when named, refused in one sentence when not."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from brainformer.search.errors import EnvironmentProblem
from brainformer.search.sql.connection.migration import upgrade
from brainformer.search.sql.store import open_store
from brainformer.search.status import SearchStatus
from brainformer.search.storage_errors import StorageUnreachable
from brainformer.search.trials.lease_messages import ClaimRequest, Progress
from brainformer.search.trials.trial import TrialStatus
from tests.pooler import pooler
from tests.postgres import PostgresServer
from tests.search.store.audit import check_everything
from tests.search.store.site import Site, completed


@pytest.fixture
def database(postgres: PostgresServer) -> Iterator[str]:
    url = postgres.create_with_schema()
    yield url
    postgres.drop(url)


def test_a_pooler_that_refuses_our_options_is_named(database: str) -> None:
    with pooler(database) as found, pytest.raises(StorageUnreachable, match="pgbouncer=true"):
        open_store(found.url())


def test_a_pooler_that_drops_our_options_is_named(database: str) -> None:
    with (
        pooler(database, ignores_options=True) as found,
        pytest.raises(EnvironmentProblem, match="pgbouncer=true"),
    ):
        open_store(found.url())


def test_a_search_runs_through_a_pooler(database: str) -> None:
    with pooler(database) as found:
        site = Site(found.url(pgbouncer="true"))
        search_id = site.started(limits={"trials": 60}, lease_seconds=3600)
        store = site.store

        def work(name: str) -> None:
            request = ClaimRequest(worker_id=name, pool="cpu")
            while store.get_search(search_id).status is SearchStatus.RUNNING:
                for lease in store.claim(request):
                    store.progress(lease.lease_id, Progress())
                    store.result(lease.lease_id, completed(2.0 + lease.trial_number / 100))

        with ThreadPoolExecutor(6) as pool:
            for job in [pool.submit(work, f"w-{n}") for n in range(6)]:
                job.result()
        assert site.search(search_id).counts[TrialStatus.COMPLETED] == 61
        check_everything(store, search_id)
        store.check()
        store.close()


def test_the_schema_is_made_through_a_pooler(postgres: PostgresServer) -> None:
    url = postgres.create()
    with pooler(url) as found:
        upgrade(found.url(pgbouncer="true"))
        store = open_store(found.url(pgbouncer="true"))
        store.check()
        store.close()
    postgres.drop(url)
