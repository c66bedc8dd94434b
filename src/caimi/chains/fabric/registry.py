"""`ChainPort` over one Fabric peer: evaluates views, endorses calls, sends them, tells what became of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

from caimi.chains.fabric.block_index import BlockIndex
from caimi.chains.fabric.client import FabricGateway
from caimi.chains.fabric.deliver import BlockStream
from caimi.chains.fabric.errors import CommitStatusError, FabricError, PeersApart, ValidationCode
from caimi.chains.fabric.port_errors import BrokenLedger, port_error
from caimi.chains.fabric.transaction import Committed, EndorsedTransaction
from caimi.ports.call_errors import CallRejected
from caimi.ports.chain import (
    BatchView,
    BrakesView,
    CallStatus,
    ChainUnavailable,
    FinalEvent,
    Head,
    Included,
    NotIncluded,
    PreparedCall,
    PublicationView,
    Reverted,
    StatusUnknown,
    ValidatorSetView,
)
from caimi.ports.registry_views import (
    decode_view,
    encode_view,
    read_batch,
    read_brakes,
    read_bytes32,
    read_governed,
    read_publication,
    read_state_in,
    read_validator_set,
)
from caimi.protocol.publication import Role, State
from caimi.protocol.registry_state import GovernedLane
from caimi.types.errors import BadEncoding, OutOfRange, WrongRegistry
from caimi.types.primitives import Address, Bytes32, Generation, PublicationId, Sequence, UnixSeconds
from caimi.types.records import BatchProof, Lane
from caimi.wire.chain_ids import fabric_registry

__all__ = ["FabricRegistry"]

T = TypeVar("T")

_NANOSECONDS: Final = 1_000_000_000
_STATUS_SECONDS: Final = 0.5
_APART_ATTEMPTS: Final = 20
_WAITED_IN_VAIN: Final = "DEADLINE_EXCEEDED"


class FabricRegistry:
    """Reads one registry chaincode and sends calls to it, as one member of the channel."""

    def __init__(
        self,
        gateway: FabricGateway,
        *,
        lane: Lane,
        chaincode: str,
        status_seconds: float = _STATUS_SECONDS,
        apart_seconds: float = 0.25,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """Use the peer behind `gateway`, which the caller closes.

        Arguments:
            status_seconds: how long `status` waits for a transaction that the peer has not seen in a block.
            apart_seconds: pause before peers that refuse what this one accepts are asked again, 20 times.
            clock_ns: the clock from which the gateway takes the timestamps of its transactions; the stream of blocks is
                asked for by it.

        Raises:
            WrongRegistry: `lane` is not that of this chaincode on the gateway's channel.
        """
        expected = fabric_registry(gateway.channel, chaincode)
        if lane.registry != expected:
            raise WrongRegistry(lane.registry, expected)
        self._gateway = gateway
        self._lane = lane
        self._chaincode = chaincode
        self._status_seconds = status_seconds
        self._apart_seconds = apart_seconds
        self._clock_ns = clock_ns
        stream = BlockStream(
            gateway.transport,
            identity=gateway.identity,
            channel=gateway.channel,
            on_break=lambda _: self.index.distrust(),
            clock_ns=clock_ns,
        )
        self.index = BlockIndex(gateway, stream, chaincode=chaincode, chain=lane.chain)

    @property
    def lane(self) -> Lane:
        """The lane this port reads."""
        return self._lane

    async def close(self) -> None:
        """End the stream of blocks."""
        await self.index.close()

    async def verify_site(self) -> Bytes32:
        """Check once, at the start, that a registry of this lane answers; its network id is returned.

        Raises:
            WrongChain: The peer is of another channel.
            NotInitialised: The registry is not created yet.
            WrongRegistry: The chaincode says that it is another lane.
        """
        lane: Lane = await self.view("lane", _only("lane"))
        if lane != self._lane:
            raise WrongRegistry(self._lane.registry, lane.registry)
        return await self.view("network", _only("network"))

    async def head(self) -> Head:
        """See `ChainReader.head`: committed is final.

        A channel has no clock of its own: a call is judged by the timestamp that its sender gives it, which endorsers
        compare with theirs. So the time is that of a call sent now, and never before one that is on the ledger.
        """
        await self.index.advance()
        height, final = self.index.height, self.index.hash_at(self.index.height)
        if final is None:
            raise ChainUnavailable("the channel has no block")
        now = UnixSeconds(max(self.index.time, self._clock_ns() // _NANOSECONDS))
        return Head(height=height, final_height=height, final_hash=final, time=now)

    async def events(self, first: Sequence, limit: int) -> tuple[FinalEvent, ...]:
        """See `ChainReader.events`. Raises also `BrokenLedger`."""
        if first < 1:
            raise OutOfRange(64, first)
        await self.index.advance()
        return await self.index.events(first, limit)

    async def forget(self, first: Sequence) -> None:
        """See `Forgetful.forget`."""
        await self.index.forget(first)

    async def block_hash(self, height: int) -> Bytes32 | None:
        """See `ChainReader.block_hash`."""
        if height > self.index.height:
            await self.index.advance()
        else:
            await self.index.verify_chain()
        return self.index.hash_at(height)

    async def publication(self, identifier: PublicationId) -> PublicationView | None:
        """See `ChainReader.publication`."""
        return await self.view("publication", read_publication, identifier)

    async def batch(self, home: Lane, root: Bytes32) -> BatchView | None:
        """See `ChainReader.batch`."""
        return await self.view("batch", read_batch, home, root)

    async def batch_ids(self, root: Bytes32) -> tuple[PublicationId, ...] | None:
        """See `ChainReader.batch_ids`. Raises also `BrokenLedger`."""
        await self.index.advance()
        return await self.index.batch_ids(root)

    async def state_in(self, identifier: PublicationId, proof: BatchProof) -> tuple[Role, State]:
        """See `ChainReader.state_in`."""
        return await self.view("stateIn", read_state_in, identifier, proof)

    async def balance(self, account: Address) -> int:
        """See `ChainReader.balance`."""
        return await self.view("balance", _only("balance"), account)

    async def tokens(self, account: Address) -> int:
        """See `ChainReader.tokens`."""
        return await self.view("tokens", _only("tokens"), account)

    async def receipt_of(self, request: Bytes32) -> Bytes32 | None:
        """See `ChainReader.receipt_of`."""
        return await self.view("receiptOf", lambda answer: read_bytes32("receiptOf", answer), request)

    async def is_marked(self, source: Lane, generation: Generation, sequence: Sequence) -> bool:
        """See `ChainReader.is_marked`."""
        return await self.view("isMarked", _only("isMarked"), source, generation, sequence)

    async def validator_set(self) -> ValidatorSetView:
        """See `ChainReader.validator_set`."""
        return await self.view("validatorSet", read_validator_set)

    async def brakes(self) -> BrakesView:
        """See `ChainReader.brakes`."""
        return await self.view("brakes", read_brakes)

    async def root(self) -> Lane:
        """See `ChainReader.root`."""
        return await self.view("root", _only("root"))

    async def governed(self, lane: Lane) -> GovernedLane:
        """See `ChainReader.governed`."""
        return await self.view("governed", read_governed, lane)

    async def view(self, name: str, read: Callable[[bytes], T], *arguments: Any) -> T:
        """Ask for a view and read its answer.

        Raises:
            Refusal: Of the chaincode.
            ChainUnavailable, CallRejected, BrokenLedger, WrongChain: Of the peer.
        """
        await self.index.verify_chain()
        try:
            answer = await self._gateway.evaluate(self._chaincode, "view", (encode_view(name, *arguments),))
        except FabricError as error:
            raise port_error(error) from error
        try:
            return read(answer)
        except BadEncoding as error:
            raise BrokenLedger(f"the answer of view {name} is not canonical") from error

    async def next_slot(self) -> int | None:
        """None: a member's transactions are not numbered."""
        await self.index.verify_chain()
        return None

    async def prepare(self, call: bytes, *, slot: int | None) -> PreparedCall:
        """See `ChainPort.prepare`: collects the endorsements; `slot` means nothing here.

        Raises:
            Refusal: The registry would refuse it.
            CallTooLarge: No message holds it.
            CallRejected: The peers do not accept it.
            ChainUnavailable, BrokenLedger, WrongChain: Of the peer.
        """
        del slot
        await self.index.verify_chain()
        endorsed = await self._endorsed(call)
        return PreparedCall(transaction=endorsed.tx_id, raw=endorsed.envelope, slot=None)

    async def reprice(self, prepared: PreparedCall) -> PreparedCall:
        """Always `CallRejected`: a member's transactions have neither slot nor fee."""
        raise CallRejected(f"{prepared.transaction} has neither slot nor fee")

    async def fill(self, slot: int) -> PreparedCall:
        """Always `CallRejected`: see `reprice`."""
        raise CallRejected(f"no slot {slot}: a member's transactions are not numbered")

    async def _endorsed(self, call: bytes) -> EndorsedTransaction:
        # What our peer accepts and the others refuse is decided by the state that all of them will have in a moment.
        attempts = 0
        while True:
            attempts += 1
            try:
                return await self._gateway.endorse(self._gateway.prepare(self._chaincode, "call", (call,)))
            except FabricError as error:
                if not isinstance(error, PeersApart) or attempts == _APART_ATTEMPTS:
                    raise port_error(error) from error
            await asyncio.sleep(self._apart_seconds)

    async def send(self, prepared: PreparedCall) -> None:
        """See `ChainPort.send`. Raises also `CallRejected`, if the peer does not take the bytes."""
        await self.index.verify_chain()
        endorsed = EndorsedTransaction(
            tx_id=prepared.transaction, channel=self._gateway.channel, envelope=prepared.raw, result=b""
        )
        try:
            await self._gateway.submit(endorsed)
        except FabricError as error:
            raise port_error(error) from error

    async def status(self, prepared: PreparedCall) -> CallStatus:
        """See `ChainPort.status`. A peer that does not answer gives `StatusUnknown`; nothing is ever `Lost`.

        What is included is also read: the next question for events answers with those of this call.
        """
        try:
            await self.index.verify_chain()
            found = await self._gateway.commit_status(prepared.transaction, timeout_s=self._status_seconds)
            if isinstance(found, Committed):
                await self.index.reach(found.block_number)
        except ChainUnavailable as error:
            return StatusUnknown(because=str(error))
        except CommitStatusError as error:
            # The peer waited for a block with it: it may still come, and sending the same bytes again is harmless.
            return NotIncluded() if error.status == _WAITED_IN_VAIN else StatusUnknown(because=str(error))
        if isinstance(found, Committed):
            return Included(height=found.block_number, final=True)
        if found.code is ValidationCode.DUPLICATE_TXID:
            return StatusUnknown(because="the peer tells of the repetition, not of the transaction")
        return Reverted(cause=found.code.name, final=True)


def _only(name: str) -> Callable[[bytes], Any]:
    # Reader of a view that gives one value.
    return lambda answer: decode_view(name, answer)[0]
