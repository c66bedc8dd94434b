"""What the registry says in one block of the channel: events, leases, batches, messages of key ceremonies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from caimi.chains.fabric.blocks import FabricBlock, FabricTransaction
from caimi.chains.fabric.board_posts import posts_of
from caimi.chains.fabric.notes import EVENT_NAME, LoggedBatch, Notes, read_notes
from caimi.chains.fabric.port_errors import BrokenLedger
from caimi.ports.chain import BoardMessage, FinalEvent
from caimi.types.primitives import Bytes32, Epoch, Sequence, UnixSeconds, bytes32
from caimi.types.records import Item

__all__ = ["BlockEvents", "Post", "read_block"]

_NANOSECONDS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """A message of a key ceremony in a block."""

    height: int
    epoch: Epoch
    message: BoardMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockEvents:
    """In the order of the block's transactions."""

    time: UnixSeconds
    """The channel's clock after the block: the latest timestamp of a valid transaction up to it."""
    events: list[FinalEvent]
    leases: list[Bytes32]
    batches: list[LoggedBatch]
    posts: list[Post]


def read_block(block: FabricBlock, chaincode: str, *, known: int = 0, time: int = 0) -> BlockEvents:
    """Read what the registry says in a block.

    Arguments:
        chaincode: name of the registry's chaincode.
        known: number of the last event before the block.
        time: the channel's clock before it, in seconds.

    Raises:
        BrokenLedger: An event is not what the chaincode emits.
    """
    events: list[FinalEvent] = []
    leases: list[Bytes32] = []
    batches: list[LoggedBatch] = []
    posts: list[Post] = []
    for transaction in block.transactions:
        if not transaction.is_valid:
            continue
        time = max(time, _time_of(transaction))
        event = transaction.event
        if event is None or event.chaincode != chaincode:
            continue
        if event.name != EVENT_NAME:
            raise BrokenLedger(f"transaction {transaction.tx_id} has an event named {event.name!r}")
        notes = read_notes(event.payload)
        events += _numbered(notes, known + len(events), block, transaction)
        leases += notes.leases
        batches += notes.batches
        messages = zip(notes.posts, posts_of(transaction, notes.posts), strict=True)
        posts += [Post(height=block.number, epoch=note.epoch, message=said) for note, said in messages]
    return BlockEvents(time=UnixSeconds(time), events=events, leases=leases, batches=batches, posts=posts)


def _numbered(notes: Notes, known: int, block: FabricBlock, transaction: FabricTransaction) -> list[FinalEvent]:
    return [
        FinalEvent(
            item=Item(sequence=Sequence(known + place), event=event),
            height=block.number,
            block_hash=bytes32(block.hash),
            transaction=transaction.tx_id,
            time=_time_of(transaction),
        )
        for place, event in enumerate(notes.events, start=1)
    ]


def _time_of(transaction: FabricTransaction) -> UnixSeconds:
    return UnixSeconds(transaction.timestamp_ns // _NANOSECONDS)
