"""Runs the controller: checks first, then uvicorn, then an end in good time."""

from __future__ import annotations

import errno
import gc
import logging
import signal
import socket
import sys
import threading
from datetime import UTC, datetime
from functools import partial

import uvicorn
from fastapi import FastAPI
from threadpoolctl import threadpool_limits

from brainformer.api.app import create_app
from brainformer.api.connections import Crowd, GuardedConnection, affordable_connections
from brainformer.api.dependencies import Controller
from brainformer.api.environment import unknown_variables
from brainformer.api.logs import set_up_logging
from brainformer.api.settings import Settings
from brainformer.api.tracing import trace
from brainformer.search.errors import EnvironmentProblem
from brainformer.search.store.contract import SearchStore

log = logging.getLogger("brainformer.server")
# A thread that has its answer from the database waits as long for the interpreter, with every
# statement, while another one computes; and whoever waits for the row that it holds, with it.
SWITCH_SECONDS = 0.0005


class Server(uvicorn.Server):
    """Ends event streams and waiting claims first, so that the end does not wait for them."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Closes the streams, then what uvicorn closes."""
        app = self.config.app
        if isinstance(app, FastAPI):
            parts: Controller = app.state.controller
            parts.hub.close()
        await super().shutdown(sockets)


def serve(settings: Settings, *, create: bool = False) -> None:
    """Serves until SIGINT or SIGTERM.

    Args:
        settings: What the operator chose.
        create: Whether to begin an empty SQLite file although there was one before.

    Raises:
        EnvironmentProblem: the port is in use, the address is not this machine's, or it is not
            loopback and there is no token.
        StorageError: the database cannot be opened.
    """
    from brainformer.search.sql.store import open_store

    settings.require_lasting_database()
    set_up_logging(settings.log_level, settings.log_format)
    affordable_connections(settings)
    for told in unknown_variables(Settings.model_fields):
        log.warning("%s", told)
    listener = bind(settings.host, settings.port)
    with listener:
        store = open_store(settings.database_url, create=create)
        try:
            refuse_open_door(settings, store)
            # The surrogate's matrices are small: more threads make a proposal slower, beside busy
            # neighbours a hundred times.
            threadpool_limits(1)
            app = create_app(settings, store=store)
            end_tracing = trace(app, store.engines) if settings.tracing else None
            _spare_long_collections()
            sys.setswitchinterval(SWITCH_SECONDS)
            host, port = listener.getsockname()[:2]
            shown = f"[{host}]" if ":" in host else host
            _end_in_order_on_sigterm()
            log.info("serving on http://%s:%s", shown, port)
            Server(configuration(app, settings)).run(sockets=[listener])
            if end_tracing is not None:
                end_tracing()
        finally:
            store.close()


def _spare_long_collections() -> None:
    """Takes what was imported out of the garbage collector's sight.

    A full collection stops every thread. Going through modules, schemas and functions, which live
    as long as the process, took most of its time: up to a second on a busy machine.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def _end_in_order_on_sigterm() -> None:
    """Makes SIGTERM an end like any other: uvicorn sends it again once it has shut down.

    By default that would end the process before the database is closed, and not with exit code 0.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda _number, _frame: None)


def refuse_open_door(settings: Settings, store: SearchStore) -> None:
    """Returns if the address is loopback or a token is needed to get in.

    Raises:
        EnvironmentProblem: everybody on the network could do everything, or nobody anything.
    """
    if settings.is_loopback:
        return
    now = datetime.now(UTC)
    live = [
        token
        for token in store.list_tokens()
        if token.revoked_at is None and (token.expires_at is None or token.expires_at > now)
    ]
    if not live:
        raise EnvironmentProblem(
            f"{settings.host} can be reached from other machines, and there is no token yet",
            "make one with 'brainformer token create NAME --scope admin', or bind 127.0.0.1",
        )


def bind(host: str, port: int) -> socket.socket:
    """Returns a listening socket.

    Raises:
        EnvironmentProblem: one sentence on why it cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(512)
    except OSError as error:
        listener.close()
        raise _bind_problem(host, port, error) from None
    listener.set_inheritable(False)
    return listener


def _bind_problem(host: str, port: int, error: OSError) -> EnvironmentProblem:
    if error.errno == errno.EADDRINUSE:
        return EnvironmentProblem(
            f"port {port} on {host} is in use", "stop what uses it, or choose another with --port"
        )
    if error.errno == errno.EACCES:
        return EnvironmentProblem(
            f"port {port} needs more rights than this user has", "choose one above 1023"
        )
    return EnvironmentProblem(
        f"cannot bind {host}:{port}: {error.strerror or error}",
        "choose an address of this machine with --host",
    )


def configuration(app: FastAPI, settings: Settings) -> uvicorn.Config:
    """Returns how uvicorn serves the app."""
    parts: Controller = app.state.controller
    crowd = Crowd(
        most=affordable_connections(settings),
        most_of_one=settings.max_connections_per_client,
        head_seconds=settings.head_seconds,
        trusted=settings.trusted_proxies,
    )
    parts.metrics.watch(crowd.figures)
    return uvicorn.Config(
        app,
        http=partial(GuardedConnection, crowd=crowd),  # type: ignore[arg-type]
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
        timeout_graceful_shutdown=settings.shutdown_seconds,
        timeout_keep_alive=settings.idle_seconds,
        limit_concurrency=crowd.most + 1,
        h11_max_incomplete_event_size=64 * 1024,
    )
