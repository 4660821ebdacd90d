"""The controller's app: REST below /api/v1, the dashboard at /, health and metrics."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import cache, partial

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, FastAPI
from fastapi.middleware.gzip import GZipMiddleware
from starlette.concurrency import run_in_threadpool
from starlette.routing import BaseRoute

from brainformer.api.dashboard import files as dashboard
from brainformer.api.dependencies import Controller
from brainformer.api.gate.admission import KnownDataSets
from brainformer.api.gate.auth import Authenticator
from brainformer.api.gate.head_requests import HeadRequests
from brainformer.api.gate.middleware import ROOT, RequestGate
from brainformer.api.gate.rate_limit import RateLimit
from brainformer.api.gate.stream_limit import StreamLimit
from brainformer.api.gate.sub_path import SubPath
from brainformer.api.live.event_hub import EventHub
from brainformer.api.live.metrics import Metrics
from brainformer.api.live.point_batches import PointBatches
from brainformer.api.problems import problem as errors
from brainformer.api.reference import page as reference
from brainformer.api.reference.openapi import operation_id, schema_maker
from brainformer.api.report.recent_reports import RecentReports
from brainformer.api.routes import (
    catalogue,
    certificates,
    charts,
    events,
    leases,
    notes,
    operation,
    pools,
    promotions,
    reports,
    searches,
    session,
    tokens,
    trials,
)
from brainformer.api.settings import Settings
from brainformer.search.storage_errors import StorageError
from brainformer.search.store.contract import SearchStore
from brainformer.search.store.retention import Retention

DESCRIPTION = (
    "Searches for better transformer blocks under a fixed training budget. Send a bearer token "
    "unless the controller is open to its own machine. Errors are application/problem+json with a "
    "stable code. Listings are pages: follow next_cursor or the Link header."
)


def create_app(settings: Settings, *, store: SearchStore | None = None) -> FastAPI:
    """Returns the app on `store`, or on the one that the settings name.

    The store is closed when the app ends.

    Raises:
        StorageError: the database cannot be opened.
    """
    parts = assemble(settings, store if store is not None else _open(settings))
    app = FastAPI(
        title="Brainformer search",
        version=operation.VERSION,
        description=DESCRIPTION,
        openapi_url=f"{ROOT}/openapi.json",
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=operation_id,
        lifespan=partial(_lifespan, parts),
        redirect_slashes=False,
        routes=_routes(),
    )
    app.state.controller = parts
    errors.install(app)
    # The last one added is the outermost.
    app.add_middleware(GZipMiddleware, minimum_size=2_000, compresslevel=1)
    app.add_middleware(HeadRequests)
    app.add_middleware(
        RequestGate,
        settings=settings,
        metrics=parts.metrics,
        authenticator=parts.authenticator,
    )
    app.add_middleware(SubPath, prefix=settings.root_path)
    app.openapi = schema_maker(app)  # type: ignore[method-assign]
    return app


@cache
def _routes() -> list[BaseRoute]:
    """Returns all routes; they know nothing of an app, and take a third of a second to make."""
    every = APIRouter(generate_unique_id_function=operation_id)
    rest = APIRouter(prefix=ROOT)
    # Routes are tried one after another, and a fleet asks for leases more than for all the rest.
    for module in (
        leases,
        searches,
        notes,
        trials,
        reports,
        certificates,
        charts,
        events,
        catalogue,
        pools,
        promotions,
        tokens,
        session,
    ):
        rest.include_router(module.router)
    rest.include_router(searches.specs)
    every.include_router(rest)
    every.include_router(operation.router)
    every.include_router(reference.router)
    every.include_router(dashboard.router)
    return every.routes


def assemble(settings: Settings, store: SearchStore) -> Controller:
    """Returns the parts of a controller on `store`."""
    failures = RateLimit(
        settings.failed_logins_per_minute / 60, max(10, settings.failed_logins_per_minute)
    )
    metrics = Metrics(store.statistics)
    return Controller(
        settings=settings,
        store=store,
        hub=EventHub(
            store,
            poll_seconds=settings.poll_seconds,
            reap_seconds=settings.reap_seconds,
            on_event=metrics.event,
            on_failure=metrics.task_failed,
            keep=Retention(
                event_days=settings.keep_event_days,
                worker_days=settings.keep_worker_days,
                audit_days=settings.keep_audit_days,
            ),
        ),
        metrics=metrics,
        authenticator=Authenticator(
            store,
            loopback=settings.is_loopback,
            cache_seconds=settings.token_cache_seconds,
            failures=failures,
        ),
        datasets=KnownDataSets(settings.datasets),
        streams=StreamLimit(settings.max_streams, settings.max_streams_per_client),
        claims=RateLimit(settings.claims_per_second, 2 * settings.claims_per_second),
        recent_reports=RecentReports(store),
        points=PointBatches(store),
    )


@asynccontextmanager
async def _lifespan(parts: Controller, _app: FastAPI) -> AsyncIterator[None]:
    parts.metrics.watch_tasks(parts.hub.tasks_up)
    parts.metrics.watch(parts.hub.figures)
    parts.metrics.watch(parts.store.care.vitals)
    parts.metrics.watch(partial(_threads, parts, to_thread.current_default_thread_limiter()))
    await parts.hub.start()
    warming = asyncio.create_task(_warm(parts.store))
    try:
        yield
    finally:
        await parts.hub.stop()
        await warming
        await run_in_threadpool(parts.recent_reports.close)
        await run_in_threadpool(parts.store.close)


def _threads(parts: Controller, requests: CapacityLimiter) -> dict[str, float]:
    """Returns how many of the threads that serve requests are taken."""
    pools: dict[str, tuple[float, float]] = {
        "requests": (requests.borrowed_tokens, requests.total_tokens),
        "lease_reports": (parts.reporting.taken, parts.reporting.most),
        "heartbeats": (parts.heartbeats.taken, parts.heartbeats.most),
        "points": (parts.points.threads.taken, parts.points.threads.most),
        "claims": (parts.claiming.taken, parts.claiming.most),
        "authentication": (parts.authenticator.threads.taken, parts.authenticator.threads.most),
        "care": (parts.care.taken, parts.care.most),
    }
    found = {}
    for name, (taken, most) in pools.items():
        found[f'pool_threads_taken{{pool="{name}"}}'] = taken
        found[f'pool_threads_most{{pool="{name}"}}'] = most
    return found


async def _warm(store: SearchStore) -> None:
    """Makes what the dashboard will show first; a store that cannot be read says so later."""
    await run_in_threadpool(dashboard.prepare)
    with suppress(StorageError):
        await run_in_threadpool(store.charts.warm)


def _open(settings: Settings) -> SearchStore:
    from brainformer.search.sql.store import open_store

    return open_store(settings.database_url)
