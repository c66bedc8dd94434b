"""HTTP of direct calls: bytes to the host and back, and its refusals."""

from __future__ import annotations

import os
from typing import Any, Final, cast

import httpx2

from caimi.crypto.direct_seal import DIRECT_OVERHEAD
from caimi.ports.tracing import trace_headers
from caimi.sdk.errors import ServiceAnswer, ServiceUnavailable
from caimi.sdk.inference import MAX_TENSOR_BYTES
from caimi.sdk.services import error_of
from caimi.types.failure import CaimiError
from caimi.types.json_text import load_json
from caimi.types.primitives import PublicationId
from caimi.wire.direct_body import REPLY_HEAD_BYTES

__all__ = ["DirectWire", "HostProblem"]

_OK: Final = 200
_LONGEST_REPLY: Final = REPLY_HEAD_BYTES + DIRECT_OVERHEAD + MAX_TENSOR_BYTES
_LONGEST_PROBLEM: Final = 1 << 16
_NOT_NOW: Final = frozenset({425, 429, 503})
_LEAST_WAIT_S: Final = 1
_LONGEST_WAIT_S: Final = 60
_CONNECT_S: Final = 5.0


class HostProblem(Exception):
    """The host says no; inside this library only."""

    def __init__(self, name: str, text: str, error: CaimiError, retry_after: int | None) -> None:
        super().__init__(name)
        self.name = name
        self.text = text
        self.error = error
        self.retry_after = retry_after
        """Seconds, if the same call may be taken later."""


class DirectWire:
    """One host. Close it when it is no longer used."""

    def __init__(self, url: str, *, connections: int, transport: httpx2.AsyncBaseTransport | None = None) -> None:
        """Arguments:
        connections: most at a time; further calls wait for one.
        transport: in place of the network.
        """
        self._url = url.rstrip("/")
        limits = httpx2.Limits(max_connections=connections, max_keepalive_connections=connections)
        self._client = httpx2.AsyncClient(verify=False, trust_env=False, limits=limits, transport=transport)

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def post(self, publication: PublicationId, body: bytes, *, seconds: float) -> bytes:
        """One call; the reply's bytes.

        Arguments:
            seconds: until it is given up.
        Raises:
            HostProblem: The host says no.
            ServiceUnavailable: No answer in time.
            ServiceAnswer: Not what the interface describes.
        """
        url = f"{self._url}/v1/models/0x{publication.hex()}/infer"
        headers = {"Content-Type": "application/octet-stream", **trace_headers(os.urandom)}
        timeout = httpx2.Timeout(seconds, connect=min(_CONNECT_S, seconds))
        try:
            async with self._client.stream("POST", url, content=body, headers=headers, timeout=timeout) as response:
                status = response.status_code
                content = await _content(response, _LONGEST_REPLY if status == _OK else _LONGEST_PROBLEM)
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
            raise ServiceUnavailable(f"the host at {self._url}: {type(error).__name__}") from error
        if status == _OK:
            return content
        raise _problem(status, content, response.headers.get("Retry-After", ""), f"the host answers {status}")


async def _content(response: httpx2.Response, most: int) -> bytes:
    content = bytearray()
    async for part in response.aiter_bytes():
        content += part
        if len(content) > most:
            raise ServiceAnswer(f"the host answers more than {most} bytes")
    return bytes(content)


def _problem(status: int, content: bytes, wait: str, told: str) -> Exception:
    try:
        answer: object = load_json(content)
    except (ValueError, RecursionError):
        return ServiceAnswer(f"{told} with something else than JSON")
    error = error_of(answer, told)
    if isinstance(error, ServiceAnswer):
        return error
    retry_after = None
    if status in _NOT_NOW:
        seconds = int(wait) if wait.isascii() and wait.isdecimal() and len(wait) < 6 else _LEAST_WAIT_S
        retry_after = min(max(seconds, _LEAST_WAIT_S), _LONGEST_WAIT_S)
    fields = cast("dict[str, Any]", answer)
    return HostProblem(fields["error"], str(fields["values"].get("text", ""))[:500], error, retry_after)
