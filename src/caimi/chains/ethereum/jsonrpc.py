"""JSON-RPC over HTTP: batches, limits on every answer, the node's chain id in every batch.

A node may be restarted or replaced behind its address at any time, so the chain id is asked for together with every
question: an answer is believed only if the same node, in the same breath, names the right chain.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Self, cast
from urllib.parse import urlsplit

import httpx2

from caimi.chains.ethereum.errors import AnswerTooLarge, MalformedAnswer, RpcFailure
from caimi.chains.ethereum.fields import as_list, as_object, as_quantity
from caimi.ports.chain import ChainUnavailable
from caimi.types.errors import WrongChain
from caimi.types.json_text import load_json
from caimi.wire.chain_ids import chain_hash

__all__ = ["Answer", "Request", "RpcClient", "RpcLimits"]

Request = tuple[str, tuple[Any, ...]]
"""Method and parameters."""
Answer = Any
"""The `result` of one request, or an `RpcFailure` as a value."""

_MESSAGE_CHARACTERS: Final = 2_000
_TRANSIENT_STATUS: Final = (408, 425, 429, 500, 502, 503, 504)
_HEADERS: Final = {"content-type": "application/json", "accept-encoding": "identity"}


@dataclass(frozen=True, slots=True, kw_only=True)
class RpcLimits:
    """What one answer may cost."""

    answer_bytes: int = 32 * 1024 * 1024
    """Longest HTTP body."""
    batch: int = 100
    """Requests per HTTP call."""
    seconds: float = 10.0
    """For one HTTP call, from connecting to the last byte."""
    connect_seconds: float = 2.0


class RpcClient:
    """One node of one chain."""

    def __init__(
        self,
        url: str,
        *,
        chain_id: int,
        limits: RpcLimits | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        """Connect lazily to the node at `url`; every answer is checked to come from chain `chain_id` (EIP-155)."""
        self.limits = limits or RpcLimits()
        self.chain_id = chain_id
        self._url = url
        self._client = httpx2.AsyncClient(
            # Without TLS there is nothing to verify, and reading the authorities takes longer than a call.
            verify=not url.startswith("http://"),
            timeout=httpx2.Timeout(self.limits.seconds, connect=self.limits.connect_seconds),
            transport=transport,
            trust_env=False,
        )
        self._counter = 0

    @property
    def node(self) -> str:
        """The node's address without path and credentials, for messages."""
        parts = urlsplit(self._url)
        return f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    async def call(self, method: str, *parameters: Any) -> Any:
        """One request.

        Raises:
            RpcFailure: The node answered with an error.
            ChainUnavailable, MalformedAnswer, WrongChain: See `batch`.
        """
        answer = (await self.batch([(method, parameters)]))[0]
        if isinstance(answer, RpcFailure):
            raise answer
        return answer

    async def batch(self, requests: Sequence[Request]) -> list[Answer]:
        """Ask everything, in as few HTTP calls as the limits allow; a failed request gives its `RpcFailure`.

        Raises:
            ChainUnavailable: The node cannot be reached or is overloaded.
            MalformedAnswer: It does not speak JSON-RPC, or an answer is too long.
            WrongChain: It is a node of another chain; the note names it.
        """
        answers: list[Answer] = []
        size = self.limits.batch - 1
        for start in range(0, len(requests), size):
            answers += await self._exchange(requests[start : start + size])
        return answers

    async def _exchange(self, requests: Sequence[Request]) -> list[Answer]:
        asked: list[Request] = [("eth_chainId", ()), *requests]
        first = self._counter + 1
        self._counter += len(asked)
        body = json.dumps(
            [
                {"jsonrpc": "2.0", "id": first + i, "method": method, "params": parameters}
                for i, (method, parameters) in enumerate(asked)
            ],
            separators=(",", ":"),
        )
        answers = self._sorted(await self._post(body.encode()), first, len(asked))
        self._check_chain(answers[0])
        return answers[1:]

    async def _post(self, body: bytes) -> bytes:
        # The timeout of the library is per read; a node that drips bytes is stopped by the one around everything.
        try:
            async with (
                asyncio.timeout(self.limits.seconds),
                self._client.stream("POST", self._url, content=body, headers=_HEADERS) as response,
            ):
                if response.status_code in _TRANSIENT_STATUS:
                    raise ChainUnavailable(f"{self.node} answers HTTP {response.status_code}")
                if response.status_code != 200:
                    raise MalformedAnswer(f"{self.node} answers HTTP {response.status_code}")
                received = bytearray()
                async for chunk in response.aiter_bytes():
                    received += chunk
                    if len(received) > self.limits.answer_bytes:
                        raise AnswerTooLarge(f"{self.node} answers more than {self.limits.answer_bytes} bytes")
                return bytes(received)
        except TimeoutError as error:
            raise ChainUnavailable(f"{self.node} does not answer within {self.limits.seconds} s") from error
        except (httpx2.DecodingError, httpx2.InvalidURL, httpx2.UnsupportedProtocol, httpx2.TooManyRedirects) as error:
            raise MalformedAnswer(f"{self.node}: {type(error).__name__}") from error
        except (httpx2.HTTPError, httpx2.StreamError) as error:
            raise ChainUnavailable(f"{self.node}: {type(error).__name__}: {error}") from error

    def _sorted(self, body: bytes, first: int, count: int) -> list[Answer]:
        try:
            decoded: object = load_json(body)
        except (ValueError, RecursionError) as error:
            raise MalformedAnswer(f"{self.node} answers no JSON") from error
        if not isinstance(decoded, list):
            # A node that refuses the whole batch answers with one error.
            raise _failure(as_object(decoded, "the answer").get("error"))
        answers: dict[int, Answer] = {}
        for entry in as_list(cast(object, decoded), "the answer", limit=count):
            answer = as_object(entry, "an answer")
            number = answer.get("id")
            if not isinstance(number, int) or not first <= number < first + count:
                raise MalformedAnswer(f"{self.node} answers a request that was not made")
            if "error" in answer:
                answers[number] = _failure(answer["error"])
            elif "result" in answer:
                answers[number] = answer["result"]
            else:
                raise MalformedAnswer(f"{self.node} gives neither result nor error")
        # One that answers twice leaves another one out, for there are no more than asked for.
        if len(answers) != count:
            raise MalformedAnswer(f"{self.node} gives {len(answers)} answers to {count} requests")
        return [answers[first + i] for i in range(count)]

    def _check_chain(self, answer: Answer) -> None:
        if isinstance(answer, RpcFailure):
            raise answer
        actual = as_quantity(answer, "the chain id", bits=64)
        if actual != self.chain_id:
            error = WrongChain(chain_hash(f"eip155:{self.chain_id}"), chain_hash(f"eip155:{actual}"))
            error.add_note(f"{self.node} is a node of eip155:{actual}, not of eip155:{self.chain_id}")
            raise error


def _failure(error: object) -> RpcFailure:
    fields = as_object(error, "an error")
    code, message, data = fields.get("code"), fields.get("message"), fields.get("data")
    if not isinstance(code, int) or not isinstance(message, str):
        raise MalformedAnswer("an error without code or message")
    revert = None
    if isinstance(data, str) and data.startswith("0x"):
        try:
            revert = bytes.fromhex(data[2:])
        except ValueError:
            # Some nodes put prose there.
            revert = None
    return RpcFailure(code, message[:_MESSAGE_CHARACTERS], revert)
