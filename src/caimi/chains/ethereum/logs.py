"""The registry's logs: `Emitted` and the checks that make it an event (spec 30 §6), `BatchIds` (spec 37 §6)."""

from __future__ import annotations

from collections.abc import Sequence as Listing
from dataclasses import dataclass
from typing import Any, Final

from caimi.chains.ethereum.errors import EventGap, MalformedAnswer
from caimi.chains.ethereum.fields import as_address, as_data, as_hash, as_list, as_object, as_quantity
from caimi.protocol.batches import MAX_BATCH, batch_root
from caimi.types.errors import BadEncoding
from caimi.types.primitives import Address, Bytes32, PublicationId, Sequence
from caimi.types.records import Event, Item
from caimi.wire.codec import decode_values
from caimi.wire.functions import batch_ids_topic, event_topic

__all__ = ["MAX_LOGS", "RegistryLog", "check_contiguous", "read_batch_ids", "read_logs"]

MAX_LOGS: Final = 65_536
"""Logs in one answer."""
_DATA_LIMIT: Final = 16_384
_BODY_LIMIT: Final = 1_024


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryLog:
    """One sequenced event with its place on the chain."""

    item: Item
    height: int
    block_hash: Bytes32
    transaction: Bytes32


def read_logs(answer: object, contract: Address, *, first_block: int, last_block: int) -> list[RegistryLog]:
    """Read the answer of `eth_getLogs` for the registry's events of a range of blocks.

    Raises:
        MalformedAnswer: Another contract's log, another event, a removed log, a block out of the range, or bytes that
            are not the canonical encoding of an event.
        EventGap: The logs are not in ascending order without holes.
    """
    logs = [_read_log(entry, contract) for entry in as_list(answer, "the logs", limit=MAX_LOGS)]
    for log in logs:
        if not first_block <= log.height <= last_block:
            raise MalformedAnswer(f"a log of block {log.height} for the range {first_block} to {last_block}")
    if logs:
        check_contiguous(logs, logs[0].item.sequence)
    return logs


def read_batch_ids(answer: object, contract: Address, root: Bytes32) -> tuple[PublicationId, ...]:
    """Read the answer of `eth_getLogs` for the ids of one batch in the block that locked it.

    Raises:
        EventGap: There is no such log.
        MalformedAnswer: More than one, another contract's, of another batch, a removed log, or ids that do not make the
            root.
    """
    logs = as_list(answer, "the logs of a batch", limit=1)
    if not logs:
        raise EventGap(f"no list of ids beside the event of batch 0x{root.hex()}")
    _, topics, data = _parts(logs[0], contract)
    if topics != [batch_ids_topic(), root]:
        raise MalformedAnswer(f"a log that is no list of the ids of batch 0x{root.hex()}")
    try:
        (found,) = decode_values(("bytes32[]",), data, limit=_DATA_LIMIT)
    except BadEncoding as error:
        raise MalformedAnswer(f"the ids of batch 0x{root.hex()} are not encoded canonically") from error
    identifiers = tuple(PublicationId(Bytes32(i)) for i in found)
    # The root binds them: nothing else about the log has to be believed.
    if not 1 <= len(identifiers) <= MAX_BATCH or batch_root(identifiers) != root:
        raise MalformedAnswer(f"other ids than those of batch 0x{root.hex()}")
    return identifiers


def check_contiguous(logs: Listing[RegistryLog], first: int) -> None:
    """Check that the logs are numbered `first`, `first`+1, ... in ascending blocks.

    Raises:
        EventGap: They are not.
    """
    height = 0
    for place, log in enumerate(logs):
        if log.item.sequence != first + place or log.height < height:
            raise EventGap(f"event {log.item.sequence} in block {log.height} where event {first + place} was due")
        height = log.height


def _read_log(entry: object, contract: Address) -> RegistryLog:
    log, topics, data = _parts(entry, contract)
    if len(topics) != 4 or topics[0] != event_topic():
        raise MalformedAnswer("a log that is no event of a registry")
    return RegistryLog(
        item=_item(topics, data),
        height=as_quantity(log.get("blockNumber"), "a log's block number"),
        block_hash=as_hash(log.get("blockHash"), "a log's block hash"),
        transaction=as_hash(log.get("transactionHash"), "a log's transaction"),
    )


def _parts(entry: object, contract: Address) -> tuple[dict[str, Any], list[Bytes32], bytes]:
    log = as_object(entry, "a log")
    if log.get("removed", False) is not False:
        raise MalformedAnswer("a removed log among final ones")
    if as_address(log.get("address"), "a log's address") != contract:
        raise MalformedAnswer("a log of another contract")
    topics = [as_hash(topic, "a topic") for topic in as_list(log.get("topics"), "the topics", limit=4)]
    return log, topics, as_data(log.get("data"), "a log's data", limit=_DATA_LIMIT)


def _item(topics: list[Bytes32], data: bytes) -> Item:
    sequence, kind = int.from_bytes(topics[1], "big"), int.from_bytes(topics[2], "big")
    if not 1 <= sequence < 1 << 64 or kind >> 16:
        raise MalformedAnswer("an event's number or kind is out of range")
    try:
        values: tuple[Any, ...] = decode_values(("uint16", "Lane[]", "bytes"), data, limit=_DATA_LIMIT)
    except BadEncoding as error:
        raise MalformedAnswer(f"event {sequence} is not encoded canonically") from error
    schema, destinations, body = values
    if len(body) > _BODY_LIMIT:
        raise MalformedAnswer(f"event {sequence} has a body of {len(body)} bytes")
    event = Event(schema=schema, kind=kind, destinations=destinations, subject=topics[3], body=body)
    return Item(sequence=Sequence(sequence), event=event)
