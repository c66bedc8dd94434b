"""Batches of publications (spec 37): handed over together, read by proof, and taken out when one is used."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from caimi.ports.tracing import working_on
from caimi.protocol.batches import MAX_BATCH, batch_root
from caimi.protocol.publication import State
from caimi.sdk.connections import Connections
from caimi.sdk.errors import ServiceAnswer, TakesTooLong, UnknownName
from caimi.sdk.json_fields import Fields, hex_text
from caimi.sdk.publishing import SignedPublication
from caimi.types.errors import BatchTooLong, EmptyBatch, LowBalance, UnknownBatch
from caimi.types.primitives import Address, Bytes32, PublicationId
from caimi.types.records import BatchProof
from caimi.wire.codec import encode_values
from caimi.wire.functions import FUNCTIONS

__all__ = [
    "BatchEntry",
    "PublishedBatch",
    "check_batch",
    "check_deposits",
    "ensure_record",
    "post_batch",
    "proof_of",
    "state_of",
    "take_out",
]

_POLL_S: Final = 0.3
_TAKE_OUT_S: Final = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchEntry:
    """One model of a batch."""

    path: Path
    """An ONNX file, or a folder with exactly one."""
    name: str
    version: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedBatch:
    """A batch that the relay has accepted."""

    root: Bytes32
    """Names the batch at its home; `Client.trace` and `wait_settled` take it."""
    signed: tuple[SignedPublication, ...]
    unknown_mirrors: tuple[str, ...]
    """Mirrors that the relay does not serve: unless another one does, home does not commit it."""
    drafts: tuple[str, ...]
    """Under which the drafts are kept; to be dropped when it is settled."""

    @property
    def ids(self) -> tuple[PublicationId, ...]:
        """By index."""
        return tuple(one.id for one in self.signed)


async def check_batch(connections: Connections, home: str, count: int) -> None:
    """Refuse a number of publications that home's lane cannot lock at once.

    Raises:
        EmptyBatch, BatchTooLong: So it is.
        ServiceUnavailable, ServiceAnswer: Of the relay.
    """
    if count == 0:
        raise EmptyBatch
    status = await connections.relay.get("/v1/status")
    limit = next((lane.number("batch_items") for lane in status.objects("lanes") if lane.text("name") == home), 0)
    if count > min(limit or MAX_BATCH, MAX_BATCH):
        raise BatchTooLong(min(limit or MAX_BATCH, MAX_BATCH), count)


async def check_deposits(
    connections: Connections, home: str, publisher: Address, signed: Sequence[SignedPublication]
) -> None:
    """Refuse a batch that its publisher cannot pay.

    Raises:
        LowBalance: The balance holds one deposit, but not all of them.
        ChainError: Of home's ledger.
    """
    reader = connections.reader(home)
    if await reader.batch(reader.lane, batch_root(tuple(one.id for one in signed))) is not None:
        # Locked before: an interrupted publication is taken up again.
        return
    has, deposits = await reader.balance(publisher), sum(one.publication.deposit for one in signed)
    if has < deposits:
        raise LowBalance(deposits, has)


async def post_batch(connections: Connections, signed: Sequence[SignedPublication]) -> tuple[str, ...]:
    """Hand publications to the relay, which locks them as one batch; repeating is harmless.

    Returns:
        Mirrors that the relay does not serve, by name or identifiers.
    Raises:
        Refusal, ServiceUnavailable: Of the relay; `BatchItem` names the one that is to blame by its index.
    """
    publications, signatures = tuple(s.publication for s in signed), tuple(s.signature for s in signed)
    root = batch_root(tuple(s.id for s in signed))
    body = {
        "batch": hex_text(encode_values(FUNCTIONS["lockBatch"], (publications, signatures))),
        "capsules": hex_text(b"".join(s.capsule.to_bytes() for s in signed)),
    }
    with working_on(root):
        answer = await connections.relay.post("/v1/batches", body)
    return answer.texts("unknown_mirrors")


def proof_of(connections: Connections, row: Fields) -> BatchProof | None:
    """Where the relay says that a publication is in its batch, None if in none.

    Raises:
        ServiceAnswer: It is malformed.
    """
    batch = row.optional("batch", row.object)
    if batch is None:
        return None
    siblings: list[Bytes32] = []
    for text in batch.texts("siblings"):
        try:
            sibling = bytes.fromhex(text.removeprefix("0x"))
        except ValueError:
            sibling = b""
        if len(sibling) != 32:
            raise ServiceAnswer("siblings: a member is no 32 bytes of hexadecimal digits")
        siblings.append(Bytes32(sibling))
    return BatchProof(
        home=connections.network.lane(row.text("home")).lane,
        root=batch.bytes32("root"),
        index=batch.number("index", bits=16),
        siblings=tuple(siblings),
    )


async def state_of(connections: Connections, identifier: PublicationId, proof: BatchProof | None, lane: str) -> State:
    """A publication's state on a lane, by its own record or by its batch.

    Raises:
        ChainError: Of the ledger.
        WrongRoot, …: The proof that the relay gave is none.
    """
    reader = connections.reader(lane)
    view = await reader.publication(identifier)
    if view is not None and (proof is None or view.state is not State.LOCKED):
        return view.state
    if proof is None:
        return State.NONE
    try:
        return (await reader.state_in(identifier, proof))[1]
    except UnknownBatch:
        return State.NONE


async def ensure_record(connections: Connections, identifier: PublicationId, progress: Callable[[str], None]) -> None:
    """Have a publication of a batch get its own record at home, by which validators release its key (spec 37 §4).

    Does nothing for a publication that is in no batch, or that the relay does not know.

    Raises:
        As `take_out`.
    """
    try:
        row = await connections.relay.get(f"/v1/publications/{hex_text(identifier)}")
    except UnknownName:
        return
    home = row.text("home")
    if proof_of(connections, row) is None or await connections.reader(home).publication(identifier) is not None:
        return
    await take_out(connections, identifier, (home,), progress)


async def take_out(
    connections: Connections, identifier: PublicationId, lanes: Sequence[str], progress: Callable[[str], None]
) -> None:
    """Have a publication get its own record on `lanes`, and wait until it has it.

    Raises:
        TakesTooLong: Not within two minutes.
        Refusal, ServiceUnavailable, ChainError: Of the relay or a ledger.
    """
    until = time.monotonic() + _TAKE_OUT_S
    await connections.relay.post(f"/v1/publications/{hex_text(identifier)}/take-out", {})
    progress(f"has it taken out of its batch on {' and '.join(lanes)}")
    while True:
        views = [await connections.reader(lane).publication(identifier) for lane in lanes]
        if all(view is not None and view.state is not State.LOCKED for view in views):
            return
        if time.monotonic() > until:
            raise TakesTooLong(f"{_TAKE_OUT_S:.0f} s for taking the publication out of its batch")
        await asyncio.sleep(_POLL_S)
