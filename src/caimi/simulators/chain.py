"""`ChainPort` over a simulated ledger, through a node that can be down, behind or of another chain."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

from caimi.ports.call_errors import CallRejected, CallTooLarge
from caimi.ports.chain import (
    BatchView,
    BrakesView,
    CallStatus,
    ChainUnavailable,
    FinalEvent,
    Head,
    Included,
    Lost,
    NotIncluded,
    PreparedCall,
    PublicationView,
    Reverted,
    StatusUnknown,
    ValidatorSetView,
)
from caimi.protocol.calls import after_call
from caimi.protocol.publication import Role, State
from caimi.protocol.registry_state import GovernedLane, RegistryState
from caimi.protocol.taking_out import state_in
from caimi.simulators.ledger import SimulatedBlock, SimulatedLedger, SimulatedTransaction, Slots
from caimi.types.errors import OutOfRange, WrongChain
from caimi.types.primitives import ZERO32, Address, Bytes32, Generation, PublicationId, Sequence
from caimi.types.records import BatchProof, Item, Lane
from caimi.wire.keccak import keccak256

__all__ = ["SimulatedChain", "SimulatedNode"]


@dataclass(slots=True, kw_only=True)
class SimulatedNode:
    """One node of a ledger, with its faults."""

    ledger: SimulatedLedger
    is_up: bool = True
    behind: int = 0
    """Newest blocks that it has not seen yet."""
    is_lying: bool = False
    """It tells events of other subjects than there are."""
    names_chain: Bytes32 | None = None
    """What it says its chain is; None for the truth."""

    def block(self, height: int) -> SimulatedBlock | None:
        """The block at `height`, None above what it has seen."""
        return self.ledger.blocks[height] if 0 <= height <= self.tip.height else None

    @property
    def tip(self) -> SimulatedBlock:
        """The latest block that it has seen."""
        return self.ledger.blocks[max(0, len(self.ledger.blocks) - 1 - self.behind)]

    @property
    def final(self) -> SimulatedBlock:
        """The highest block that is final by what it has seen."""
        return self.ledger.blocks[max(0, self.tip.height - self.ledger.depth)]


class SimulatedChain:
    """Reads a registry and sends calls to it, from one account."""

    def __init__(self, node: SimulatedNode, *, sender: Address, entropy: Callable[[int], bytes]) -> None:
        """Use `node` as `sender`.

        Arguments:
            entropy: gives fresh bytes, which tell transactions apart where a sender's are not numbered.
        """
        self._node = node
        self._sender = sender
        self._entropy = entropy
        self._lane = node.ledger.lane

    @property
    def lane(self) -> Lane:
        """The lane this port reads."""
        return self._lane

    async def head(self) -> Head:
        """See `ChainReader.head`."""
        node = self._asked()
        return Head(
            height=node.tip.height,
            final_height=node.final.height,
            final_hash=node.final.hash,
            # Where transactions bring their own time, it is that of a call sent now.
            time=node.tip.time if node.ledger.slots is Slots.NUMBERED else node.ledger.time(),
        )

    async def events(self, first: Sequence, limit: int) -> tuple[FinalEvent, ...]:
        """See `ChainReader.events`."""
        if first < 1:
            raise OutOfRange(64, first)
        node = self._asked()
        return tuple(
            FinalEvent(
                item=_lie(event.item) if node.is_lying else event.item,
                height=block.height,
                block_hash=block.hash,
                transaction="0x" + event.transaction.hex(),
                time=block.time,
            )
            for event, block in node.ledger.events(first, limit, upto=node.final)
        )

    async def block_hash(self, height: int) -> Bytes32 | None:
        """See `ChainReader.block_hash`."""
        block = self._asked().block(height)
        return None if block is None else block.hash

    async def publication(self, identifier: PublicationId) -> PublicationView | None:
        """See `ChainReader.publication`."""
        record = self._state().publications.get(identifier)
        if record is None:
            return None
        return PublicationView(
            role=record.role,
            state=record.state,
            publisher=record.publisher,
            name=record.name,
            version=record.version,
            home=record.home,
            mirrors=record.mirrors,
            deposit=record.deposit,
            deadline=record.deadline,
            awaited=record.awaited,
            reason=record.reason,
        )

    async def batch(self, home: Lane, root: Bytes32) -> BatchView | None:
        """See `ChainReader.batch`."""
        record = self._state().batches.get((home, root))
        if record is None:
            return None
        return BatchView(
            role=record.role,
            state=record.state,
            count=record.count,
            taken=record.taken,
            earliest=record.earliest,
            latest=record.latest,
            deposits=record.deposits,
            awaited=record.awaited,
            reason=record.reason,
        )

    async def batch_ids(self, root: Bytes32) -> tuple[PublicationId, ...] | None:
        """See `ChainReader.batch_ids`."""
        return self._asked().final.registry.state.batch_ids.get(root)

    async def state_in(self, identifier: PublicationId, proof: BatchProof) -> tuple[Role, State]:
        """See `ChainReader.state_in`."""
        return state_in(self._state(), identifier, proof)

    async def balance(self, account: Address) -> int:
        """See `ChainReader.balance`."""
        return self._state().balances.get(account, 0)

    async def tokens(self, account: Address) -> int:
        """See `ChainReader.tokens`."""
        return self._state().tokens.get(account, 0)

    async def receipt_of(self, request: Bytes32) -> Bytes32 | None:
        """See `ChainReader.receipt_of`."""
        state = self._state()
        record = state.requests.get(request)
        if record is not None and record.receipt_hash != ZERO32:
            return record.receipt_hash
        return state.carried_receipts.get(request)

    async def is_marked(self, source: Lane, generation: Generation, sequence: Sequence) -> bool:
        """See `ChainReader.is_marked`."""
        return (source, generation, sequence) in self._state().marks

    async def validator_set(self) -> ValidatorSetView:
        """See `ChainReader.validator_set`."""
        present = self._state().epochs.present
        validators = present.validators
        return ValidatorSetView(epoch=present.epoch, f=validators.f, t=validators.t, validators=validators.validators)

    async def brakes(self) -> BrakesView:
        """See `ChainReader.brakes`."""
        state = self._state()
        limits = state.config.limits
        return BrakesView(
            paused=state.brakes.paused,
            counter=state.brakes.counter,
            since=state.brakes.since,
            resume_delay=limits.resume_delay,
            withdrawal_cap=limits.withdrawal_cap,
            withdrawn=state.withdrawn.get(state.epoch, 0),
        )

    async def root(self) -> Lane:
        """See `ChainReader.root`."""
        return self._state().root()

    async def governed(self, lane: Lane) -> GovernedLane:
        """See `ChainReader.governed`."""
        return self._state().governance_of(lane)

    async def next_slot(self) -> int | None:
        """See `ChainPort.next_slot`."""
        node = self._asked()
        return node.tip.slots.get(self._sender, 0) if node.ledger.slots is Slots.NUMBERED else None

    async def prepare(self, call: bytes, *, slot: int | None) -> PreparedCall:
        """See `ChainPort.prepare`."""
        node = self._asked()
        if len(call) > node.ledger.room:
            raise CallTooLarge(f"{len(call)} bytes, there is room for {node.ledger.room}")
        after_call(node.tip.registry, call, now=node.ledger.time())
        number: int | None = None
        salt = b""
        if node.ledger.slots is Slots.NUMBERED:
            number = node.tip.slots.get(self._sender, 0) if slot is None else slot
        else:
            salt = self._entropy(24)
        place = b"" if number is None else number.to_bytes(8, "big")
        raw = len(salt + place).to_bytes(1, "big") + salt + place + call
        return self._prepared(raw, number)

    async def reprice(self, prepared: PreparedCall) -> PreparedCall:
        """See `ChainPort.reprice`: other bytes for the same; there are no prices here."""
        self._numbered()
        raw = (prepared.raw[0] + 1).to_bytes(1, "big") + b"\1" + prepared.raw[1:]
        return self._prepared(raw, prepared.slot)

    async def fill(self, slot: int) -> PreparedCall:
        """See `ChainPort.fill`."""
        self._numbered()
        return self._prepared(b"\x08" + slot.to_bytes(8, "big"), slot)

    def _numbered(self) -> None:
        if self._asked().ledger.slots is not Slots.NUMBERED:
            raise CallRejected("transactions of this ledger are not numbered")

    def _prepared(self, raw: bytes, slot: int | None) -> PreparedCall:
        return PreparedCall(transaction="0x" + keccak256(self._sender + raw).hex(), raw=raw, slot=slot)

    async def send(self, prepared: PreparedCall) -> None:
        """See `ChainPort.send`."""
        node = self._asked()
        if prepared.slot is not None and prepared.slot < node.tip.slots.get(self._sender, 0):
            # Too late, or included already: `status` tells which.
            return
        node.ledger.submit(
            SimulatedTransaction(
                id=_identifier(prepared),
                sender=self._sender,
                slot=prepared.slot,
                call=prepared.raw[1 + prepared.raw[0] :],
            )
        )

    async def status(self, prepared: PreparedCall) -> CallStatus:
        """See `ChainPort.status`. A node that does not answer gives `StatusUnknown`."""
        try:
            node = self._asked()
        except ChainUnavailable as error:
            return StatusUnknown(because=str(error))
        outcome = node.ledger.outcome(_identifier(prepared))
        if outcome is not None and outcome.height <= node.tip.height:
            final = outcome.height <= node.final.height
            if outcome.refusal is None:
                return Included(height=outcome.height, final=final)
            return Reverted(cause=str(outcome.refusal), final=final)
        if prepared.slot is not None and node.final.slots.get(self._sender, 0) > prepared.slot:
            return Lost()
        return NotIncluded()

    def _asked(self) -> SimulatedNode:
        node = self._node
        if not node.is_up:
            raise ChainUnavailable("the simulated node is down")
        if node.names_chain not in (None, self._lane.chain):
            raise WrongChain(self._lane.chain, node.names_chain)
        return node

    def _state(self) -> RegistryState:
        return self._asked().tip.registry.state


def _lie(item: Item) -> Item:
    return dataclasses.replace(item, event=dataclasses.replace(item.event, subject=keccak256(item.event.subject)))


def _identifier(prepared: PreparedCall) -> Bytes32:
    return Bytes32(bytes.fromhex(prepared.transaction[2:]))
