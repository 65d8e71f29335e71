"""The operator's HTTP answers: `/healthz`, `/readyz` and `/metrics`.

- `/healthz`: 200 while the event loop turns. It asks nobody: a restart would help nobody else.
- `/readyz`: 200 once the caches are filled, with or without the lease, with or without DataStorage.
- `/metrics`: the text format of Prometheus. Values are looked up in a thread, for a slow disk of
  the journal must not keep the event loop waiting.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

Unready = Callable[[], Sequence[str]]
"""Says what is not ready yet; nothing where all is."""

_OK: Final = "ok\n"
_SHUTDOWN_SECONDS: Final = 1.0


class ListenError(Exception):
    """An address cannot be listened on; the text says which and why."""


class ProbeServer:
    """Serves the three paths on one address or on two.

    Args:
        registry: of the metrics.
        unready: see `Unready`.
    """

    def __init__(self, registry: CollectorRegistry, unready: Unready) -> None:
        self._registry = registry
        self._unready = unready
        self._runners: list[web.AppRunner] = []

    async def start(
        self, health: tuple[str, int] | None, metrics: tuple[str, int] | None
    ) -> dict[str, str]:
        """Listen; None is nowhere, and two equal addresses are one.

        Returns:
            The address of `health` and of `metrics`, as `host:port`, where there is one.

        Raises:
            ListenError: an address cannot be had. Nothing is listened on then.
        """
        probes = [web.get("/healthz", self._healthz), web.get("/readyz", self._readyz)]
        figures = [web.get("/metrics", self._metrics)]
        if health == metrics:
            served = {"health": (health, probes + figures)}
        else:
            served = {"health": (health, probes), "metrics": (metrics, figures)}
        addresses: dict[str, str] = {}
        try:
            for name, (address, routes) in served.items():
                if address is not None:
                    addresses[name] = await self._listen(name, address, routes)
        except BaseException:
            await self.close()
            raise
        if health is not None and health == metrics:
            addresses["metrics"] = addresses["health"]
        return addresses

    async def close(self) -> None:
        """Stop listening."""
        for runner in self._runners:
            await runner.cleanup()
        self._runners.clear()

    async def _listen(
        self, name: str, address: tuple[str, int], routes: Sequence[web.RouteDef]
    ) -> str:
        application = web.Application()
        application.add_routes(routes)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS)
        self._runners.append(runner)
        await runner.setup()
        host, port = address
        try:
            await web.TCPSite(runner, host or None, port).start()
        except OSError as error:
            raise ListenError(
                f"cannot listen on {host}:{port} for {name}: {error.strerror or error}"
            ) from None
        found_host, found_port = runner.addresses[0][:2]
        return f"[{found_host}]:{found_port}" if ":" in found_host else f"{found_host}:{found_port}"

    async def _healthz(self, _request: web.Request) -> web.Response:
        return web.Response(text=_OK)

    async def _readyz(self, _request: web.Request) -> web.Response:
        if waiting := self._unready():
            return web.Response(text=f"not ready: {', '.join(waiting)}\n", status=503)
        return web.Response(text=_OK)

    async def _metrics(self, _request: web.Request) -> web.Response:
        body = await asyncio.to_thread(generate_latest, self._registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})
