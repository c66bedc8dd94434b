"""HTTP to the processes of a network: JSON with limits, and problems turned back into typed errors."""

from __future__ import annotations

import os
from typing import Any, Final, cast

import httpx2

from caimi.ports.tracing import trace_headers
from caimi.sdk.errors import SdkError, ServiceAnswer, ServiceRefused, ServiceUnavailable, UnknownName
from caimi.sdk.json_fields import Fields
from caimi.sdk.patience import Patience
from caimi.types.errors import BadEncoding, CaimiError
from caimi.types.failure import Retry
from caimi.types.json_text import load_json
from caimi.wire.refusal_json import refusal_from_json

__all__ = ["Service", "error_of"]

_OK: Final = 200
_MAX_ANSWER_BYTES: Final = 8 << 20
_TIMEOUT: Final = httpx2.Timeout(30.0, connect=5.0)
_UNKNOWN: Final = frozenset({"NoSuchThing", "UnknownLane"})


class Service:
    """One process at a base URL."""

    def __init__(
        self,
        url: str,
        client: httpx2.AsyncClient,
        *,
        token: str | None = None,
        name: str | None = None,
        patience: Patience | None = None,
    ) -> None:
        """Arguments:
        token: for changing calls; reading needs none.
        name: of the process, for people; by default its address.
        patience: with a process that does not answer; by default none.
        """
        self.url = url.rstrip("/")
        self._client = client
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._name = name or self.url
        self._patience = patience or Patience()

    async def get(self, path: str, **query: str) -> Fields:
        """GET an object.

        Raises:
            ServiceUnavailable: No answer, as long as the patience lasts.
            ServiceAnswer: Not what the interface describes.
            CaimiError: The error that the process answers with.
        """
        return self._object(await self._exchange("GET", path, query, None), path)

    async def get_list(self, path: str, **query: str) -> tuple[Fields, ...]:
        """GET an array of objects. Raises as `get`."""
        answer = await self._exchange("GET", path, query, None)
        if not isinstance(answer, list):
            raise ServiceAnswer(f"{self.url}{path}: no list")
        return tuple(self._object(item, path) for item in cast("list[object]", answer))

    async def probe(self, path: str) -> Fields:
        """GET an object whatever the status is, once: for what answers 503 and says why. Raises as `get`."""
        status, content = await self._send("GET", path, {}, None)
        try:
            return self._object(load_json(content), path)
        except (ValueError, RecursionError) as error:
            raise ServiceAnswer(f"{self.url}{path} answers {status} with something else than JSON") from error

    async def get_text(self, path: str) -> str:
        """GET plain text. Raises as `get`."""
        status, body = await self._patience.ask(
            self._name, lambda: self._send("GET", path, {}, None), ServiceUnavailable
        )
        if status != _OK:
            raise ServiceAnswer(f"{self.url}{path} answers {status}")
        return body.decode("utf-8", "replace")

    async def post(self, path: str, body: dict[str, Any]) -> Fields:
        """POST an object and read the answer. Repeating it is harmless at every interface of ours. Raises as `get`."""
        return self._object(await self._exchange("POST", path, {}, body), path)

    async def _exchange(self, method: str, path: str, query: dict[str, str], body: dict[str, Any] | None) -> object:
        # A process that says "not now" is asked again like one that says nothing.
        return await self._patience.ask(
            self._name, lambda: self._exchange_once(method, path, query, body), ServiceUnavailable
        )

    async def _exchange_once(
        self, method: str, path: str, query: dict[str, str], body: dict[str, Any] | None
    ) -> object:
        status, content = await self._send(method, path, query, body)
        try:
            answer: object = load_json(content)
        except (ValueError, RecursionError) as error:
            raise ServiceAnswer(f"{self.url}{path} answers {status} with something else than JSON") from error
        if not 200 <= status < 300:
            raise error_of(answer, f"{self.url}{path} answers {status}")
        return answer

    async def _send(self, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, bytes]:
        content = bytearray()
        try:
            headers = self._headers | trace_headers(os.urandom)
            async with self._client.stream(
                method, self.url + path, params=query, json=body, headers=headers, timeout=_TIMEOUT
            ) as response:
                async for part in response.aiter_bytes():
                    content += part
                    if len(content) > _MAX_ANSWER_BYTES:
                        raise ServiceAnswer(f"{self.url}{path} answers more than {_MAX_ANSWER_BYTES} bytes")
                return response.status_code, bytes(content)
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
            raise ServiceUnavailable(f"{self.url}: {type(error).__name__}") from error

    def _object(self, value: object, path: str) -> Fields:
        if not isinstance(value, dict):
            raise ServiceAnswer(f"{self.url}{path}: no object")
        return Fields(cast("dict[str, Any]", value), f"{self.url}{path}", error=ServiceAnswer)


def error_of(answer: object, told: str) -> CaimiError:
    """The typed error of a problem object; of anything else, that it is none.

    Arguments:
        told: by whom, and with which status, for people.
    """
    if not isinstance(answer, dict):
        return ServiceAnswer(told)
    fields = Fields(cast("dict[str, Any]", answer), told, error=ServiceAnswer)
    try:
        name, values = fields.text("error"), fields.object("values").values
        refusal = refusal_from_json(name, values)
    except (SdkError, BadEncoding):
        return ServiceAnswer(told)
    if refusal is not None:
        return refusal
    text = f"{name}: {values.get('text', '')}"
    if name in _UNKNOWN:
        return UnknownName(text)
    if fields.optional("retry", fields.text) == Retry.SAFE.value:
        return ServiceUnavailable(f"{told}: {text}")
    return ServiceRefused(f"{told}: {text}")
