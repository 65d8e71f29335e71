"""Runs the service: listens, tells when it is ready, and ends without losing what it took."""

import asyncio
import contextlib
import gc
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from typing import Final

import psycopg
import structlog
import uvicorn
from prometheus_client import start_http_server

from kubernaut.datastorage import metrics
from kubernaut.datastorage.app import create_app
from kubernaut.datastorage.logs import configure_logging
from kubernaut.datastorage.protocol import TimedHttpProtocol
from kubernaut.datastorage.schema import MigrationNeededError, check_schema
from kubernaut.datastorage.service import Service
from kubernaut.datastorage.settings import Settings

log = structlog.get_logger(__name__)

_BACKLOG: Final = 2048
_RECEIVE_BUFFER: Final = 64 * 1024
"""Bytes a connection may bring before its request is admitted; the kernel holds back the rest.

The event loop reads all that is there in one go, so that under overload this, times the
connections, is what memory grows by.
"""
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_PAUSE_SECONDS: Final = 0.25


class StartupError(Exception):
    """The service cannot start; one line says why."""


class _Server(uvicorn.Server):
    """uvicorn, but the signals are ours: the first ends gracefully, the second at once."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _serve(
    settings: Settings, listener: socket.socket, on_ready: Callable[[], None] | None
) -> int:
    service = Service(settings)
    config = uvicorn.Config(
        create_app(service),
        loop="uvloop",
        http=TimedHttpProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        date_header=False,
        backlog=_BACKLOG,
        timeout_keep_alive=int(settings.server.keep_alive_timeout),
        timeout_graceful_shutdown=int(settings.server.shutdown_timeout) or 1,
    )
    server = _Server(config)
    loop = asyncio.get_running_loop()

    def stop(number: int) -> None:
        if service.health.stopping:
            log.warning("second signal, exiting at once", signal=signal.Signals(number).name)
            os._exit(1)
        log.info("stopping", signal=signal.Signals(number).name)
        service.health.stopping = True
        server.should_exit = True

    for number in _SIGNALS:
        loop.add_signal_handler(number, stop, number)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    # uvicorn has a flag for this, not an event.
    while not server.started and not serving.done():  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    if server.started:
        _settle_garbage_collector()
        log.info("serving", host=settings.server.host, port=settings.server.port)
        if on_ready:
            on_ready()
    await serving
    log.info("stopped")
    return 0 if server.started else 1


def _settle_garbage_collector() -> None:
    """Spare the collector what lives as long as the process.

    Requests make many objects and no cycles. Walking all modules each time some hundred events
    came by was the tail of the latency.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise StartupError(f"cannot listen on {host}:{port}: {error.strerror}") from None
    listener.setblocking(False)
    return listener


def _check_database(settings: Settings, wait: float) -> None:
    """A wrong schema ends the start; a database that is away does not, it may come back.

    Raises:
        SchemaError: the schema is newer; or missing or older, also after `wait` seconds.
    """
    deadline = time.monotonic() + wait
    told = False
    while True:
        try:
            return check_schema(settings.database.url.get_secret_value())
        except MigrationNeededError as error:
            if time.monotonic() >= deadline:
                raise
            reason = str(error)
        except psycopg.Error as error:
            reason = str(error).strip()
            if time.monotonic() >= deadline:
                log.warning("the database cannot be reached yet", reason=reason)
                return None
        if not told:
            log.info("waiting for the database and its schema", seconds=wait, reason=reason)
            told = True
        time.sleep(_PAUSE_SECONDS)


def serve(
    settings: Settings, *, wait: float = 0, on_ready: Callable[[], None] | None = None
) -> int:
    """Serve until SIGTERM or SIGINT, then finish what was taken and return the exit code.

    Args:
        settings: from `load_settings`.
        wait: seconds to wait for the database and a schema of this version, before requests are
            answered.
        on_ready: called once requests are answered.

    Raises:
        StartupError: a port cannot be had.
        SchemaError: the database has the wrong schema.
    """
    configure_logging(settings.logging.level)
    listener = _listen(settings.server.host, settings.server.port)
    with contextlib.closing(listener):
        _check_database(settings, wait)
        if settings.server.metrics_port is not None:
            try:
                start_http_server(
                    settings.server.metrics_port, settings.server.host, metrics.REGISTRY
                )
            except OSError as error:
                raise StartupError(
                    f"cannot listen on {settings.server.host}:{settings.server.metrics_port}"
                    f" for metrics: {error.strerror}"
                ) from None
        with asyncio.Runner(loop_factory=uvloop_loop) as runner:
            return runner.run(_serve(settings, listener, on_ready))


def uvloop_loop() -> asyncio.AbstractEventLoop:
    """A uvloop event loop."""
    import uvloop  # noqa: PLC0415  (not needed to import this module)

    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop
