"""Sessions of direct calls: each message opens in one place only, and no key is used for two plaintexts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from caimi.crypto import direct_seal
from caimi.crypto.direct_seal import (
    DIRECT_OVERHEAD,
    SESSION_BYTES,
    DirectSession,
    begin_session,
    open_direct_input,
    open_direct_output,
    open_session,
    seal_direct_input,
    seal_direct_output,
    session_id,
)
from caimi.crypto.errors import BadSealingKey, SealNotOpened
from caimi.crypto.inference_seal import Salted, output_commitment
from caimi.crypto.sealing import SealingKey
from caimi.types.errors import BadLength
from caimi.types.primitives import ZERO32, Bytes32

HOST = SealingKey(b"\x11" * 32)
NETWORK = Bytes32(b"\x22" * 32)
REQUEST = Bytes32(b"\x33" * 32)
SECRET = Bytes32(b"\x44" * 32)
SALTED = Salted(salt=Bytes32(b"\x55" * 32), payload=b"payload")


def test_a_session_opens_at_its_host_and_network_only() -> None:
    session, sealed = begin_session(SECRET, host=HOST.public_key, network=NETWORK)
    assert len(sealed) == SESSION_BYTES
    assert open_session(sealed, key=HOST, network=NETWORK) == session
    assert session.id == session_id(sealed)
    assert SECRET.hex() not in repr(session)
    changed = bytes([sealed[0] ^ 1]) + sealed[1:]
    for key, network, data in (
        (SealingKey(b"\x12" * 32), NETWORK, sealed),
        (HOST, ZERO32, sealed),
        (HOST, NETWORK, changed),
    ):
        with pytest.raises(SealNotOpened):
            open_session(data, key=key, network=network)
    for short in (b"", sealed[:-1], sealed + b"\0"):
        with pytest.raises(BadLength):
            open_session(short, key=HOST, network=NETWORK)
    with pytest.raises(BadSealingKey):
        begin_session(SECRET, host=ZERO32, network=NETWORK)
    with pytest.raises(BadLength):
        begin_session(Bytes32(b"short"), host=HOST.public_key, network=NETWORK)


def _session(secret: bytes = SECRET) -> DirectSession:
    return DirectSession(id=ZERO32, secret=Bytes32(secret))


def test_a_message_opens_for_its_request_and_side_only() -> None:
    session, other = _session(), _session(b"\x45" * 32)
    given = seal_direct_input(SALTED, session=session, request=REQUEST)
    assert len(given) == len(SALTED.payload) + DIRECT_OVERHEAD
    assert open_direct_input(given, session=session, request=REQUEST) == SALTED
    commitment = output_commitment(SALTED)
    got = seal_direct_output(SALTED, session=session, request=REQUEST)
    assert open_direct_output(got, session=session, request=REQUEST, commitment=commitment) == SALTED
    opens: list[Callable[[], Any]] = [
        lambda: open_direct_input(given, session=session, request=ZERO32),
        lambda: open_direct_input(given, session=other, request=REQUEST),
        lambda: open_direct_input(given[:-1], session=session, request=REQUEST),
        lambda: open_direct_input(b"", session=session, request=REQUEST),
        lambda: open_direct_input(got, session=session, request=REQUEST),
        lambda: open_direct_output(given, session=session, request=REQUEST, commitment=commitment),
        lambda: open_direct_output(got, session=session, request=ZERO32, commitment=commitment),
        lambda: open_direct_output(got, session=other, request=REQUEST, commitment=commitment),
        lambda: open_direct_output(got, session=session, request=REQUEST, commitment=ZERO32),
    ]
    for open_it in opens:
        with pytest.raises(SealNotOpened):
            open_it()


def test_two_outputs_of_one_request_never_share_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    keys: list[bytes] = []

    def recorded(key: bytes) -> AESGCM:
        keys.append(key)
        return AESGCM(key)

    monkeypatch.setattr(direct_seal, "AESGCM", recorded)
    # Computed again after a failure, with another salt: were the key the same, its nonce would be used twice.
    again = Salted(salt=Bytes32(b"\x56" * 32), payload=SALTED.payload)
    for salted in (SALTED, again):
        seal_direct_output(salted, session=_session(), request=REQUEST)
        seal_direct_input(salted, session=_session(), request=REQUEST)
    seal_direct_input(SALTED, session=_session(), request=ZERO32)
    assert len(set(keys)) == 4  # the input's key follows from the request, which commits to salt and payload
    assert keys[1] == keys[3]


def test_rejects_what_is_shorter_than_a_salt() -> None:
    short = Salted(salt=Bytes32(b"short"), payload=b"")
    sealed = seal_direct_input(short, session=_session(), request=REQUEST)
    with pytest.raises(BadLength):
        open_direct_input(sealed, session=_session(), request=REQUEST)
