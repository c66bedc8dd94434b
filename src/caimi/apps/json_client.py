"""JSON to another process of ours: bounded answers, typed errors."""

from __future__ import annotations

import os
from typing import Any, Final, cast

import httpx2

from caimi.apps.problem import RemoteError, read_problem
from caimi.ports.tracing import trace_headers
from caimi.types.errors import BadEncoding, CaimiError
from caimi.types.json_text import load_json

__all__ = ["JsonClient"]

_LONGEST: Final = 1 << 20
_NOT_NOW: Final = frozenset({425, 429, 502, 503, 504})


class JsonClient:
    """One process at a base URL."""

    def __init__(
        self, url: str, client: httpx2.AsyncClient, *, unavailable: type[CaimiError], token: str | None = None
    ) -> None:
        """Arguments:
        unavailable: raised when there is no answer, or none that the interface describes.
        token: for changing calls.
        """
        self._url = url.rstrip("/")
        self._client = client
        self._unavailable = unavailable
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}

    async def get(self, path: str) -> dict[str, Any]:
        """GET an object.

        Raises:
            CaimiError: What the process answers with, or `unavailable`.
        """
        return await self._exchange("GET", path, None)

    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """POST an object. Raises as `get`."""
        return await self._exchange("POST", path, body)

    def nonsense(self, error: BaseException | None = None) -> CaimiError:
        """The error for an answer that is not what the interface describes."""
        made = self._unavailable(f"{self._url} answers nonsense")
        made.__cause__ = error
        return made

    async def _exchange(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        content = bytearray()
        try:
            headers = self._headers | trace_headers(os.urandom)
            async with self._client.stream(method, self._url + path, json=body, headers=headers) as response:
                async for part in response.aiter_bytes():
                    content += part
                    if len(content) > _LONGEST:
                        raise self._unavailable(f"{self._url} answers more than {_LONGEST} bytes")
            answer: Any = load_json(content)
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, ValueError, RecursionError) as error:
            raise self._unavailable(f"{self._url}: {type(error).__name__}") from error
        if 200 <= response.status_code < 300:
            if not isinstance(answer, dict):
                raise self.nonsense()
            return cast("dict[str, Any]", answer)
        try:
            problem = read_problem(answer)
        except BadEncoding as error:
            raise self.nonsense(error) from error
        if isinstance(problem, RemoteError) and response.status_code in _NOT_NOW:
            raise self._unavailable(str(problem)) from problem
        raise problem
