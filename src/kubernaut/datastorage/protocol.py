"""HTTP/1.1 with a deadline for a request's head: a client that sends none is let go."""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class TimedHttpProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which by itself waits for ever for the end of a request's head.

    The time is that of an idle connection, `server.keepAliveTimeout`; bodies have their own.
    """

    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._have_head()
        super().connection_lost(exc)

    def on_headers_complete(self) -> None:
        """The head is here; what it asks for has deadlines of its own."""
        self._have_head()
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """Wait for the next request, unless it is here already."""
        super().on_response_complete()
        if self.cycle.response_complete:
            self._await_head()

    def _await_head(self) -> None:
        self._have_head()
        self._head_timer = self.loop.call_later(self.timeout_keep_alive, self._give_up)

    def _have_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()
