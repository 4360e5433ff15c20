"""The control server: four pages over HTTP, in a thread of its own.

    /metrics   Prometheus' text format
    /healthz   200 while the loop goes round, 503 when it has not for too long: restart the worker
    /readyz    200 when every connection and the model can be used, else 503 and the list
    /status    phase, components, positions, model, as JSON

It reads and never changes anything, has no login, and so listens on 127.0.0.1 unless told otherwise.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from contextlib import suppress
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from stream_infer.control.metrics import CONTENT_TYPE, Metrics
from stream_infer.control.status import Status
from stream_infer.errors import ControlError

__all__ = ["ControlServer"]

_CONNECTION_AGE_S = 30.0
_OPEN_WITHIN_S = 60.0
_CLOSE_WITHIN_S = 10.0


class ControlServer:
    """Serves ``status`` and ``metrics``.

    The worker counts as alive while its loop went round within ``alive_within_s``.
    """

    def __init__(self, host: str, port: int, status: Status, metrics: Metrics, alive_within_s: float) -> None:
        self._host = host
        self._port = port
        self._status = status
        self._metrics = metrics
        self._alive_within_s = alive_within_s
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port it listens on: the one asked for, or the free one it found."""
        return self._port

    def open(self) -> None:
        """Listen and serve. Raises ControlError where the address cannot be used."""
        listening = listen(self._host, self._port)
        self._port = listening.getsockname()[1]
        self._metrics.watch(self._status.progress_age_s, lambda: not self._status.snapshot().not_ready)
        config = uvicorn.Config(
            pages(self._status, self._metrics, self._alive_within_s),
            http=_BoundedConnection,
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            limit_concurrency=64,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=2,
            h11_max_incomplete_event_size=16_384,
        )
        self._server = _Server(config)
        # uvicorn takes over signals in the main thread only, so the worker keeps its own.
        self._thread = threading.Thread(
            target=self._server.run, args=([listening],), name="control", daemon=True
        )
        self._thread.start()
        deadline_s = time.monotonic() + _OPEN_WITHIN_S
        while not self._server.started:
            if time.monotonic() > deadline_s or not self._thread.is_alive():
                raise ControlError(f"the control server did not start on {self._host}:{self._port}")
            time.sleep(0.005)

    def close(self) -> None:
        """Stop listening; a request in hand is answered. Safe to call twice."""
        if self._server is not None and self._thread is not None:
            self._server.stop()
            self._thread.join(_CLOSE_WITHIN_S)
        self._server = self._thread = None


def listen(host: str, port: int) -> socket.socket:
    """Bind the address. Raises ControlError with the setting to change."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=64)
    except PermissionError:
        why = "this user may not use the port; set control.port to one from 1024 on"
    except socket.gaierror:
        why = "no such address; set control.host to 127.0.0.1 or to an address of this machine"
    except OSError as error:
        why = f"{error.strerror or error}; set control.port to another port (0 takes any free one)"
    raise ControlError(f"control.host = {host}, control.port = {port}: cannot listen: {why}")


def pages(status: Status, metrics: Metrics, alive_within_s: float) -> Starlette:
    """Make the web application. It has the four pages, by GET, and nothing else."""

    async def shown(_: Request) -> Response:
        return Response(metrics.exposition(), media_type=CONTENT_TYPE)

    async def healthz(_: Request) -> Response:
        age_s = status.progress_age_s()
        alive = age_s <= alive_within_s
        content = {"alive": alive, "progress_age_s": round(age_s, 3), "within_s": alive_within_s}
        return JSONResponse(content, 200 if alive else 503)

    async def readyz(_: Request) -> Response:
        snapshot = status.snapshot()
        components = {
            name: {"ok": component.ok, "detail": component.detail}
            for name, component in snapshot.components.items()
        }
        content: dict[str, Any] = {
            "ready": not snapshot.not_ready,
            "phase": snapshot.phase,
            "not_ready": snapshot.not_ready,
            "components": components,
        }
        return JSONResponse(content, 503 if snapshot.not_ready else 200)

    async def told(_: Request) -> Response:
        return JSONResponse(status.snapshot().as_dict())

    by_path = {"/metrics": shown, "/healthz": healthz, "/readyz": readyz, "/status": told}
    return Starlette(routes=[Route(path, page, methods=["GET"]) for path, page in by_path.items()])


class _Server(uvicorn.Server):
    """Waits to be told to exit. uvicorn looks ten times a second, which is a fifth of what an idle worker does."""

    _told: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None

    async def main_loop(self) -> None:
        event = asyncio.Event()
        self._told = asyncio.get_running_loop(), event
        if not self.should_exit:
            await event.wait()

    def stop(self) -> None:
        """From any thread."""
        self.should_exit = True
        if self._told is not None:
            loop, event = self._told
            with suppress(RuntimeError):  # it has ended: who waited for that was interrupted, and comes again
                loop.call_soon_threadsafe(event.set)


class _BoundedConnection(H11Protocol):
    """A connection that ends after a while, whatever the client does.

    uvicorn waits without limit for a request that was begun or never came; clients that send a byte a
    minute would use up all connections and turn the health checks away.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._timer = self.loop.call_later(_CONNECTION_AGE_S, self._expire)

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        super().connection_lost(exc)

    def _expire(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._timer = self.loop.call_later(1.0, self._expire)
        else:
            self.transport.close()
