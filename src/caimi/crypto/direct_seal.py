"""Sealing of direct calls: one session for each consumer and start of a host, one key for each message (spec 60 §7).

HPKE costs more than everything else that a small call needs, so it is used once for a session's secret. From that, each
message gets a key that no other message has: the input's is bound to the request, the output's also to its commitment.
A nonce is therefore never used twice with one key unless the plaintexts are equal, whatever is repeated or restarted.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from caimi.crypto.errors import SealNotOpened
from caimi.crypto.inference_seal import Salted, output_commitment
from caimi.crypto.sealing import SEAL_OVERHEAD, SealingKey, seal
from caimi.types.errors import BadLength
from caimi.types.primitives import Bytes32, bytes32
from caimi.wire.keccak import Tag, tagged_hash

__all__ = [
    "DIRECT_OVERHEAD",
    "SESSION_BYTES",
    "DirectSession",
    "begin_session",
    "open_direct_input",
    "open_direct_output",
    "open_session",
    "seal_direct_input",
    "seal_direct_output",
    "session_id",
]

_SALT: Final = 32
_TAG: Final = 16
_SECRET: Final = 32
# Every key is for one message.
_NONCE: Final = bytes(12)
SESSION_BYTES: Final = _SECRET + SEAL_OVERHEAD
"""Length of a sealed session: 80."""
DIRECT_OVERHEAD: Final = _SALT + _TAG
"""How much longer sealed bytes are than their payload: 48."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectSession:
    """A secret that one consumer and one start of a host share. `repr` does not show it."""

    id: Bytes32
    """tagged_hash(DIRECT_SESSION, sealed): what a `DirectRequest` names."""
    secret: Bytes32 = field(repr=False)


def session_id(sealed: bytes) -> Bytes32:
    """The id of a sealed session.

    Raises:
        BadLength: Not 80 bytes.
    """
    if len(sealed) != SESSION_BYTES:
        raise BadLength(SESSION_BYTES, len(sealed))
    return tagged_hash(Tag.DIRECT_SESSION, sealed)


def begin_session(secret: Bytes32, *, host: Bytes32, network: Bytes32) -> tuple[DirectSession, bytes]:
    """A session with the host whose X25519 key is `host`, and its 80 sealed bytes, which go with every call.

    Arguments:
        secret: 32 fresh random bytes.
    Raises:
        BadLength: `secret` or `network` is not 32 bytes.
        BadSealingKey: `host` is no sealing key.
    """
    sealed = seal(bytes32(secret), recipient=host, info=_info(network))
    return DirectSession(id=session_id(sealed), secret=secret), sealed


def open_session(sealed: bytes, *, key: SealingKey, network: Bytes32) -> DirectSession:
    """Inverse of `begin_session`, at the host.

    Raises:
        BadLength: Not 80 bytes.
        SealNotOpened: Changed, for another key, or of another network.
    """
    identifier = session_id(sealed)
    return DirectSession(id=identifier, secret=bytes32(key.open(sealed, info=_info(network))))


def seal_direct_input(salted: Salted, *, session: DirectSession, request: Bytes32) -> bytes:
    """Seal an input for the request of that digest: 48 bytes more than the payload."""
    return _aead(session, Tag.DIRECT_INPUT, request).encrypt(_NONCE, salted.salt + salted.payload, None)


def open_direct_input(sealed: bytes, *, session: DirectSession, request: Bytes32) -> Salted:
    """Inverse of `seal_direct_input`.

    Raises:
        SealNotOpened: Changed, of another session, or for another request.
        BadLength: What was inside is shorter than a salt.
    """
    return _open(_aead(session, Tag.DIRECT_INPUT, request), sealed)


def seal_direct_output(salted: Salted, *, session: DirectSession, request: Bytes32) -> bytes:
    """Seal an output: 48 bytes more than the payload. Its commitment, which is public, is part of the key."""
    cipher = _aead(session, Tag.DIRECT_OUTPUT, request + output_commitment(salted))
    return cipher.encrypt(_NONCE, salted.salt + salted.payload, None)


def open_direct_output(sealed: bytes, *, session: DirectSession, request: Bytes32, commitment: Bytes32) -> Salted:
    """Inverse of `seal_direct_output`.

    Arguments:
        commitment: the receipt's output commitment.
    Raises:
        SealNotOpened: Changed, of another session, request or output.
        BadLength: What was inside is shorter than a salt.
    """
    return _open(_aead(session, Tag.DIRECT_OUTPUT, request + commitment), sealed)


def _info(network: Bytes32) -> bytes:
    return Tag.DIRECT_SESSION.bytes32 + bytes32(network)


def _aead(session: DirectSession, tag: Tag, context: bytes) -> AESGCM:
    return AESGCM(hmac.digest(session.secret, tag.bytes32 + context, "sha256"))


def _open(cipher: AESGCM, sealed: bytes) -> Salted:
    try:
        opened = cipher.decrypt(_NONCE, sealed, None)
    except (InvalidTag, ValueError) as error:
        raise SealNotOpened from error
    if len(opened) < _SALT:
        raise BadLength(_SALT, len(opened))
    return Salted(salt=Bytes32(opened[:_SALT]), payload=opened[_SALT:])
