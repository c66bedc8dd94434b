"""What every peer of the gas benchmarks can do: bring publications to a contract, by certificates of n validators."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from benchmarks.evm import EvmSender
from caimi.chains.ethereum.errors import RpcFailure
from caimi.chains.ethereum.fields import hex_data
from caimi.crypto.ecdsa import SigningKey
from caimi.types.primitives import Address, Bytes32

__all__ = ["Delivery", "Gateway", "Question", "TakesAnything", "must_refuse", "strangers"]


class TakesAnything(Exception):
    """A contract takes what its validators have not signed: its gas would mean nothing."""


def strangers(count: int) -> tuple[SigningKey, ...]:
    """Keys that no contract knows."""
    return tuple(SigningKey.from_entropy(Bytes32(os.urandom(32))) for _ in range(count))


async def must_refuse(sender: EvmSender, name: str, target: Address, call: bytes) -> None:
    """Ask whether a call would go through.

    Raises:
        TakesAnything: It would.
    """
    question = {"from": hex_data(sender.key.address), "to": hex_data(target), "data": hex_data(call)}
    try:
        await sender.rpc.call("eth_call", question, "latest")
    except RpcFailure:
        return
    raise TakesAnything(f"{name} takes signatures of strangers")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """How a contract asks for the state of one publication."""

    target: Address
    call: bytes
    word: int
    """Place of the state in the answer; 2 is COMMITTED."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """Publications that were made known."""

    gas: Mapping[str, int]
    """Of all transactions, by what they were for."""
    ids: tuple[Bytes32, ...]

    @property
    def total(self) -> int:
        """All gas."""
        return sum(self.gas.values())


class Gateway(Protocol):
    """One way from a foreign ledger to a contract on this chain."""

    @property
    def name(self) -> str:
        """For the table."""
        ...

    @property
    def rule(self) -> str:
        """Whose word counts, and what is left out."""
        ...

    async def deliver(self, count: int) -> Delivery:
        """Make `count` new publications known on this chain."""
        ...

    async def check_quorum(self) -> None:
        """Bring one message with signatures of strangers, as a question that changes nothing.

        Raises:
            TakesAnything: It would be taken.
        """
        ...

    def question(self, identifier: Bytes32) -> Question:
        """How to ask for one of them."""
        ...
