"""The JSON-RPC client: what it believes, what it refuses, and which error each failure becomes."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
import pytest

from caimi.chains.ethereum.errors import AnswerTooLarge, MalformedAnswer, RpcFailure
from caimi.chains.ethereum.jsonrpc import RpcClient, RpcLimits
from caimi.ports.chain import ChainError, ChainUnavailable
from caimi.types.errors import WrongChain
from caimi.wire.chain_ids import chain_hash
from tests.unit.ethereum.fake_node import CHAIN_ID, FakeNode, RpcRefusal


def _ask(node: FakeNode, limits: RpcLimits | None = None) -> Any:
    async def act() -> Any:
        async with node.client(limits=limits) as rpc:
            return await rpc.call("eth_getBlockByNumber", "latest", False)

    return asyncio.run(act())


def _behind(handler: Callable[[httpx2.Request], Any]) -> None:
    async def act() -> None:
        transport = httpx2.MockTransport(handler)
        limits = RpcLimits(seconds=0.05)
        async with RpcClient("http://node.invalid", chain_id=1, transport=transport, limits=limits) as rpc:
            await rpc.call("eth_blockNumber")

    asyncio.run(act())


def test_batch_keeps_the_order_whatever_the_node_does() -> None:
    node = FakeNode()
    node.methods["echo"] = lambda parameters: parameters[0]
    node.alter = lambda body: json.dumps(json.loads(body)[::-1]).encode()

    async def act() -> None:
        async with node.client() as rpc:
            assert await rpc.batch([("echo", (n,)) for n in range(20)]) == list(range(20))

    asyncio.run(act())


def test_long_batches_are_cut_and_each_part_names_the_chain() -> None:
    node = FakeNode()
    node.methods["echo"] = lambda parameters: parameters[0]

    async def act() -> None:
        async with node.client(limits=RpcLimits(batch=4)) as rpc:
            assert await rpc.batch([("echo", (n,)) for n in range(7)]) == list(range(7))

    asyncio.run(act())
    assert (node.posts, node.asked.count("eth_chainId")) == (3, 3)


def test_failed_request_of_a_batch_is_a_value() -> None:
    node = FakeNode()

    def refuse(parameters: list[Any]) -> None:
        raise RpcRefusal(3, "execution reverted", "0x1234")

    node.methods.update({"bad": refuse, "good": lambda _: 1})

    async def act() -> None:
        async with node.client() as rpc:
            failure, result = await rpc.batch([("bad", ()), ("good", ())])
            assert isinstance(failure, RpcFailure)
            assert (failure.code, failure.message, failure.data, result) == (3, "execution reverted", b"\x12\x34", 1)
            with pytest.raises(RpcFailure):
                await rpc.call("bad")

    asyncio.run(act())


def test_rejects_a_node_of_another_chain_and_names_it_without_its_secrets() -> None:
    node = FakeNode()
    node.chain_id = 5
    with pytest.raises(WrongChain) as caught:
        _ask(node)
    assert caught.value.values == (chain_hash(f"eip155:{CHAIN_ID}"), chain_hash("eip155:5"))
    assert caught.value.__notes__ == ["http://node.invalid:1 is a node of eip155:5, not of eip155:31337"]


def test_chain_is_checked_again_when_the_node_is_replaced() -> None:
    node = FakeNode()

    async def act() -> None:
        async with node.client() as rpc:
            await rpc.call("eth_getBlockByNumber", "latest", False)
            node.chain_id = 5
            with pytest.raises(WrongChain):
                await rpc.call("eth_getBlockByNumber", "latest", False)

    asyncio.run(act())


def _other_id(body: bytes) -> bytes:
    return body.replace(b'"id": 2', b'"id": 7')


def _twice(body: bytes) -> bytes:
    first, _ = json.loads(body)
    return json.dumps([first, first]).encode()


def _without_last(body: bytes) -> bytes:
    return json.dumps(json.loads(body)[:-1]).encode()


def _no_result(body: bytes) -> bytes:
    return body.replace(b'"result"', b'"rseult"')


_ALTERATIONS: dict[str, Callable[[bytes], bytes]] = {
    "an id that was not given": _other_id,
    "one answer twice": _twice,
    "one answer less": _without_last,
    "neither result nor error": _no_result,
    "cut": lambda body: body[:-1],
    "empty": lambda body: b"",
    "no text": lambda body: b"\xff\xfe",
    "deep": lambda body: b"[" * 5_000,
    "number": lambda body: b"7",
    "numbers": lambda body: b"[1, 2]",
    "one object": lambda body: b'{"jsonrpc": "2.0"}',
    "malformed error": lambda body: b'{"error": {"code": "x", "message": 1}}',
    "leading zero": lambda body: body.replace(b'"0x7a69"', b'"0x07a69"'),
    "decimal": lambda body: body.replace(b'"0x7a69"', b"31337"),
    "null": lambda body: body.replace(b'"0x7a69"', b"null"),
}


@pytest.mark.parametrize("alter", _ALTERATIONS.values(), ids=_ALTERATIONS)
def test_rejects_answers_that_are_no_json_rpc(alter: Callable[[bytes], bytes]) -> None:
    node = FakeNode()
    node.alter = alter
    with pytest.raises(MalformedAnswer):
        _ask(node)


def test_error_for_a_whole_batch_is_the_nodes_failure() -> None:
    node = FakeNode()
    node.alter = lambda body: b'{"jsonrpc": "2.0", "id": null, "error": {"code": -32600, "message": "batch too large"}}'
    with pytest.raises(RpcFailure) as caught:
        _ask(node)
    assert caught.value.code == -32600


def test_rejects_answers_beyond_the_limit() -> None:
    node = FakeNode()
    node.alter = lambda body: body + b" " * 2_000
    with pytest.raises(AnswerTooLarge):
        _ask(node, RpcLimits(answer_bytes=2_000))
    _ask(node, RpcLimits(answer_bytes=4_000))


@pytest.mark.parametrize(
    ("status", "expected"),
    [(429, ChainUnavailable), (502, ChainUnavailable), (503, ChainUnavailable), (404, MalformedAnswer)],
)
def test_http_status_other_than_200(status: int, expected: type[ChainError]) -> None:
    with pytest.raises(expected):
        _behind(lambda request: httpx2.Response(status))


def test_node_that_never_answers_is_unavailable() -> None:
    async def silent(request: httpx2.Request) -> httpx2.Response:
        await asyncio.Event().wait()
        return httpx2.Response(200)

    with pytest.raises(ChainUnavailable):
        _behind(silent)


def test_node_that_drips_bytes_is_unavailable() -> None:
    class Drip(httpx2.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            while True:
                yield b" "
                await asyncio.sleep(0.001)

    with pytest.raises(ChainUnavailable):
        _behind(lambda request: httpx2.Response(200, stream=Drip()))


def _library_errors() -> list[type[Exception]]:
    named = vars(httpx2).values()
    return [c for c in named if inspect.isclass(c) and issubclass(c, (httpx2.HTTPError, httpx2.StreamError))]


_PERMANENT = (httpx2.DecodingError, httpx2.UnsupportedProtocol, httpx2.TooManyRedirects, httpx2.InvalidURL)


@pytest.mark.parametrize("kind", [*_library_errors(), httpx2.InvalidURL], ids=lambda kind: kind.__name__)
def test_every_error_of_the_http_library_becomes_ours(kind: type[Exception]) -> None:
    def fail(request: httpx2.Request) -> httpx2.Response:
        error = kind.__new__(kind)
        Exception.__init__(error, "made by the test")
        raise error

    with pytest.raises(MalformedAnswer if issubclass(kind, _PERMANENT) else ChainUnavailable):
        _behind(fail)


def test_call_after_close_is_refused_by_the_library_not_hidden() -> None:
    async def act() -> None:
        rpc = FakeNode().client()
        await rpc.close()
        with pytest.raises(RuntimeError):
            await rpc.call("eth_blockNumber")

    asyncio.run(act())
