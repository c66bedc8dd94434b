"""Batches as one node shows them: ids that make their root, views, and the registry's refusals of a proof."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from caimi.chains.ethereum.errors import EventGap, MalformedAnswer
from caimi.chains.ethereum.reader import EthereumReader
from caimi.ports.call_errors import CallRejected
from caimi.protocol.batches import batch_root
from caimi.protocol.publication import Role, State
from caimi.types.errors import UnknownBatch, WrongRoot
from caimi.types.primitives import PublicationId
from caimi.types.records import BatchProof
from caimi.wire.codec import encode_values
from caimi.wire.keccak import keccak256
from tests.unit.ethereum.fake_node import FakeNode, RpcRefusal, item, site

_IDS = tuple(PublicationId(keccak256(b"%d" % n)) for n in range(3))
_ROOT = batch_root(_IDS)
_HOME = item(1).event.destinations[0]
_PROOF = BatchProof(home=_HOME, root=_ROOT, index=0, siblings=())


def _play(node: FakeNode, scene: Callable[[EthereumReader], Awaitable[None]]) -> None:
    async def act() -> None:
        async with node.client() as rpc:
            await scene(EthereumReader(rpc, site()))

    asyncio.run(act())


def test_ids_of_a_batch_are_asked_for_where_its_event_is() -> None:
    node = FakeNode()
    node.mine(2)
    node.lock_batch(_IDS)
    node.mine()

    async def scene(reader: EthereumReader) -> None:
        assert await reader.batch_ids(_ROOT) == _IDS
        assert await reader.batch_ids(batch_root(_IDS[:2])) is None
        # What another branch never locked is not there any more.
        node.reorganise(2)
        node.mine()
        assert await reader.batch_ids(_ROOT) is None
        node.lock_batch(_IDS)
        assert await reader.batch_ids(_ROOT) == _IDS

    _play(node, scene)


def _ids(*identifiers: bytes) -> str:
    return "0x" + encode_values(("bytes32[]",), (identifiers,)).hex()


@pytest.mark.parametrize(
    "changes",
    [
        {"removed": True},
        {"address": "0x" + "11" * 20},
        {"topics": []},
        {"topics": ["0x" + "22" * 32, "0x" + _ROOT.hex()]},
        {"data": "0x"},
        {"data": _ids(*_IDS) + "00" * 32},
        {"data": _ids()},
        {"data": _ids(*_IDS[:2])},
        {"data": _ids(*reversed(_IDS))},
        {"data": _ids(*[_IDS[0]] * 257)},
    ],
)
def test_rejects_other_lists_of_ids(changes: dict[str, Any]) -> None:
    node = FakeNode()
    node.lock_batch(_IDS).update(changes)

    async def scene(reader: EthereumReader) -> None:
        with pytest.raises(MalformedAnswer):
            await reader.batch_ids(_ROOT)

    _play(node, scene)


def test_rejects_a_batch_without_ids_and_one_with_two_lists() -> None:
    node = FakeNode()
    log = node.lock_batch(_IDS)
    ((place, logs),) = node.batch_logs.items()

    async def scene(reader: EthereumReader) -> None:
        logs.append(log)
        with pytest.raises(MalformedAnswer):
            await reader.batch_ids(_ROOT)
        del node.batch_logs[place]
        with pytest.raises(EventGap):
            await reader.batch_ids(_ROOT)

    _play(node, scene)


_KINDS = ("uint8", "uint8", "uint16", "uint256", "uint64", "uint64", "uint128", "uint8", "uint8")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((1, 2, 3, 5, 7, 9, 11, 1, 0), (Role.HOME, State.COMMITTED, 3, 5, 7, 9, 11, 1)),
        ((2, 1, 0, 0, 0, 0, 0, 0, 0), (Role.MIRROR, State.LOCKED, 0, 0, 0, 0, 0, 0)),
        ((0, 0, 0, 0, 0, 0, 0, 0, 0), None),
    ],
)
def test_batch_is_read(values: tuple[int, ...], expected: tuple[Any, ...] | None) -> None:
    node = FakeNode()
    node.methods["eth_call"] = lambda _: "0x" + encode_values(_KINDS, values).hex()

    async def scene(reader: EthereumReader) -> None:
        b = await reader.batch(_HOME, _ROOT)
        shown = b and (b.role, b.state, b.count, b.taken, b.earliest, b.latest, b.deposits, b.awaited)
        assert shown == expected

    _play(node, scene)


@pytest.mark.parametrize("values", [(0, 2, *[0] * 7), (3, 2, *[0] * 7), (1, 7, *[0] * 7), (1, 2, *[0] * 6, 4)])
def test_rejects_batches_that_no_registry_has(values: tuple[int, ...]) -> None:
    node = FakeNode()
    node.methods["eth_call"] = lambda _: "0x" + encode_values(_KINDS, values).hex()

    async def scene(reader: EthereumReader) -> None:
        with pytest.raises(MalformedAnswer):
            await reader.batch(_HOME, _ROOT)

    _play(node, scene)


def test_state_in_a_batch_is_read_or_refused_by_the_registry() -> None:
    node = FakeNode()

    def answer(of: Any) -> Callable[[list[Any]], Any]:
        def method(_: list[Any]) -> Any:
            if isinstance(of, Exception):
                raise of
            return of

        return method

    def refusal(name: str, kinds: tuple[str, ...], *values: bytes) -> RpcRefusal:
        selector = keccak256(f"{name}({','.join(kinds)})".encode())[:4]
        return RpcRefusal(3, "execution reverted", "0x" + (selector + encode_values(kinds, values)).hex())

    async def scene(reader: EthereumReader) -> None:
        node.methods["eth_call"] = answer("0x" + encode_values(("uint8", "uint8"), (2, 0)).hex())
        assert await reader.state_in(_IDS[0], _PROOF) == (Role.MIRROR, State.NONE)
        node.methods["eth_call"] = answer("0x" + encode_values(("uint8", "uint8"), (2, 7)).hex())
        with pytest.raises(MalformedAnswer):
            await reader.state_in(_IDS[0], _PROOF)
        node.methods["eth_call"] = answer(refusal("UnknownBatch", ("bytes32",), _ROOT))
        with pytest.raises(UnknownBatch) as unknown:
            await reader.state_in(_IDS[0], _PROOF)
        assert unknown.value.values == (_ROOT,)
        node.methods["eth_call"] = answer(refusal("WrongRoot", ("bytes32", "bytes32"), _ROOT, _IDS[0]))
        with pytest.raises(WrongRoot):
            await reader.state_in(_IDS[0], _PROOF)
        node.methods["eth_call"] = answer(RpcRefusal(3, "execution reverted", "0x01020304"))
        with pytest.raises(CallRejected):
            await reader.state_in(_IDS[0], _PROOF)

    _play(node, scene)
