from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caimi.crypto.errors import KeystoreRefused, MalformedKeystore, WrongPassword
from caimi.crypto.keystore import MAX_COST, MIN_COST, decrypt_secret, encrypt_secret
from caimi.types.errors import BadLength, OutOfRange
from caimi.types.primitives import Bytes32

SALT, NONCE, PASSWORD, PURPOSE = Bytes32(b"\x01" * 32), b"\x02" * 12, b"correct horse", b"validator-0/signing"
SECRET = b"\x11" * 32


def _encrypt(secret: bytes = SECRET, *, salt: Bytes32 = SALT, nonce: bytes = NONCE, cost: int = MIN_COST) -> bytes:
    return encrypt_secret(secret, password=PASSWORD, purpose=PURPOSE, salt=salt, nonce=nonce, cost=cost)


BLOB = _encrypt()


def test_round_trips() -> None:
    assert len(BLOB) == len(SECRET) + 70
    assert decrypt_secret(BLOB, password=PASSWORD, purpose=PURPOSE) == SECRET
    assert decrypt_secret(_encrypt(b""), password=PASSWORD, purpose=PURPOSE) == b""


def test_the_secret_is_not_in_it() -> None:
    assert SECRET[:4] not in BLOB


def test_salt_and_nonce_each_change_the_ciphertext() -> None:
    others = (_encrypt(salt=Bytes32(b"\x03" * 32)), _encrypt(nonce=b"\x03" * 12))
    assert len({blob[54:] for blob in (BLOB, *others)}) == 3


@pytest.mark.parametrize(
    ("password", "purpose"),
    [(b"wrong", PURPOSE), (b"", PURPOSE), (PASSWORD, b"validator-1/signing"), (PASSWORD, b"")],
    ids=["password", "no password", "purpose", "no purpose"],
)
def test_rejects_another_password_or_purpose(password: bytes, purpose: bytes) -> None:
    with pytest.raises(WrongPassword):
        decrypt_secret(BLOB, password=password, purpose=purpose)


@pytest.mark.parametrize("place", [10, 41, 42, 53, 54, 85, 86, 101])
def test_rejects_a_changed_byte_of_salt_nonce_or_ciphertext(place: int) -> None:
    mauled = bytearray(BLOB)
    mauled[place] ^= 1
    with pytest.raises(WrongPassword):
        decrypt_secret(bytes(mauled), password=PASSWORD, purpose=PURPOSE)


@pytest.mark.parametrize("place", range(9))
def test_rejects_a_changed_magic_or_version(place: int) -> None:
    mauled = bytearray(BLOB)
    mauled[place] ^= 1
    with pytest.raises(MalformedKeystore):
        decrypt_secret(bytes(mauled), password=PASSWORD, purpose=PURPOSE)


@pytest.mark.parametrize("cost", [0, MIN_COST - 1, MAX_COST + 1, 255])
def test_rejects_a_cost_outside_its_bounds_before_it_is_spent(cost: int) -> None:
    with pytest.raises(MalformedKeystore):
        decrypt_secret(BLOB[:9] + bytes([cost]) + BLOB[10:], password=PASSWORD, purpose=PURPOSE)
    with pytest.raises(OutOfRange):
        _encrypt(cost=cost)


@pytest.mark.parametrize("length", [0, 8, 10, 54, 69])
def test_rejects_cut_bytes(length: int) -> None:
    with pytest.raises(MalformedKeystore):
        decrypt_secret(BLOB[:length], password=PASSWORD, purpose=PURPOSE)


def test_rejects_a_secret_above_1_mib() -> None:
    with pytest.raises(BadLength):
        _encrypt(bytes((1 << 20) + 1))
    with pytest.raises(MalformedKeystore):
        decrypt_secret(BLOB[:54] + bytes((1 << 20) + 17), password=PASSWORD, purpose=PURPOSE)


def test_rejects_salt_and_nonce_of_another_length() -> None:
    with pytest.raises(BadLength):
        _encrypt(salt=Bytes32(b"short"))
    with pytest.raises(BadLength):
        _encrypt(nonce=b"\x02" * 16)


@given(st.binary(max_size=120))
def test_arbitrary_bytes_raise_only_typed_errors(data: bytes) -> None:
    with suppress(KeystoreRefused):
        decrypt_secret(data, password=PASSWORD, purpose=PURPOSE)
        pytest.fail("arbitrary bytes were accepted")
