"""Bodies of direct calls: one encoding each, and nothing else is read."""

from __future__ import annotations

import pytest

from caimi.types.errors import BadEncoding
from caimi.types.primitives import Address, Bytes32, UnixSeconds
from caimi.types.records import DirectRequest, Receipt
from caimi.wire.codec import encode_values
from caimi.wire.direct_body import CALL_HEAD_BYTES, REPLY_HEAD_BYTES, DirectCall, DirectReply


def word(number: int) -> Bytes32:
    return Bytes32(bytes([number]) * 32)


CALL = DirectCall(
    request=DirectRequest(
        publication=word(1),
        consumer=Address(bytes([2]) * 20),
        host=Address(bytes([3]) * 20),
        session=word(4),
        input_commitment=word(5),
        nonce=word(6),
        deadline=UnixSeconds(7),
    ),
    signature=bytes([8]) * 65,
    session=bytes([9]) * 80,
    sealed_input=bytes([10]) * 48,
)
REPLY = DirectReply(
    receipt=Receipt(
        request=word(1),
        publication=word(2),
        grant=word(3),
        lease=word(4),
        quote=word(5),
        model_commitment=word(6),
        input_commitment=word(7),
        output_commitment=word(8),
        price=9,
        heartbeat=word(10),
        time=UnixSeconds(11),
    ),
    signature=bytes([8]) * 65,
    sealed_output=bytes([10]) * 48,
)


def test_bodies_are_what_the_specification_says() -> None:
    body = CALL.to_bytes()
    assert body == encode_values(("DirectRequest",), (CALL.request,)) + CALL.signature + CALL.session + bytes([10]) * 48
    assert len(body) == CALL_HEAD_BYTES + 48 == 369 + 48
    assert DirectCall.from_bytes(body) == CALL
    answer = REPLY.to_bytes()
    assert answer == encode_values(("Receipt",), (REPLY.receipt,)) + REPLY.signature + REPLY.sealed_output
    assert len(answer) == REPLY_HEAD_BYTES + 48 == 417 + 48
    assert DirectReply.from_bytes(answer) == REPLY


def test_rejects_short_and_malformed_bodies() -> None:
    for length in (0, 31, 224, 368, 416):
        with pytest.raises(BadEncoding):
            DirectCall.from_bytes(CALL.to_bytes()[:length])
    for length in (0, 352, 417, 464):
        with pytest.raises(BadEncoding):
            DirectReply.from_bytes(REPLY.to_bytes()[:length])
    # Dirt in the padding of an address, and a deadline of more than 64 bits.
    for place in (32, 64, 192):
        body = bytearray(CALL.to_bytes())
        body[place] = 1
        with pytest.raises(BadEncoding):
            DirectCall.from_bytes(bytes(body))
