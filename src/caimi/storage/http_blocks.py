"""What every HTTP block source shares: bounded bodies and one translation of the client library's failures."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from typing import Final

import httpx2

from caimi.bundle.errors import BlockTooLarge
from caimi.bundle.unixfs import MAX_BLOCK_BYTES
from caimi.ports.content import ContentError, StoreFull, StoreRefused, StoreUnavailable

__all__ = ["PLAIN", "TIMEOUT", "answer_body", "block_body", "raised", "refusal_of"]

PLAIN: Final = {"Accept-Encoding": "identity"}
"""Blocks are asked for as they are: nothing is unpacked before it is checked."""
TIMEOUT: Final = httpx2.Timeout(30.0, connect=5.0)
"""Seconds: 5 to connect, 30 between bytes."""

_MAX_ANSWER_BYTES: Final = 1 << 18


@contextlib.asynccontextmanager
async def raised(source: str) -> AsyncGenerator[None, None]:
    """Turn every failure of the HTTP library into StoreUnavailable."""
    try:
        yield
    except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, httpx2.CookieConflict) as error:
        raise StoreUnavailable(f"{source}: {type(error).__name__}: {error}") from error


async def block_body(response: httpx2.Response, source: str) -> bytes:
    """Read a block as it came, at most 2 MiB.

    Raises:
        BlockTooLarge: It is longer; reading stopped there.
    """
    body = await _bounded(response, MAX_BLOCK_BYTES)
    if body is None:
        raise BlockTooLarge(f"{source} sends more than {MAX_BLOCK_BYTES} bytes")
    return body


async def answer_body(response: httpx2.Response, source: str) -> bytes:
    """Read an answer that is no block, at most 256 KiB; reading to its end keeps the connection.

    Raises:
        StoreUnavailable: It is longer; reading stopped there.
    """
    body = await _bounded(response, _MAX_ANSWER_BYTES)
    if body is None:
        raise StoreUnavailable(f"{source} sends more than {_MAX_ANSWER_BYTES} bytes")
    return body


async def _bounded(response: httpx2.Response, limit: int) -> bytes | None:
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > limit:
            return None
    return bytes(body)


def refusal_of(status: int, source: str) -> ContentError:
    """What a status other than success means for a caller that sent something sound."""
    if status in (401, 403, 405):
        return StoreRefused(f"{source} answers {status}")
    if status == 507:
        return StoreFull(f"{source} has no room")
    return StoreUnavailable(f"{source} answers {status}")
