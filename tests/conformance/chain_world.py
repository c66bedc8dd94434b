"""A registry as the tests of adapters meet it, whatever ledger is below."""

from __future__ import annotations

import asyncio
import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from caimi.ports.chain import (
    CallStatus,
    ChainPort,
    ChainReader,
    FinalEvent,
    Included,
    Lost,
    NotIncluded,
    PreparedCall,
    Reverted,
)
from caimi.types.errors import Refusal
from caimi.types.primitives import Bytes32, Sequence
from caimi.types.records import Lane, Publication
from tests.conformance.scenario import ELSEWHERE, Signer, key, word

__all__ = ["HOUR", "Scenes", "World", "all_events", "check_refusals", "number_elsewhere"]

HOUR = 3_600
_PATIENCE = 400


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """One registry as a test meets it."""

    label: str
    """Of this test only: keys and nonces depend on it."""
    network: Bytes32
    port: ChainPort
    rival: ChainPort
    """Another sender."""
    reader: Callable[[], ChainReader]
    """A reader that knows nothing yet."""
    unreachable: ChainPort
    """Its node is down."""
    foreign: ChainPort
    """Its node is of another chain."""
    advance: Callable[[], Awaitable[None]]
    """Let the ledger make its next block."""
    endow: Callable[[Signer, int], Awaitable[None]]
    """Give an account a registry balance."""
    root: Lane | None = None
    """What the registry was created with; None for itself."""

    @property
    def lane(self) -> Lane:
        """The registry under test."""
        return self.port.lane

    def person(self, name: str) -> Signer:
        """Somebody with a key."""
        return Signer(network=self.network, key=key(f"{self.label} {name}"), label=f"{self.label} {name}")

    async def publisher(self, deposit: int = 1_000) -> Signer:
        """Somebody with a registry balance."""
        person = self.person("publisher")
        await self.endow(person, deposit)
        return person

    async def now(self) -> int:
        """The chain's clock."""
        return (await self.port.head()).time

    async def at_home(self, signer: Signer, tag: str = "", **changes: Any) -> Publication:
        """A publication of which this registry is the home."""
        deadline = changes.pop("deadline", None) or await self.now() + HOUR
        return signer.publication(home=self.lane, mirror=ELSEWHERE, deadline=deadline, tag=tag, **changes)

    async def mirrored(self, signer: Signer, tag: str = "", **changes: Any) -> Publication:
        """A publication of which this registry is the mirror."""
        deadline = changes.pop("deadline", None) or await self.now() + HOUR
        return signer.publication(home=ELSEWHERE, mirror=self.lane, deadline=deadline, tag=tag, **changes)

    async def next_number(self) -> Sequence:
        """The number that the next event will have."""
        return Sequence(len(await all_events(self.port)) + 1)

    async def do(self, call: bytes) -> Included:
        """Send a call and wait until it is final; it has to take effect."""
        status = await self.settle(self.port, await self.port.prepare(call, slot=await self.port.next_slot()))
        assert isinstance(status, Included), status
        return status

    async def settle(self, port: ChainPort, prepared: PreparedCall) -> CallStatus:
        """Send and wait for an end that stays."""
        await port.send(prepared)
        status: CallStatus = NotIncluded()
        for _ in range(_PATIENCE):
            status = await port.status(prepared)
            if isinstance(status, Lost) or (isinstance(status, (Included, Reverted)) and status.final):
                return status
            await self.advance()
        raise AssertionError(f"no end after {_PATIENCE} blocks: {status}")


async def all_events(reader: ChainReader, first: int = 1) -> tuple[FinalEvent, ...]:
    """Every final event from `first` on."""
    found: list[FinalEvent] = []
    while more := await reader.events(Sequence(first + len(found)), 100):
        found += more
    return tuple(found)


class Scenes(ABC):
    """Subclasses say where the world comes from."""

    @abstractmethod
    def open_world(self, label: str) -> AbstractAsyncContextManager[World]:
        """A world for one test."""

    def play(self, scene: Callable[[World], Awaitable[None]]) -> None:
        """Run one scene in a world of its own."""

        async def whole() -> None:
            async with self.open_world(scene.__qualname__.split(".")[1]) as world:
                await scene(world)

        self.run(whole())

    def run(self, scene: Coroutine[None, None, None]) -> None:
        """Run in an event loop."""
        asyncio.run(scene)


def number_elsewhere(world: World) -> int:
    """A stretch of the other registry's numbers for each test, because some ledgers are shared by all tests."""
    return 1 + int.from_bytes(word(world.label)[:4], "big")


async def check_refusals(world: World, cases: list[tuple[bytes, type[Refusal]]]) -> None:
    """Each call is refused when it is prepared, with this class."""
    for call, expected in cases:
        with pytest.raises(expected):
            await world.port.prepare(call, slot=await world.port.next_slot())
