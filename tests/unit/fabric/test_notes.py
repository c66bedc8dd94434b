"""The JSON of a transaction's event: what is read, and what no chaincode writes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from caimi.chains.fabric.notes import read_notes
from caimi.chains.fabric.port_errors import BrokenLedger
from caimi.types.primitives import bytes32
from tests.unit.fabric.event_json import batch_of, event_of, payload_of


def test_notes_of_the_other_lists_are_passed_over() -> None:
    more: dict[str, Any] = {
        "applied": [{"chain": "0x", "registry": "0x", "sequence": 1, "disposition": 1, "code": 0}],
        "partials": [{"lease": "0x", "index": 1}],
    }
    notes = read_notes(payload_of(event_of(2), **more))
    assert (notes.events, notes.leases, notes.batches) == ((event_of(2),), (), ())


def _altered(**changes: Any) -> bytes:
    note = json.loads(payload_of(event_of(2)))["events"][0]
    return json.dumps({"events": [note | changes]}).encode()


_WORD = "0x" + "ab" * 32

_MALFORMED: dict[str, bytes] = {
    "empty": b"",
    "no text": b"\xff",
    "no object": b"[]",
    "nothing": b"{}",
    "unknown list": b'{"evnets": []}',
    "repeated list": b'{"events": [], "events": []}',
    "deep": b"[" * 5_000,
    "events as object": b'{"events": {}}',
    "event as list": b'{"events": [[]]}',
    "event with a field more": _altered(more=1),
    "event with a field less": b'{"events": [{"schema": 1}]}',
    "schema as text": _altered(schema="1"),
    "schema as truth": _altered(schema=True),
    "schema too large": _altered(schema=1 << 16),
    "negative kind": _altered(kind=-1),
    "kind with a fraction": _altered(kind=1.0),
    "subject too short": _altered(subject=_WORD[:-2]),
    "subject without prefix": _altered(subject=_WORD[2:]),
    "subject in capitals": _altered(subject="0x" + "AB" * 32),
    "odd body": _altered(body="0x1"),
    "long body": _altered(body="0x" + "00" * 1_025),
    "body as list": _altered(body=[]),
    "destination of one": _altered(destinations=[[_WORD]]),
    "destination of three": _altered(destinations=[[_WORD] * 3]),
    "destination as text": _altered(destinations=[_WORD]),
    "too many destinations": _altered(destinations=[[_WORD] * 2] * 65),
    "lease as number": b'{"leases": [1]}',
    "batch as list": b'{"batches": [[]]}',
    "batch without root": b'{"batches": [{"ids": ["%s"]}]}' % _WORD.encode(),
    "batch with a field more": json.dumps({"batches": [batch_of(1) | {"count": 1}]}).encode(),
    "batch without ids": json.dumps({"batches": [batch_of(1) | {"ids": []}]}).encode(),
    "batch with a short id": json.dumps({"batches": [batch_of(1) | {"ids": [_WORD, "0x12"]}]}).encode(),
    "batch with a short root": json.dumps({"batches": [batch_of(1) | {"root": _WORD[:-2]}]}).encode(),
    "batch too long": json.dumps({"batches": [batch_of(1) | {"ids": [_WORD] * 257}]}).encode(),
    "too many batches": json.dumps({"batches": [batch_of(1)] * 1_001}).encode(),
    "short lease": b'{"leases": ["0x12"]}',
    "post as list": b'{"posts": [[]]}',
    "post without index": b'{"posts": [{"epoch": 1, "phase": 1}]}',
    "post with a field more": b'{"posts": [{"epoch": 1, "phase": 1, "index": 1, "body": "0x"}]}',
    "post of a long phase": b'{"posts": [{"epoch": 1, "phase": 256, "index": 1}]}',
    "post of a long epoch": b'{"posts": [{"epoch": 18446744073709551616, "phase": 1, "index": 1}]}',
    "post of a negative index": b'{"posts": [{"epoch": 1, "phase": 1, "index": -1}]}',
    "too many posts": json.dumps({"posts": [{"epoch": 1, "phase": 1, "index": 1}] * 1_001}).encode(),
}


@pytest.mark.parametrize("payload", _MALFORMED.values(), ids=_MALFORMED)
def test_rejects_malformed_events(payload: bytes) -> None:
    with pytest.raises(BrokenLedger):
        read_notes(payload)


def test_longest_body_and_most_destinations_are_read() -> None:
    assert len(read_notes(_altered(body="0x" + "00" * 1_024)).events[0].body) == 1_024
    assert len(read_notes(_altered(destinations=[[_WORD] * 2] * 64)).events[0].destinations) == 64
    assert bytes32(bytes.fromhex(_WORD[2:]))


def test_longest_batch_and_most_batches_are_read() -> None:
    longest = {"root": _WORD, "ids": [_WORD] * 256}
    (batch,) = read_notes(json.dumps({"batches": [longest]}).encode()).batches
    assert (batch.root, len(batch.identifiers)) == (bytes.fromhex(_WORD[2:]), 256)
    assert len(read_notes(json.dumps({"batches": [batch_of(1)] * 1_000}).encode()).batches) == 1_000
