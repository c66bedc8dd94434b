"""The block stream: order, resumption after breaks, and when it must not go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, Self

import grpc
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from grpc.aio import AioRpcError, Metadata

from caimi.chains.fabric import proto
from caimi.chains.fabric.blocks import FabricBlock, header_hash
from caimi.chains.fabric.deliver import BlockStream, reconnect_delay_s
from caimi.chains.fabric.errors import BrokenBlockChain, DeliverRefused, MalformedBlock
from caimi.chains.fabric.identity import FabricIdentity

_EMPTY = bytes.fromhex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")


def _identity() -> FabricIdentity:
    pem = ec.derive_private_key(7, ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return FabricIdentity("Org1MSP", b"certificate", pem)


def _chain(length: int) -> list[Any]:
    blocks: list[Any] = []
    previous = b""
    for number in range(length):
        made: Any = proto.common_pb2.Block()
        made.header.number = number
        made.header.previous_hash = previous
        made.header.data_hash = _EMPTY
        made.metadata.metadata.extend([b"", b"", b""])
        blocks.append(made)
        previous = header_hash(number, previous, _EMPTY)
    return blocks


def _deliver(block: Any) -> Any:
    return _response(block=block)


def _response(**fields: Any) -> Any:
    from importlib import import_module

    return import_module("fabric_protos.peer.events_pb2").DeliverResponse(**fields)


def _broken(text: str = "connection reset") -> AioRpcError:
    return AioRpcError(grpc.StatusCode.UNAVAILABLE, Metadata(), Metadata(), text)


class _Call:
    def __init__(self, script: Sequence[Any], starts: list[int]) -> None:
        self._script = script
        self._starts = starts
        self.cancelled = False

    async def write(self, envelope: Any) -> None:
        seek = proto.common_pb2.Payload.FromString(envelope.payload).data
        from importlib import import_module

        info = import_module("fabric_protos.orderer.ab_pb2").SeekInfo.FromString(seek)
        self._starts.append(info.start.specified.number)

    def __aiter__(self) -> AsyncIterator[Any]:
        return self._items()

    async def _items(self) -> AsyncIterator[Any]:
        for item in self._script:
            if isinstance(item, Exception):
                raise item
            yield item

    def cancel(self) -> None:
        self.cancelled = True


class _Peer:
    # Stands where the generated stub stands; each connection plays the next script.
    def __init__(self, *scripts: Sequence[Any]) -> None:
        self._scripts = list(scripts)
        self.starts: list[int] = []
        self.calls: list[_Call] = []

    def Deliver(self) -> _Call:
        self.calls.append(_Call(self._scripts.pop(0), self.starts))
        return self.calls[-1]


class _Reader:
    def __init__(self, peer: _Peer) -> None:
        self.delays: list[float] = []
        self.breaks: list[str] = []
        self.stream = BlockStream(
            grpc.aio.insecure_channel("127.0.0.1:1"),
            identity=_identity(),
            channel="caimi",
            on_break=lambda error: self.breaks.append(str(error)),
            clock_ns=lambda: 1_800_000_000_000_000_000,
            entropy=bytes,
            sleep=self._sleep,
        )
        self.stream._stub = peer

    @classmethod
    def of(cls, peer: _Peer) -> Self:
        return cls(peer)

    async def _sleep(self, seconds: float) -> None:
        self.delays.append(seconds)

    async def read(self, start: int, count: int, previous_hash: bytes | None = None) -> list[FabricBlock]:
        found: list[FabricBlock] = []
        async for block in self.stream.blocks(start, previous_hash=previous_hash):
            found.append(block)
            if len(found) == count:
                break
        return found


def _run(peer: _Peer, start: int, count: int, previous_hash: bytes | None = None) -> tuple[list[int], _Reader]:
    async def run() -> tuple[list[int], _Reader]:
        reader = _Reader.of(peer)
        return [block.number for block in await reader.read(start, count, previous_hash)], reader

    return asyncio.run(run())


def test_blocks_come_in_order_over_breaks_without_gap_or_repetition() -> None:
    chain = [_deliver(block) for block in _chain(5)]
    peer = _Peer([chain[0], chain[1], _broken()], [_broken()], [], [chain[2], chain[3], chain[4]])
    numbers, reader = _run(peer, 0, 5)
    assert numbers == [0, 1, 2, 3, 4]
    assert peer.starts == [0, 2, 2, 2]
    assert reader.delays == [0.1, 0.2, 0.4]
    assert len(reader.breaks) == 3


def test_the_pause_begins_anew_after_a_block() -> None:
    chain = [_deliver(block) for block in _chain(3)]
    _, reader = _run(_Peer([_broken()], [chain[0], _broken()], [_broken()], [chain[1]]), 0, 2)
    assert reader.delays == [0.1, 0.1, 0.2]


def test_the_pause_doubles_to_five_seconds() -> None:
    assert [reconnect_delay_s(n) for n in (1, 2, 3, 6, 7, 100, 10**6)] == [0.1, 0.2, 0.4, 3.2, 5.0, 5.0, 5.0]


def test_a_link_is_checked_across_a_break_and_from_an_earlier_run() -> None:
    chain = _chain(3)
    forged: Any = proto.common_pb2.Block()
    forged.CopyFrom(chain[1])
    forged.header.previous_hash = b"\x09" * 32
    with pytest.raises(BrokenBlockChain):
        _run(_Peer([_deliver(chain[0]), _broken()], [_deliver(forged)]), 0, 2)
    with pytest.raises(BrokenBlockChain):
        _run(_Peer([_deliver(chain[1])]), 1, 1, b"\x09" * 32)
    with pytest.raises(BrokenBlockChain):
        _run(_Peer([_deliver(chain[2])]), 1, 1)


def test_a_peer_that_serves_no_blocks_is_an_error_and_no_endless_loop() -> None:
    for status in (400, 403):
        with pytest.raises(DeliverRefused):
            _run(_Peer([_response(status=status)]), 0, 1)


def test_a_channel_that_the_peer_has_not_joined_yet_is_waited_for() -> None:
    chain = _chain(1)
    peer = _Peer([_response(status=404)], [_response(status=503)], [_deliver(chain[0])])
    numbers, reader = _run(peer, 0, 1)
    assert numbers == [0]
    assert len(reader.delays) == 2


def test_what_is_no_full_block_or_too_large_is_refused() -> None:
    filtered = _response(filtered_block={"channel_id": "caimi"})
    for item in (filtered, _response(), _broken("Received message larger than max (1 vs. 0)")):
        with pytest.raises(MalformedBlock):
            _run(_Peer([item]), 0, 1)


def test_every_connection_is_cancelled() -> None:
    chain = _chain(1)
    peer = _Peer([_broken()], [_deliver(chain[0])])
    _run(peer, 0, 1)
    assert [call.cancelled for call in peer.calls] == [True, True]
