"""Chainlink CCIP 1.6 from npm, the receiving side, in the gas benchmarks: OffRamp, Router, RMNRemote, NonceManager."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, cast

import eth_abi

from benchmarks.evm import EvmSender
from benchmarks.peers.gateway import Delivery, Question, must_refuse, strangers
from caimi.crypto.ecdsa import SigningKey
from caimi.types.primitives import Address, Bytes32
from caimi.wire.keccak import keccak256

__all__ = ["Ccip", "tree_root"]

_SOURCE: Final = 5_009_297_550_715_157_269
_HERE: Final = 4_949_039_107_694_359_620
_COMMIT: Final = 0
_EXECUTE: Final = 1
_GAS: Final = 16_700_000
_RECEIVER_GAS: Final = 100_000
_CHECK_GAS: Final = 5_000
_LEAVES: Final = 256
_HEADER: Final = "(bytes32,uint64,uint64,uint64,uint64)"
_MESSAGE: Final = f"({_HEADER},bytes,bytes,address,uint256,(bytes,address,uint32,bytes,uint256)[])"
_EXECUTION: Final = f"(uint64,{_MESSAGE}[],bytes[][],bytes32[],uint256)[]"
_ROOT: Final = "(uint64,bytes,uint64,uint64,bytes32)[]"
_REPORT: Final = f"(((address,uint224)[],(uint64,uint224)[]),{_ROOT},{_ROOT},(bytes32,bytes32)[])"
_SOURCE_CONFIG: Final = "(address,uint64,bool,bool,bytes)[]"
_OCR: Final = "(bytes32,uint8,uint8,bool,address[],address[])[]"
_INTERNAL: Final = bytes(31) + b"\x01"
_abi: Final = cast(Any, eth_abi)
_Message = tuple[Any, ...]


def tree_root(leaves: Sequence[bytes]) -> bytes:
    """Root of CCIP's tree when all leaves are proved at once: pairs from the front, sorted, the result at the back."""
    queue = list(leaves)
    while len(queue) > 1:
        first, second = sorted(queue[:2])
        queue = [*queue[2:], keccak256(_INTERNAL + first + second)]
    return queue[0]


def _codes(folder: Path) -> dict[str, bytes]:
    files = folder.rglob("*.bin")
    return {path.stem: bytes.fromhex(path.read_text(encoding="ascii").strip().removeprefix("0x")) for path in files}


class Ccip:
    """Implements `Gateway`."""

    name = "CCIP"

    def __init__(self, sender: EvmSender, validators: Sequence[SigningKey], f: int) -> None:
        self._sender = sender
        self._validators = validators
        self._f = f
        self._sequence = 0
        self._digests = (os.urandom(32), os.urandom(32))
        self._ramp = os.urandom(32)
        self._off_ramp = self._recipient = self._hasher = Address(bytes(20))
        self.rule = (
            f"CCIP 1.6 OffRamp: {f + 1} of {len(validators)} signers, which is its rule; its risk management network"
            " is switched off, no fees; commits of up to 256 messages, executed in as few transactions as one may hold"
        )

    async def install(self, folder: Path, recipient: bytes) -> None:
        """Put the contracts on the chain.

        Arguments:
            folder: with the bytecode of the package.
            recipient: creation code of our own contract.
        """
        sender, payer = self._sender, self._sender.key.address
        codes = await asyncio.to_thread(_codes, folder)
        some = Address(b"\x01" * 20)
        remote = await sender.create(codes["rmn_remote"] + _abi.encode(["uint64", "address"], [_HERE, bytes(20)]))
        nonces = await sender.create(codes["nonce_manager"] + _abi.encode(["address[]"], [[]]))
        router = await sender.create(codes["router"] + _abi.encode(["address", "address"], [some, remote]))
        self._hasher = await sender.create(codes["message_hasher"])
        sources = [(router, _SOURCE, True, True, self._ramp)]
        values = _abi.encode(
            ["(uint64,uint16,address,address,address)", "(address,uint32,address)", _SOURCE_CONFIG],
            [(_HERE, _CHECK_GAS, remote, some, nonces), (some, 3_600, bytes(20)), sources],
        )
        self._off_ramp = await sender.create(codes["offramp"] + values)
        ramps = _abi.encode(["(uint64,address)[]"] * 3, [[], [], [(_SOURCE, self._off_ramp)]])
        signature = b"applyRampUpdates((uint64,address)[],(uint64,address)[],(uint64,address)[])"
        await sender.transact(router, keccak256(signature)[:4] + ramps, gas=_GAS)
        signers = [key.address for key in self._validators]
        configs: list[tuple[Any, ...]] = [
            (self._digests[_COMMIT], _COMMIT, self._f, True, signers, [payer]),
            (self._digests[_EXECUTE], _EXECUTE, self._f, False, [], [payer]),
        ]
        call = keccak256(f"setOCR3Configs({_OCR})".encode())[:4] + _abi.encode([_OCR], [configs])
        await sender.transact(self._off_ramp, call, gas=_GAS)
        self._recipient = await sender.create(recipient + _abi.encode(["address"], [router]))

    async def deliver(self, count: int) -> Delivery:
        """See `Gateway.deliver`."""
        ids = [Bytes32(os.urandom(32)) for _ in range(count)]
        messages = [self._message(identifier) for identifier in ids]
        parts = [messages[start : start + _LEAVES] for start in range(0, count, _LEAVES)]
        roots: list[tuple[Any, ...]] = []
        for part in parts:
            leaves = [await self._leaf(message) for message in part]
            roots.append((_SOURCE, self._ramp, part[0][0][3], part[-1][0][3], tree_root(leaves)))
        commit = self._commit(roots, self._validators)
        committed = (await self._sender.transact(self._off_ramp, commit, gas=_GAS)).gas_used
        executed = sum([await self._execute(part) for part in parts])
        return Delivery(gas={"commit": committed, "execute": executed}, ids=tuple(ids))

    async def check_quorum(self) -> None:
        """See `Gateway.check_quorum`."""
        following = self._sequence + 1
        root = (_SOURCE, self._ramp, following, following, os.urandom(32))
        await must_refuse(self._sender, self.name, self._off_ramp, self._commit([root], strangers(self._f + 1)))

    def question(self, identifier: Bytes32) -> Question:
        """See `Gateway.question`."""
        return Question(target=self._recipient, call=keccak256(b"state(bytes32)")[:4] + identifier, word=0)

    def _message(self, identifier: Bytes32) -> _Message:
        self._sequence += 1
        # Nonce 0: out of order, which is cheaper.
        header = (os.urandom(32), _SOURCE, _HERE, self._sequence, 0)
        return (header, bytes(12) + self._sender.key.address, bytes(identifier), self._recipient, _RECEIVER_GAS, [])

    async def _leaf(self, message: _Message) -> bytes:
        values = _abi.encode([_MESSAGE, "bytes"], [message, self._ramp])
        return await self._sender.view(self._hasher, keccak256(f"hash({_MESSAGE},bytes)".encode())[:4] + values)

    def _commit(self, roots: Sequence[tuple[Any, ...]], signers: Sequence[SigningKey]) -> bytes:
        report = _abi.encode([_REPORT], [(([], []), [], list(roots), [])])
        context = [self._digests[_COMMIT], bytes(32)]
        digest = keccak256(keccak256(report) + b"".join(context))
        signed = [key.sign(digest) for key in signers[: self._f + 1]]
        parities = bytes(one.v - 27 for one in signed).ljust(32, b"\0")
        values = _abi.encode(
            ["bytes32[2]", "bytes", "bytes32[]", "bytes32[]", "bytes32"],
            [context, report, [one.r for one in signed], [one.s for one in signed], parities],
        )
        return keccak256(b"commit(bytes32[2],bytes,bytes32[],bytes32[],bytes32)")[:4] + values

    async def _execute(self, messages: Sequence[_Message]) -> int:
        flags = (1 << (len(messages) - 1)) - 1
        report = _abi.encode([_EXECUTION], [[(_SOURCE, list(messages), [[] for _ in messages], [], flags)]])
        context = [self._digests[_EXECUTE], bytes(32)]
        call = keccak256(b"execute(bytes32[2],bytes)")[:4] + _abi.encode(["bytes32[2]", "bytes"], [context, report])
        return (await self._sender.transact(self._off_ramp, call, gas=_GAS)).gas_used
