"""`ValidatorPort` over HTTP."""

from __future__ import annotations

import os
from typing import Any, Final

import httpx2

from caimi.apps.hex_values import hex_of, read_hex
from caimi.apps.problem import read_problem
from caimi.ports.tracing import trace_headers
from caimi.ports.validators import ValidatorUnavailable
from caimi.types.errors import CaimiError
from caimi.types.json_text import load_json
from caimi.types.primitives import Generation, Sequence
from caimi.types.records import Checkpoint, Lane, Signature
from caimi.wire.codec import decode

__all__ = ["ValidatorClient"]

_LONGEST: Final = 1 << 16
_OK: Final = 200


class ValidatorClient:
    """One validator at a base URL."""

    def __init__(self, url: str, client: httpx2.AsyncClient) -> None:
        self._url = url.rstrip("/")
        self._client = client

    async def checkpoint(
        self, source: Lane, generation: Generation, first: Sequence, last: Sequence
    ) -> tuple[Checkpoint, Signature]:
        """See `ValidatorPort.checkpoint`. What the validator signed is checked by the caller.

        Raises:
            NotYet, Abstains, Refusal: As the validator says.
            ValidatorUnavailable: No answer, too long an answer, or nonsense.
        """
        query = {
            "source_chain": hex_of(source.chain),
            "source_registry": hex_of(source.registry),
            "generation": str(generation),
            "first": str(first),
            "last": str(last),
        }
        status, body = await self._get("/v1/checkpoints", query)
        try:
            if status != _OK:
                raise read_problem(body)
            return decode(Checkpoint, read_hex(body["checkpoint"])), decode(Signature, read_hex(body["signature"]))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValidatorUnavailable(f"{self._url} answers nonsense") from error

    async def _get(self, path: str, query: dict[str, str]) -> tuple[int, Any]:
        try:
            async with self._client.stream(
                "GET", self._url + path, params=query, headers=trace_headers(os.urandom)
            ) as response:
                content = b""
                async for part in response.aiter_bytes():
                    content += part
                    if len(content) > _LONGEST:
                        raise ValidatorUnavailable(f"{self._url} answers more than {_LONGEST} bytes")
                return response.status_code, load_json(content)
        except CaimiError:
            raise
        except (httpx2.HTTPError, ValueError, RecursionError) as error:
            raise ValidatorUnavailable(f"{self._url}: {type(error).__name__}") from error
