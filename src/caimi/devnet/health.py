"""Asking a process whether it is useful yet."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final
from urllib.parse import urlsplit

__all__ = ["BadHealthUrl", "is_healthy"]

_TIMEOUT_S: Final = 2.0
_STATUS_LINE_LIMIT: Final = 1024


class BadHealthUrl(ValueError):
    """The address is neither `http://host:port/path` nor `tcp://host:port`."""


async def is_healthy(url: str) -> bool:
    """Tell whether `http://host:port/path` answers 200, or `tcp://host:port` accepts a connection.

    Raises:
        BadHealthUrl: The address has another form.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "tcp") or not parts.hostname or not parts.port:
        raise BadHealthUrl(url)
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=_STATUS_LINE_LIMIT)
            try:
                if parts.scheme == "tcp":
                    return True
                # Four lines of HTTP instead of a client library: this runs for every process, many times at start.
                request = f"GET {parts.path or '/'} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n"
                writer.write(request.encode())
                status_line = await reader.readline()
                return status_line.split(b" ")[1:2] == [b"200"]
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
    except (OSError, TimeoutError, ValueError):
        return False
