"""Reading a ledger whose node is busy, starting or being restarted: asked again for a while before it is an error."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from caimi.ports.chain import ChainReader, ChainUnavailable, FinalEvent, Head, PublicationView, ValidatorSetView
from caimi.types.primitives import Address, Bytes32, Generation, PublicationId, Sequence
from caimi.types.records import Lane

__all__ = ["PatientReader"]

T = TypeVar("T")

_FIRST_PAUSE_S: Final = 0.2
_LONGEST_PAUSE_S: Final = 3.0


class PatientReader:
    """A `ChainReader` that repeats what did not reach the node, with growing pauses, for at most `patience_s`."""

    def __init__(self, reader: ChainReader, *, patience_s: float = 90.0) -> None:
        self._reader = reader
        self._patience_s = patience_s

    @property
    def lane(self) -> Lane:
        """See `ChainReader.lane`."""
        return self._reader.lane

    async def head(self) -> Head:
        """See `ChainReader.head`."""
        return await self._ask(self._reader.head)

    async def events(self, first: Sequence, limit: int) -> tuple[FinalEvent, ...]:
        """See `ChainReader.events`."""
        return await self._ask(lambda: self._reader.events(first, limit))

    async def block_hash(self, height: int) -> Bytes32 | None:
        """See `ChainReader.block_hash`."""
        return await self._ask(lambda: self._reader.block_hash(height))

    async def publication(self, identifier: PublicationId) -> PublicationView | None:
        """See `ChainReader.publication`."""
        return await self._ask(lambda: self._reader.publication(identifier))

    async def balance(self, account: Address) -> int:
        """See `ChainReader.balance`."""
        return await self._ask(lambda: self._reader.balance(account))

    async def tokens(self, account: Address) -> int:
        """See `ChainReader.tokens`."""
        return await self._ask(lambda: self._reader.tokens(account))

    async def receipt_of(self, request: Bytes32) -> Bytes32 | None:
        """See `ChainReader.receipt_of`."""
        return await self._ask(lambda: self._reader.receipt_of(request))

    async def is_marked(self, source: Lane, generation: Generation, sequence: Sequence) -> bool:
        """See `ChainReader.is_marked`."""
        return await self._ask(lambda: self._reader.is_marked(source, generation, sequence))

    async def validator_set(self) -> ValidatorSetView:
        """See `ChainReader.validator_set`."""
        return await self._ask(self._reader.validator_set)

    async def _ask(self, question: Callable[[], Awaitable[T]]) -> T:
        give_up, pause = time.monotonic() + self._patience_s, _FIRST_PAUSE_S
        while True:
            try:
                return await question()
            except ChainUnavailable:
                if time.monotonic() + pause > give_up:
                    raise
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)
