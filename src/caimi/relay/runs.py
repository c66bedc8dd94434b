"""Certified runs as calls: making one, and halving one that no transaction can hold."""

from __future__ import annotations

from caimi.ports.relay_store import AddCall, CallRow, CallState, Change, Purpose, PutCall, RelayStore
from caimi.relay.calls import carried_run, changed, new_call, subjects_of
from caimi.types.primitives import Bytes32, UnixSeconds
from caimi.types.records import Certificate, Checkpoint, Item, Lane
from caimi.wire.digests import leaf_hash
from caimi.wire.functions import encode_call
from caimi.wire.merkle import merkle_multiproof

__all__ = ["apply_run_call", "halves", "run_row", "stored_run"]


def apply_run_call(certificate: Certificate, run: tuple[Item, ...], chosen: tuple[Item, ...]) -> bytes:
    """The call that applies `chosen`, some items of the certified `run`."""
    checkpoint = certificate.checkpoint
    leaves = [leaf_hash(checkpoint.source, item) for item in run]
    proof = merkle_multiproof(leaves, [item.sequence - checkpoint.first_sequence for item in chosen])
    return encode_call("applyRun", certificate, chosen, proof)


def run_row(key: str, destination: Lane, call: bytes, chosen: tuple[Item, ...], now: UnixSeconds) -> CallRow:
    """The outbox row of such a call."""
    subjects: set[Bytes32] = {subject for item in chosen for subject in subjects_of(item.event)}
    return new_call(key, destination, call, purpose=Purpose.CARRY, subjects=tuple(subjects), now=now)


def stored_run(store: RelayStore, checkpoint: Checkpoint) -> tuple[Item, ...] | None:
    """All events of a checkpoint's range, None if some are not stored (any more)."""
    first, last = checkpoint.first_sequence, checkpoint.last_sequence
    events = store.followed(checkpoint.source, first, last - first + 1)
    return tuple(event.item for event in events) if len(events) == last - first + 1 else None


def halves(store: RelayStore, row: CallRow, now: UnixSeconds) -> list[Change]:
    """Replace a run by its two halves under the same certificate; none if it cannot be halved."""
    certificate, items, _ = carried_run(row)
    run = stored_run(store, certificate.checkpoint)
    if len(items) < 2 or run is None:
        return []
    middle = len(items) // 2
    changes: list[Change] = [PutCall(row=changed(row, CallState.SPLIT, now))]
    for half in (items[:middle], items[middle:]):
        key = f"{row.key}/{half[0].sequence}-{half[-1].sequence}"
        call = apply_run_call(certificate, run, half)
        changes.append(AddCall(row=run_row(key, row.lane, call, half, now)))
    return changes
