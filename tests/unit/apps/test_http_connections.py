"""The real HTTP server: as many connections at a time as was said, and a client that goes away ends its call."""

from __future__ import annotations

import asyncio
import io
import socket
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, cast

from fastapi import FastAPI

from caimi.apps.direct_api import add_direct_calls
from caimi.apps.http_server import new_app, served
from caimi.apps.json_observer import JsonObserver
from caimi.apps.process_config import HttpConfig
from caimi.host.serving import DirectServing
from caimi.types.primitives import Bytes32

_MANY = 300
_WITHIN_S = 60.0


async def _ready() -> Sequence[str]:
    return ()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class _Serving:
    """Takes calls and answers them when all are there."""

    most_body_bytes = 1 << 20

    def __init__(self, expected: int) -> None:
        self._expected = expected
        self.here = 0
        self.ended = 0
        self.all_here = asyncio.Event()
        self.two_here = asyncio.Event()
        self.one_gone = asyncio.Event()

    @contextmanager
    def place(self, body_bytes: int) -> Generator[None]:
        yield

    async def infer(self, publication: Bytes32, body: bytes) -> bytes:
        self.here += 1
        if self.here >= 2:
            self.two_here.set()
        if self.here == self._expected:
            self.all_here.set()
        try:
            await self.all_here.wait()
        except asyncio.CancelledError:
            self.one_gone.set()
            raise
        finally:
            self.ended += 1
        return body


def _app(serving: _Serving) -> FastAPI:
    app = new_app("host", JsonObserver("host", io.StringIO()), ready=_ready)
    add_direct_calls(app, lambda: cast(DirectServing, serving))
    return app


async def _connect(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    async with asyncio.timeout(_WITHIN_S):
        while True:
            try:
                return await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.01)


async def _ask(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await _connect(port)
    path = f"/v1/models/0x{bytes(32).hex()}/infer"
    writer.write(f"POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody".encode())
    await writer.drain()
    return reader, writer


def test_as_many_calls_as_was_said_are_served_at_a_time() -> None:
    async def scenario() -> None:
        serving, port = _Serving(_MANY), _free_port()
        async with served(_app(serving), HttpConfig(port=port), connections=_MANY), asyncio.timeout(_WITHIN_S):
            lines = await asyncio.gather(*(_ask(port) for _ in range(_MANY)))
            # No answer comes before all are there: with fewer connections none ever would.
            heads: list[Any] = await asyncio.gather(*(reader.readuntil(b"\r\n") for reader, _ in lines))
            assert {head.split()[1] for head in heads} == {b"200"}
            for _, writer in lines:
                writer.close()

    asyncio.run(scenario())


def test_a_client_that_goes_away_ends_its_call_and_no_other() -> None:
    async def scenario() -> None:
        serving, port = _Serving(3), _free_port()
        async with served(_app(serving), HttpConfig(port=port)), asyncio.timeout(_WITHIN_S):
            (kept, held), (_, leaving) = await _ask(port), await _ask(port)
            await serving.two_here.wait()
            leaving.close()
            await serving.one_gone.wait()
            assert serving.ended == 1
            third, last = await _ask(port)
            for reader in (kept, third):
                assert (await reader.readuntil(b"\r\n")).split()[1] == b"200"
            held.close()
            last.close()

    asyncio.run(scenario())
