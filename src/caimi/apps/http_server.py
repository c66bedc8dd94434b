"""Serves an ASGI application and a process's work in one event loop, until a signal ends both."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse
from granian.constants import Interfaces
from granian.server.embed import Server

from caimi.apps.json_observer import JsonObserver
from caimi.apps.problem import Forbidden, MalformedRequest, add_problems
from caimi.apps.process_config import HttpConfig
from caimi.apps.readiness import Check, add_operator_routes
from caimi.apps.strict_json import ConfigRefused
from caimi.ports.tracing import traced

__all__ = ["BodyLimit", "TraceHeaders", "bearer_check", "new_app", "read_token", "serve", "served"]

_SHORTEST_TOKEN: Final = 16
_LONGEST_BODY: Final = 1 << 20
_CONNECTIONS: Final = 128


def new_app(
    title: str, observer: JsonObserver, *, ready: Check, longer_bodies: Mapping[str, int] | None = None
) -> FastAPI:
    """An application with what every process serves: /healthz, /readyz, /metrics, problems, a limit on bodies.

    Arguments:
        longer_bodies: by the beginning of a path, the limit there.
    """
    app = FastAPI(title=title, version="1", docs_url=None, redoc_url=None, redirect_slashes=False)
    add_problems(app)
    app.add_middleware(BodyLimit, limit=_LONGEST_BODY, exceptions=longer_bodies or {})
    app.add_middleware(TraceHeaders)

    @app.get("/healthz", response_class=PlainTextResponse, summary="Whether the process lives")
    async def healthz() -> str:  # pyright: ignore[reportUnusedFunction] - a route
        return "ok\n"

    add_operator_routes(app, observer, ready)
    return app


class TraceHeaders:
    """Middleware that lets what a request's headers name be what the process works on while it answers."""

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self._app = app

    async def __call__(self, scope: dict[str, Any], receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
        """ASGI."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope.get("headers", ())}
        with traced(headers):
            await self._app(scope, receive, send)


class BodyLimit:
    """Middleware that ends a request whose body is longer than `limit` bytes, or its path's own limit."""

    def __init__(self, app: Callable[..., Awaitable[None]], limit: int, exceptions: Mapping[str, int]) -> None:
        self._app = app
        self._limit = limit
        self._exceptions = tuple(exceptions.items())

    async def __call__(self, scope: dict[str, Any], receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
        """ASGI."""
        path = scope.get("path", "")
        limit = next((most for start, most in self._exceptions if path.startswith(start)), self._limit)
        left = limit

        async def counted() -> Any:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise MalformedRequest(f"the body is longer than {limit} bytes")
            return message

        await self._app(scope, counted if scope["type"] == "http" else receive, send)


def read_token(path: Path) -> str:
    """The token of changing calls.

    Raises:
        ConfigRefused: The file is missing or too short.
    """
    try:
        token = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigRefused(f"{path}: cannot be read") from error
    if len(token) < _SHORTEST_TOKEN:
        raise ConfigRefused(f"{path}: shorter than {_SHORTEST_TOKEN} characters")
    return token


def bearer_check(token: str | None) -> Callable[[Request], Coroutine[Any, Any, None]]:
    """A dependency that lets only requests with the token pass; none at all where there is no token."""
    expected = None if token is None else f"Bearer {token}".encode()

    async def check(request: Request) -> None:
        given = request.headers.get("authorization", "").encode("latin-1", "replace")
        if expected is None or not hmac.compare_digest(given, expected):
            raise Forbidden

    return check


async def serve(
    app: FastAPI,
    http: HttpConfig,
    work: Coroutine[Any, Any, None],
    *,
    drain: Callable[[], Awaitable[None]] | None = None,
    connections: int = _CONNECTIONS,
) -> None:
    """Serve until SIGTERM or SIGINT; an error of `work` ends the process.

    Arguments:
        drain: awaited after the signal, while everything still works.
        connections: how many are served at a time; the others wait for one of these to end.
    """
    server = _server(app, http, connections)
    loop = asyncio.get_running_loop()
    ending = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.set)
    serving = asyncio.create_task(server.serve())
    working = asyncio.create_task(work)
    waiting = asyncio.create_task(ending.wait())
    done, _ = await asyncio.wait((serving, working, waiting), return_when=asyncio.FIRST_COMPLETED)
    if waiting in done and drain is not None:
        await drain()
    working.cancel()
    waiting.cancel()
    if serving not in done:
        server.stop()
    with contextlib.suppress(asyncio.CancelledError):
        await serving
    for task in done:
        task.result()


@contextlib.asynccontextmanager
async def served(app: FastAPI, http: HttpConfig, *, connections: int = _CONNECTIONS) -> AsyncGenerator[None]:
    """Serve while the block runs; signals are the caller's matter. Otherwise as `serve`."""
    server = _server(app, http, connections)
    serving = asyncio.create_task(server.serve())
    try:
        yield
    finally:
        if not serving.done():
            server.stop()
        with contextlib.suppress(asyncio.CancelledError):
            await serving


def _server(app: FastAPI, http: HttpConfig, connections: int) -> Server:
    return Server(
        app,
        address=http.host,
        port=http.port,
        interface=Interfaces.ASGINL,
        websockets=False,
        log_enabled=False,
        # Whoever finds the queue of connections full tries again after seconds, and later ever more rarely.
        backlog=max(connections, _CONNECTIONS),
        backpressure=connections,
    )
