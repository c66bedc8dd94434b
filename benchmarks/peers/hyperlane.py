"""Hyperlane's Mailbox and message-id multisig ISM, from npm, in the gas benchmarks."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, cast

import eth_abi

from benchmarks.evm import EvmSender
from benchmarks.peers.gateway import Delivery, Question, must_refuse, strangers
from caimi.crypto.ecdsa import SigningKey
from caimi.types.primitives import Address, Bytes32
from caimi.wire.keccak import keccak256

__all__ = ["Hyperlane", "bytecode_of"]

_ORIGIN: Final = 4_001
_HERE: Final = 4_002
_VERSION: Final = 3
_GAS: Final = 16_700_000
_AT_ONCE: Final = 100
_BYTECODE: Final = re.compile(rb'_bytecode = "0x([0-9a-fA-F]+)"')
_abi: Final = cast(Any, eth_abi)


def bytecode_of(factory: Path) -> bytes:
    """The creation code in one of the package's factories.

    Raises:
        ValueError: There is none, or one that needs a library.
    """
    found = _BYTECODE.search(factory.read_bytes())
    if found is None:
        raise ValueError(f"{factory.name} has no bytecode")
    return bytes.fromhex(found[1].decode())


def _codes(folder: Path) -> dict[str, bytes]:
    return {path.name.partition("__")[0]: bytecode_of(path) for path in folder.rglob("*__factory.js")}


class Hyperlane:
    """Implements `Gateway`."""

    name = "Hyperlane"

    def __init__(self, sender: EvmSender, validators: Sequence[SigningKey], threshold: int) -> None:
        self._sender = sender
        self._validators = validators
        self._threshold = threshold
        self._nonce = 0
        self._hook = Bytes32(os.urandom(32))
        self._mailbox = self._recipient = self._batcher = Address(bytes(20))
        self.rule = (
            f"{threshold} of {len(validators)} validators, message-id multisig ISM, Mailbox without proxy; one"
            " process() for each message, many in one transaction by a contract of ours"
        )

    async def install(self, folder: Path, recipient: bytes, batcher: bytes) -> None:
        """Put the contracts on the chain.

        Arguments:
            folder: with the factories of the package.
            recipient, batcher: creation code of our own contracts.
        """
        sender, here = self._sender, self._sender.key.address
        codes = await asyncio.to_thread(_codes, folder)
        hook = await sender.create(codes["TestPostDispatchHook"])
        factory = await sender.create(codes["StaticMessageIdMultisigIsmFactory"])
        accounts = [key.address for key in self._validators]
        values = _abi.encode(["address[]", "uint8"], [accounts, self._threshold])
        await sender.transact(factory, keccak256(b"deploy(address[],uint8)")[:4] + values, gas=_GAS)
        ism = (await sender.view(factory, keccak256(b"getAddress(address[],uint8)")[:4] + values))[12:32]
        self._mailbox = await sender.create(codes["Mailbox"] + _abi.encode(["uint32"], [_HERE]))
        first = _abi.encode(["address"] * 4, [here, ism, hook, hook])
        signature = b"initialize(address,address,address,address)"
        await sender.transact(self._mailbox, keccak256(signature)[:4] + first, gas=_GAS)
        self._recipient = await sender.create(recipient + _abi.encode(["address"], [self._mailbox]))
        self._batcher = await sender.create(batcher)

    async def deliver(self, count: int) -> Delivery:
        """See `Gateway.deliver`."""
        ids = [Bytes32(os.urandom(32)) for _ in range(count)]
        calls = [self._process(identifier, self._validators) for identifier in ids]
        gas = 0
        for start in range(0, count, _AT_ONCE):
            part = calls[start : start + _AT_ONCE]
            if len(part) == 1:
                receipt = await self._sender.transact(self._mailbox, part[0], gas=_GAS)
            else:
                values = _abi.encode(["address", "bytes[]"], [self._mailbox, part])
                call = keccak256(b"run(address,bytes[])")[:4] + values
                receipt = await self._sender.transact(self._batcher, call, gas=_GAS)
            gas += receipt.gas_used
        return Delivery(gas={"process": gas}, ids=tuple(ids))

    async def check_quorum(self) -> None:
        """See `Gateway.check_quorum`."""
        call = self._process(Bytes32(os.urandom(32)), strangers(self._threshold))
        await must_refuse(self._sender, self.name, self._mailbox, call)

    def question(self, identifier: Bytes32) -> Question:
        """See `Gateway.question`."""
        return Question(target=self._recipient, call=keccak256(b"state(bytes32)")[:4] + identifier, word=0)

    def _process(self, identifier: Bytes32, signers: Sequence[SigningKey]) -> bytes:
        index = self._nonce
        self._nonce += 1
        message = (
            bytes([_VERSION])
            + index.to_bytes(4, "big")
            + _ORIGIN.to_bytes(4, "big")
            + bytes(12)
            + self._sender.key.address
            + _HERE.to_bytes(4, "big")
            + bytes(12)
            + self._recipient
            + identifier
        )
        root = os.urandom(32)
        domain = keccak256(_ORIGIN.to_bytes(4, "big") + self._hook + b"HYPERLANE")
        checkpoint = keccak256(domain + root + index.to_bytes(4, "big") + keccak256(message))
        digest = keccak256(b"\x19Ethereum Signed Message:\n32" + checkpoint)
        signatures = b"".join(key.sign(digest).to_bytes() for key in signers[: self._threshold])
        metadata = self._hook + root + index.to_bytes(4, "big") + signatures
        return keccak256(b"process(bytes,bytes)")[:4] + _abi.encode(["bytes", "bytes"], [metadata, message])
