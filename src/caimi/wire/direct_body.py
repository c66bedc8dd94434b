"""Bodies of direct calls (spec 60 §7): parts of fixed length, then sealed bytes up to the end. One encoding each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from caimi.types.errors import BadEncoding
from caimi.types.records import DirectRequest, Receipt
from caimi.wire.codec import decode, encode

__all__ = ["CALL_HEAD_BYTES", "REPLY_HEAD_BYTES", "DirectCall", "DirectReply"]

_REQUEST: Final = 7 * 32
_RECEIPT: Final = 11 * 32
_SIGNATURE: Final = 65
_SESSION: Final = 80
_LEAST_SEALED: Final = 48
CALL_HEAD_BYTES: Final = _REQUEST + _SIGNATURE + _SESSION
"""What comes before the sealed input: 369."""
REPLY_HEAD_BYTES: Final = _RECEIPT + _SIGNATURE
"""What comes before the sealed output: 417."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectCall:
    """Body of a call: DirectRequest (ABI, 224) ‖ signature (65) ‖ sealed session (80) ‖ sealed input."""

    request: DirectRequest
    signature: bytes
    """65 bytes, the consumer's."""
    session: bytes
    """80 bytes."""
    sealed_input: bytes
    """At least 48 bytes."""

    def to_bytes(self) -> bytes:
        """The body."""
        return encode(self.request) + self.signature + self.session + self.sealed_input

    @classmethod
    def from_bytes(cls, body: bytes) -> DirectCall:
        """Inverse of `to_bytes`; nothing is verified.

        Raises:
            BadEncoding: Shorter than 417 bytes, or the request is no canonical encoding.
        """
        if len(body) < CALL_HEAD_BYTES + _LEAST_SEALED:
            raise BadEncoding
        signed = _REQUEST + _SIGNATURE
        return cls(
            request=decode(DirectRequest, body[:_REQUEST]),
            signature=body[_REQUEST:signed],
            session=body[signed:CALL_HEAD_BYTES],
            sealed_input=body[CALL_HEAD_BYTES:],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectReply:
    """Body of an answer: Receipt (ABI, 352) ‖ signature (65) ‖ sealed output."""

    receipt: Receipt
    signature: bytes
    """65 bytes, the host's."""
    sealed_output: bytes
    """At least 48 bytes."""

    def to_bytes(self) -> bytes:
        """The body."""
        return encode(self.receipt) + self.signature + self.sealed_output

    @classmethod
    def from_bytes(cls, body: bytes) -> DirectReply:
        """Inverse of `to_bytes`; nothing is verified.

        Raises:
            BadEncoding: Shorter than 465 bytes, or the receipt is no canonical encoding.
        """
        if len(body) < REPLY_HEAD_BYTES + _LEAST_SEALED:
            raise BadEncoding
        return cls(
            receipt=decode(Receipt, body[:_RECEIPT]),
            signature=body[_RECEIPT:REPLY_HEAD_BYTES],
            sealed_output=body[REPLY_HEAD_BYTES:],
        )
