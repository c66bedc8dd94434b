"""Processes and nodes that are busy, starting or being restarted: asked again for a while before it is an error."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from collections.abc import Sequence as Several
from typing import Final, TypeVar

from caimi.bundle.unixfs import Block
from caimi.ports.chain import (
    BatchView,
    BrakesView,
    ChainReader,
    ChainUnavailable,
    FinalEvent,
    Head,
    PublicationView,
    ValidatorSetView,
)
from caimi.ports.content import BlockStore, StoreUnavailable
from caimi.protocol.publication import Role, State
from caimi.protocol.registry_state import GovernedLane
from caimi.types.failure import CaimiError
from caimi.types.primitives import Address, Bytes32, Generation, PublicationId, Sequence
from caimi.types.records import BatchProof, Cid, Lane

__all__ = ["LEDGER_PATIENCE_S", "Patience", "PatientReader", "PatientStore", "Waiting"]

T = TypeVar("T")
Waiting = Callable[[str], None]
"""Told what does not answer, once, and that it answers again."""

LEDGER_PATIENCE_S: Final = 90.0
"""How long a node may be away: a peer needs that long to come back on a busy machine."""
_FIRST_PAUSE_S: Final = 0.2
_LONGEST_PAUSE_S: Final = 3.0


class Patience:
    """How long to ask again, with growing pauses, and whom to tell. One object for everything that a client asks."""

    def __init__(self, seconds: float = 0.0, tell: Waiting | None = None) -> None:
        """Arguments:
        seconds: from the first failure in a row; 0 never asks again.
        tell: see `Waiting`.
        """
        self._seconds = seconds
        self._tell = tell
        self._away: set[str] = set()

    async def ask(self, who: str, question: Callable[[], Awaitable[T]], failure: type[CaimiError]) -> T:
        """The answer to a question that may be repeated.

        Arguments:
            who: for people: whose answer it is.
            failure: what is raised when it did not answer; every other error is one at once.
        Raises:
            failure: It does not answer in time.
        """
        give_up, pause = time.monotonic() + self._seconds, _FIRST_PAUSE_S
        while True:
            try:
                answer = await question()
            except failure as error:
                if time.monotonic() + pause > give_up:
                    raise
                self._is_away(who, error)
            else:
                self._is_back(who)
                return answer
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    def _is_away(self, who: str, error: CaimiError) -> None:
        # Several questions at a time wait for the same one: it is told once.
        if who not in self._away and self._tell is not None:
            self._tell(f"waits for {who}, which does not answer, at most {self._seconds:.0f} s: {error}"[:300])
        self._away.add(who)

    def _is_back(self, who: str) -> None:
        if who in self._away and self._tell is not None:
            self._tell(f"{who} answers again")
        self._away.discard(who)


class PatientReader:
    """A `ChainReader` that repeats what did not reach its node."""

    def __init__(self, reader: ChainReader, patience: Patience | None = None, *, name: str = "the node") -> None:
        """Arguments:
        patience: by default `LEDGER_PATIENCE_S`.
        name: of the node, for people.
        """
        self._reader = reader
        self._patience = patience or Patience(LEDGER_PATIENCE_S)
        self._name = name

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

    async def batch(self, home: Lane, root: Bytes32) -> BatchView | None:
        """See `ChainReader.batch`."""
        return await self._ask(lambda: self._reader.batch(home, root))

    async def batch_ids(self, root: Bytes32) -> tuple[PublicationId, ...] | None:
        """See `ChainReader.batch_ids`."""
        return await self._ask(lambda: self._reader.batch_ids(root))

    async def state_in(self, identifier: PublicationId, proof: BatchProof) -> tuple[Role, State]:
        """See `ChainReader.state_in`."""
        return await self._ask(lambda: self._reader.state_in(identifier, proof))

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

    async def brakes(self) -> BrakesView:
        """See `ChainReader.brakes`."""
        return await self._ask(self._reader.brakes)

    async def root(self) -> Lane:
        """See `ChainReader.root`."""
        return await self._ask(self._reader.root)

    async def governed(self, lane: Lane) -> GovernedLane:
        """See `ChainReader.governed`."""
        return await self._ask(lambda: self._reader.governed(lane))

    async def _ask(self, question: Callable[[], Awaitable[T]]) -> T:
        return await self._patience.ask(self._name, question, ChainUnavailable)


class PatientStore:
    """A `BlockStore` that repeats what did not reach the store."""

    def __init__(self, store: BlockStore, patience: Patience) -> None:
        self._store = store
        self._patience = patience

    @property
    def name(self) -> str:
        """See `BlockStore.name`."""
        return self._store.name

    async def get(self, cid: Cid) -> Block:
        """See `BlockStore.get`."""
        return await self._ask(lambda: self._store.get(cid))

    async def put(self, block: Block) -> None:
        """See `BlockStore.put`. Before a block is sent again, the store is asked whether it took it the last time."""
        is_sent = False

        async def send() -> None:
            nonlocal is_sent
            if is_sent and await self._store.has(block.cid):
                return
            is_sent = True
            await self._store.put(block)

        await self._ask(send)

    async def missing(self, cids: Several[Cid]) -> frozenset[Cid]:
        """See `BlockStore.missing`."""
        return await self._ask(lambda: self._store.missing(cids))

    async def has(self, cid: Cid) -> bool:
        """See `BlockStore.has`."""
        return await self._ask(lambda: self._store.has(cid))

    async def _ask(self, question: Callable[[], Awaitable[T]]) -> T:
        return await self._patience.ask("the content store", question, StoreUnavailable)
