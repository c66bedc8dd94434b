"""Sealed inputs and outputs: each opens in one place only."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from caimi.crypto.errors import BadSealingKey, SealNotOpened
from caimi.crypto.inference_seal import (
    INFERENCE_OVERHEAD,
    Salted,
    input_commitment,
    open_input,
    open_output,
    output_commitment,
    seal_input,
    seal_output,
)
from caimi.crypto.sealing import SealingKey, seal
from caimi.types.errors import BadLength
from caimi.types.primitives import ZERO32, Bytes32
from caimi.wire.keccak import Tag

KEY = SealingKey(b"\x11" * 32)
ID = Bytes32(b"\x22" * 32)
SALTED = Salted(salt=Bytes32(b"\x33" * 32), payload=b"payload")


def test_what_is_sealed_opens_for_its_place_only() -> None:
    sealed = seal_input(SALTED, host=KEY.public_key, publication=ID)
    assert len(sealed) == len(SALTED.payload) + INFERENCE_OVERHEAD
    assert open_input(sealed, key=KEY, publication=ID) == SALTED
    opens: list[Callable[[], Salted]] = [
        lambda: open_input(sealed, key=KEY, publication=ZERO32),
        lambda: open_input(sealed, key=SealingKey(b"\x12" * 32), publication=ID),
        lambda: open_input(sealed[:-1], key=KEY, publication=ID),
        lambda: open_input(b"", key=KEY, publication=ID),
        # An input is no output, though the key and the id are the same.
        lambda: open_output(sealed, key=KEY, request=ID),
    ]
    for open_it in opens:
        with pytest.raises(SealNotOpened):
            open_it()
    answer = seal_output(SALTED, client=KEY.public_key, request=ID)
    assert open_output(answer, key=KEY, request=ID) == SALTED
    with pytest.raises(SealNotOpened):
        open_output(answer, key=KEY, request=ZERO32)


def test_rejects_wrong_lengths_and_keys() -> None:
    with pytest.raises(BadLength):
        seal_input(Salted(salt=Bytes32(b"short"), payload=b""), host=KEY.public_key, publication=ID)
    with pytest.raises(BadLength):
        seal_input(SALTED, host=KEY.public_key, publication=Bytes32(b"short"))
    with pytest.raises(BadSealingKey):
        seal_output(SALTED, client=ZERO32, request=ID)
    short = seal(b"less than a salt", recipient=KEY.public_key, info=Tag.INPUT_SEAL.bytes32 + ID)
    with pytest.raises(BadLength):
        open_input(short, key=KEY, publication=ID)


def test_commitments_tell_inputs_outputs_salts_and_payloads_apart() -> None:
    other_salt = Salted(salt=ZERO32, payload=SALTED.payload)
    other_payload = Salted(salt=SALTED.salt, payload=b"other")
    found = {
        commit(one) for commit in (input_commitment, output_commitment) for one in (SALTED, other_salt, other_payload)
    }
    assert len(found) == 6
    assert "payload" not in repr(SALTED).replace("payload=", "")
