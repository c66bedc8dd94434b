"""Several peers of one channel as one port: whoever does not answer is left for the next one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from collections.abc import Sequence as Several
from typing import Protocol, TypeVar

from caimi.ports.chain import (
    BatchView,
    BrakesView,
    CallStatus,
    ChainPort,
    ChainUnavailable,
    FinalEvent,
    Head,
    PreparedCall,
    PublicationView,
    StatusUnknown,
    ValidatorSetView,
)
from caimi.protocol.publication import Role, State
from caimi.protocol.registry_state import GovernedLane
from caimi.types.primitives import Address, Bytes32, Generation, PublicationId, Sequence
from caimi.types.records import BatchProof, Lane

__all__ = ["FabricPeers", "PeerPort"]

T = TypeVar("T")


class PeerPort(ChainPort, Protocol):
    """The registry through one peer: `FabricRegistry`."""

    async def verify_site(self) -> Bytes32:
        """See `FabricRegistry.verify_site`."""
        ...

    async def forget(self, first: Sequence) -> None:
        """See `Forgetful.forget`."""
        ...


class FabricPeers:
    """`ChainPort` of a relay, which needs no agreement of peers: it only has to reach one that follows the channel.

    A question fails as it does with one peer, and the next question goes to another peer. That one may lag: it shows an
    earlier moment of the same ledger. It trusts no more than one peer at a time, as with a single one; false answers
    are the validators' matter.
    """

    def __init__(self, peers: Several[PeerPort]) -> None:
        """Ask the first of at least one; all are of one lane, and the caller closes them."""
        self._peers = tuple(peers)
        self._place = 0

    @property
    def lane(self) -> Lane:
        """The lane this port reads."""
        return self._peers[0].lane

    async def verify_site(self) -> Bytes32:
        """See `FabricRegistry.verify_site`."""
        return await self._ask(lambda peer: peer.verify_site())

    async def head(self) -> Head:
        """See `ChainReader.head`."""
        return await self._ask(lambda peer: peer.head())

    async def events(self, first: Sequence, limit: int) -> tuple[FinalEvent, ...]:
        """See `ChainReader.events`."""
        return await self._ask(lambda peer: peer.events(first, limit))

    async def forget(self, first: Sequence) -> None:
        """See `Forgetful.forget`: whichever peer said it."""
        for peer in self._peers:
            await peer.forget(first)

    async def block_hash(self, height: int) -> Bytes32 | None:
        """See `ChainReader.block_hash`."""
        return await self._ask(lambda peer: peer.block_hash(height))

    async def publication(self, identifier: PublicationId) -> PublicationView | None:
        """See `ChainReader.publication`."""
        return await self._ask(lambda peer: peer.publication(identifier))

    async def brakes(self) -> BrakesView:
        """See `ChainReader.brakes`."""
        return await self._ask(lambda peer: peer.brakes())

    async def root(self) -> Lane:
        """See `ChainReader.root`."""
        return await self._ask(lambda peer: peer.root())

    async def governed(self, lane: Lane) -> GovernedLane:
        """See `ChainReader.governed`."""
        return await self._ask(lambda peer: peer.governed(lane))

    async def batch(self, home: Lane, root: Bytes32) -> BatchView | None:
        """See `ChainReader.batch`."""
        return await self._ask(lambda peer: peer.batch(home, root))

    async def batch_ids(self, root: Bytes32) -> tuple[PublicationId, ...] | None:
        """See `ChainReader.batch_ids`."""
        return await self._ask(lambda peer: peer.batch_ids(root))

    async def state_in(self, identifier: PublicationId, proof: BatchProof) -> tuple[Role, State]:
        """See `ChainReader.state_in`."""
        return await self._ask(lambda peer: peer.state_in(identifier, proof))

    async def balance(self, account: Address) -> int:
        """See `ChainReader.balance`."""
        return await self._ask(lambda peer: peer.balance(account))

    async def tokens(self, account: Address) -> int:
        """See `ChainReader.tokens`."""
        return await self._ask(lambda peer: peer.tokens(account))

    async def receipt_of(self, request: Bytes32) -> Bytes32 | None:
        """See `ChainReader.receipt_of`."""
        return await self._ask(lambda peer: peer.receipt_of(request))

    async def is_marked(self, source: Lane, generation: Generation, sequence: Sequence) -> bool:
        """See `ChainReader.is_marked`."""
        return await self._ask(lambda peer: peer.is_marked(source, generation, sequence))

    async def validator_set(self) -> ValidatorSetView:
        """See `ChainReader.validator_set`."""
        return await self._ask(lambda peer: peer.validator_set())

    async def next_slot(self) -> int | None:
        """See `ChainPort.next_slot`."""
        return await self._ask(lambda peer: peer.next_slot())

    async def prepare(self, call: bytes, *, slot: int | None) -> PreparedCall:
        """See `ChainPort.prepare`."""
        return await self._ask(lambda peer: peer.prepare(call, slot=slot))

    async def reprice(self, prepared: PreparedCall) -> PreparedCall:
        """See `ChainPort.reprice`."""
        return await self._ask(lambda peer: peer.reprice(prepared))

    async def fill(self, slot: int) -> PreparedCall:
        """See `ChainPort.fill`."""
        return await self._ask(lambda peer: peer.fill(slot))

    async def send(self, prepared: PreparedCall) -> None:
        """See `ChainPort.send`: the orderers know bytes that another peer has handed to them before."""
        await self._ask(lambda peer: peer.send(prepared))

    async def status(self, prepared: PreparedCall) -> CallStatus:
        """See `ChainPort.status`."""
        asked = self._place
        found = await self._ask(lambda peer: peer.status(prepared))
        if isinstance(found, StatusUnknown):
            self._leave(asked)
        return found

    async def _ask(self, question: Callable[[PeerPort], Awaitable[T]]) -> T:
        asked = self._place
        try:
            return await question(self._peers[asked])
        except ChainUnavailable:
            self._leave(asked)
            raise

    def _leave(self, asked: int) -> None:
        # Questions that failed together leave the peer once.
        if self._place == asked:
            self._place = (asked + 1) % len(self._peers)
