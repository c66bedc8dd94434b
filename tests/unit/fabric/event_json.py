"""Events and batches as the chaincode tells them: JSON that depends on numbers only."""

from __future__ import annotations

import json
from typing import Any

from caimi.protocol.batches import batch_root
from caimi.types.primitives import Bytes32, PublicationId
from caimi.types.records import Event, Lane
from caimi.wire.keccak import keccak256

__all__ = ["LANE", "batch_of", "event_of", "hash_of", "ids_of", "payload_of"]

LANE = Lane(chain=keccak256(b"chain"), registry=keccak256(b"registry"))


def hash_of(number: int, branch: int = 0) -> Bytes32:
    """Hash of a block of a branch, or any word."""
    return keccak256(b"block %d of branch %d" % (number, branch))


def event_of(number: int) -> Event:
    """An event that depends on its number only."""
    return Event(schema=1, kind=1, destinations=(LANE,) * (number % 3), subject=hash_of(number), body=bytes(number))


def payload_of(*events: Event, **more: Any) -> bytes:
    """What the chaincode tells in a transaction."""
    notes = [
        {
            "schema": event.schema,
            "kind": event.kind,
            "destinations": [["0x" + d.chain.hex(), "0x" + d.registry.hex()] for d in event.destinations],
            "subject": "0x" + event.subject.hex(),
            "body": "0x" + event.body.hex(),
        }
        for event in events
    ]
    return json.dumps(({"events": notes} if notes else {}) | more).encode()


def batch_of(*numbers: int, root: Bytes32 | None = None) -> dict[str, Any]:
    """A batch as it is logged, whose ids are `hash_of` the numbers."""
    identifiers = ids_of(*numbers)
    named = batch_root(identifiers) if root is None else root
    return {"root": "0x" + named.hex(), "ids": ["0x" + i.hex() for i in identifiers]}


def ids_of(*numbers: int) -> tuple[PublicationId, ...]:
    """The ids that `batch_of` lists."""
    return tuple(PublicationId(hash_of(n)) for n in numbers)
