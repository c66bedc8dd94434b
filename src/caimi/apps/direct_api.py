"""Direct calls over HTTP: bytes in, bytes out (spec 60 §7)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect

from caimi.apps.hex_values import read_bytes32
from caimi.apps.problem import MalformedRequest, Problem
from caimi.host.serving import DirectServing

__all__ = ["DIRECT_PATHS", "add_direct_calls"]

DIRECT_PATHS: Final = "/v1/models/"
"""How the path of a direct call begins."""
_PATH: Final = DIRECT_PATHS + "{publication}/infer"
_BINARY: Final = "application/octet-stream"
_SLOWEST_BODY_S: Final = 30.0
_GONE: Final = 499


class _BytesRoute(APIRoute):
    # The framework's reading of parameters and bodies costs more than a small call's cryptography.

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        return self.endpoint


def add_direct_calls(app: FastAPI, of_host: Callable[[], DirectServing]) -> None:
    """Let `app` take direct calls.

    Arguments:
        of_host: what answers them; asked at each call.
    """

    async def infer(request: Request) -> Response:
        publication, serving = read_bytes32(request.path_params["publication"]), of_host()
        length = _length(request, serving.most_body_bytes)
        with serving.place(length):
            try:
                async with asyncio.timeout(_SLOWEST_BODY_S):
                    body = await _body(request, length)
            except (TimeoutError, ClientDisconnect) as error:
                raise MalformedRequest("the body did not arrive") from error
            reply = await _unless_gone(request, serving.infer(publication, body))
        return Response(status_code=_GONE) if reply is None else Response(reply, media_type=_BINARY)

    binary = {"content": {_BINARY: {"schema": {"type": "string", "format": "binary"}}}}
    described: dict[int | str, dict[str, Any]] = {
        code: {"model": Problem} for code in (400, 404, 409, 422, 425, 429, 503)
    }
    place = {"name": "publication", "in": "path", "required": True, "schema": {"type": "string"}}
    route = _BytesRoute(
        _PATH,
        infer,
        methods=["POST"],
        summary="A direct call: signed request and sealed input; receipt and sealed output",
        responses={**described, 200: {"description": "Receipt, signature, sealed output", **binary}},
        response_class=Response,
        openapi_extra={"parameters": [place], "requestBody": {"required": True, **binary}},
    )
    app.router.routes.append(route)


def _length(request: Request, most: int) -> int:
    # Announced, so that room is found before a byte is read.
    text = request.headers.get("content-length", "")
    if not (text.isascii() and text.isdecimal()) or len(text) > 12:
        raise MalformedRequest("a direct call announces its Content-Length")
    if int(text) > most:
        raise MalformedRequest(f"the body is longer than {most} bytes")
    return int(text)


async def _body(request: Request, length: int) -> bytes:
    parts: list[bytes] = []
    read = 0
    async for part in request.stream():
        read += len(part)
        if read > length:
            break
        parts.append(part)
    if read != length:
        raise MalformedRequest("the body is not as long as announced")
    return b"".join(parts)


async def _unless_gone(request: Request, work: Coroutine[Any, Any, bytes]) -> bytes | None:
    # None if the client went away first: then the work is stopped.
    answering = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(request.receive())
    try:
        await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not answering.done():
            return None
        return answering.result()
    finally:
        leaving.cancel()
        answering.cancel()
        await asyncio.gather(leaving, answering, return_exceptions=True)
