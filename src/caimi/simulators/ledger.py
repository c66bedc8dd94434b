"""A ledger in memory: blocks made on demand, branches, two ways to order a sender's transactions.

It stands for Ethereum (`Slots.NUMBERED`: a transaction names its account nonce) and for Fabric (`Slots.NONE`: a
transaction is tried when it is prepared, and invalid if it no longer goes through when it is ordered).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from caimi.protocol.calls import after_call
from caimi.protocol.registry import Registry
from caimi.protocol.registry_state import RegistryConfig
from caimi.types.errors import Refusal
from caimi.types.primitives import Address, Bytes32, UnixSeconds
from caimi.types.records import Item, Lane
from caimi.wire.keccak import keccak256

__all__ = ["LedgerEvent", "Outcome", "SimulatedBlock", "SimulatedLedger", "SimulatedTransaction", "Slots"]


_ROOM: Final = 1 << 24


class Slots(Enum):
    """Whether a sender's transactions are numbered."""

    NUMBERED = "numbered"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedTransaction:
    """A call on its way."""

    id: Bytes32
    sender: Address
    slot: int | None
    call: bytes = field(repr=False)
    """Empty: it does nothing but use its slot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a transaction did in its block."""

    height: int
    refusal: Refusal | None
    """Why it did nothing; None if it took effect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEvent:
    """An event and the transaction that caused it."""

    item: Item
    transaction: Bytes32


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedBlock:
    """One block of the present branch."""

    height: int
    hash: Bytes32
    time: UnixSeconds
    transactions: tuple[SimulatedTransaction, ...]
    outcomes: tuple[Outcome, ...]
    events: tuple[LedgerEvent, ...]
    """Those that the block added."""
    slots: Mapping[Address, int]
    """Transactions of each sender up to this block."""
    registry: Registry = field(repr=False)
    """State after the block."""


class SimulatedLedger:
    """One chain with one registry. Nothing happens but by its methods."""

    def __init__(
        self,
        config: RegistryConfig,
        *,
        slots: Slots,
        depth: int,
        now: Callable[[], UnixSeconds],
        tokens: Mapping[Address, int] | None = None,
    ) -> None:
        """Begin with block 0, which holds the empty registry.

        Arguments:
            depth: blocks below the tip that are final, 0 or more.
            now: virtual time; the time of a block is never before its predecessor's.
            tokens: outside tokens at the beginning.
        """
        self.slots = slots
        self.depth = depth
        self._now = now
        self._branch = 0
        registry = Registry.create(config)
        registry.state.tokens.update(tokens or {})
        self._pool: dict[Bytes32, SimulatedTransaction] = {}
        self._outcomes: dict[Bytes32, Outcome] = {}
        self.blocks: list[SimulatedBlock] = []
        """The present branch, by height."""
        self.parents: dict[Bytes32, Bytes32] = {}
        """By the hash of each block that was ever made but the first, that of the block before it."""
        self.room = _ROOM
        """Most bytes of a call that a node prepares a transaction for."""
        self.promised = 0
        """Height of the highest block of this branch that was ever final."""
        self.taken_back: list[SimulatedBlock] = []
        """Blocks that were final and are not there any more."""
        self._events: list[tuple[LedgerEvent, SimulatedBlock]] = []
        self._append(
            SimulatedBlock(
                height=0,
                hash=keccak256(config.lane.chain),
                time=now(),
                transactions=(),
                outcomes=(),
                events=(),
                slots={},
                registry=registry,
            )
        )

    @property
    def lane(self) -> Lane:
        """The registry as a source of events."""
        return self.tip.registry.lane

    @property
    def tip(self) -> SimulatedBlock:
        """The latest block."""
        return self.blocks[-1]

    @property
    def final(self) -> SimulatedBlock:
        """The highest final block."""
        return self.blocks[max(0, len(self.blocks) - 1 - self.depth)]

    def time(self) -> UnixSeconds:
        """The clock by which a call would be judged now."""
        return max(self._now(), self.tip.time)

    def outcome(self, transaction: Bytes32) -> Outcome | None:
        """What a transaction of the present branch did, None if it is in no block."""
        return self._outcomes.get(transaction)

    def events(self, first: int, limit: int, *, upto: SimulatedBlock) -> list[tuple[LedgerEvent, SimulatedBlock]]:
        """Events numbered from `first` (at least 1) on with their blocks, at most `limit`, up to a block."""
        last = min(len(upto.registry.state.events), first + limit - 1)
        return self._events[first - 1 : last]

    def submit(self, transaction: SimulatedTransaction) -> None:
        """Put a transaction into the pool; one that is there or in a block already changes nothing."""
        if transaction.id not in self._outcomes:
            self._pool.setdefault(transaction.id, transaction)

    def mine(self) -> SimulatedBlock:
        """Make a block of what the pool holds and is next in its sender's order."""
        registry, time, slots = self.tip.registry, self.time(), dict(self.tip.slots)
        transactions: list[SimulatedTransaction] = []
        outcomes: list[Outcome] = []
        events: list[LedgerEvent] = []
        while (transaction := self._take(slots)) is not None:
            before = len(registry.state.events)
            refusal: Refusal | None = None
            try:
                # No call at all only uses its slot.
                registry = after_call(registry, transaction.call, now=time) if transaction.call else registry
            except Refusal as error:
                refusal = error
            slots[transaction.sender] = slots.get(transaction.sender, 0) + 1
            transactions.append(transaction)
            outcomes.append(Outcome(height=len(self.blocks), refusal=refusal))
            events += [LedgerEvent(item=item, transaction=transaction.id) for item in registry.state.events[before:]]
        return self._append(
            SimulatedBlock(
                height=len(self.blocks),
                hash=self._hash(time, transactions),
                time=time,
                transactions=tuple(transactions),
                outcomes=tuple(outcomes),
                events=tuple(events),
                slots=slots,
                registry=registry,
            )
        )

    def reorganise(self, depth: int) -> None:
        """Drop the newest `depth` blocks (at least 1, never block 0); their transactions are in the pool again.

        The next block is of another branch. Nothing stops `depth` from reaching below final blocks: that is a chain
        which breaks its own promise.
        """
        keep = max(1, len(self.blocks) - depth)
        self.taken_back += [block for block in self.blocks[keep:] if block.height <= self.promised]
        self.promised = min(self.promised, keep - 1)
        dropped = self.blocks[keep:]
        del self.blocks[keep:]
        del self._events[len(self.tip.registry.state.events) :]
        self._branch += 1
        for block in dropped:
            for transaction in block.transactions:
                del self._outcomes[transaction.id]
                self._pool[transaction.id] = transaction

    def lift_room(self) -> None:
        """Take calls of any length again."""
        self.room = _ROOM

    def drop_pool(self) -> None:
        """Forget all transactions that are in no block, as a node does that is restarted."""
        self._pool.clear()

    def _take(self, slots: Mapping[Address, int]) -> SimulatedTransaction | None:
        for transaction in self._pool.values():
            if transaction.slot is None or transaction.slot == slots.get(transaction.sender, 0):
                return self._pool.pop(transaction.id)
        return None

    def _hash(self, time: UnixSeconds, transactions: list[SimulatedTransaction]) -> Bytes32:
        numbers = b"".join(number.to_bytes(8, "big") for number in (len(self.blocks), time, self._branch))
        return keccak256(self.tip.hash + numbers + b"".join(transaction.id for transaction in transactions))

    def _append(self, block: SimulatedBlock) -> SimulatedBlock:
        if self.blocks:
            self.parents[block.hash] = self.tip.hash
        self.blocks.append(block)
        self.promised = max(self.promised, self.final.height)
        self._events += [(event, block) for event in block.events]
        for transaction, outcome in zip(block.transactions, block.outcomes, strict=True):
            self._outcomes[transaction.id] = outcome
        return block
