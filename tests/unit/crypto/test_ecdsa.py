from __future__ import annotations

import contextlib
import dataclasses
import pickle

import pytest
from eth_account import Account
from eth_keys.datatypes import PrivateKey as EthKey
from hypothesis import given
from hypothesis import strategies as st

from caimi.crypto.ecdsa import HALF_ORDER, EcdsaSignature, SigningKey, address_of, recover, verify_signer
from caimi.crypto.errors import BadPoint, BadSecret
from caimi.crypto.secp256k1 import GROUP
from caimi.types.errors import BadLength, BadSignature, HighS, WrongSigner
from caimi.types.primitives import Address, Bytes32, SignerIndex
from caimi.wire.keccak import keccak256

KEY = SigningKey(b"\x11" * 32)
DIGEST = keccak256(b"digest")


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_agrees_with_eth_account(secret: bytes, digest: bytes) -> None:
    if not 0 < int.from_bytes(secret, "big") < GROUP.order:
        return
    key, account = SigningKey(secret), Account.from_key(secret)
    theirs = account.unsafe_sign_hash(digest)
    ours = key.sign(Bytes32(digest))
    assert key.address == bytes.fromhex(account.address[2:])
    assert ours.to_bytes() == bytes(theirs.signature)
    assert Account._recover_hash(digest, signature=ours.to_bytes()) == account.address
    assert recover(Bytes32(digest), bytes(theirs.signature)) == key.address


def test_public_key_and_address_of_it() -> None:
    assert KEY.public_key == EthKey(b"\x11" * 32).public_key.to_compressed_bytes()
    assert address_of(KEY.public_key) == KEY.address


def test_signature_round_trips_through_bytes_and_record() -> None:
    signature = KEY.sign(DIGEST)
    assert EcdsaSignature.from_bytes(signature.to_bytes()) == signature
    record = signature.as_record(SignerIndex(3))
    assert (record.signer, EcdsaSignature.from_record(record)) == (3, signature)
    verify_signer(DIGEST, signature, KEY.address)


def test_signing_is_low_s() -> None:
    assert all(int.from_bytes(KEY.sign(keccak256(bytes([i]))).s, "big") <= HALF_ORDER for i in range(64))


@pytest.mark.parametrize("length", [0, 64, 66, 130])
def test_rejects_signature_of_another_length(length: int) -> None:
    with pytest.raises(BadSignature):
        recover(DIGEST, bytes(length))


@pytest.mark.parametrize("field", ["r", "s"])
@pytest.mark.parametrize("length", [0, 31, 33])
def test_rejects_parts_of_another_length(field: str, length: int) -> None:
    parts = dataclasses.replace(KEY.sign(DIGEST), **{field: bytes(length)})
    with pytest.raises(BadSignature):
        recover(DIGEST, parts)
    with pytest.raises(BadSignature):
        recover(DIGEST, EcdsaSignature.from_record(parts.as_record(SignerIndex(0))))


@pytest.mark.parametrize("v", [0, 1, 26, 29, 255])
def test_rejects_v(v: int) -> None:
    with pytest.raises(BadSignature):
        recover(DIGEST, KEY.sign(DIGEST).to_bytes()[:64] + bytes([v]))


def _with_s(s: int, *, v: int = 27) -> bytes:
    return KEY.sign(DIGEST).r + s.to_bytes(32, "big") + bytes([v])


def test_rejects_high_s_of_an_otherwise_good_signature() -> None:
    signature = KEY.sign(DIGEST)
    mirrored = _with_s(GROUP.order - int.from_bytes(signature.s, "big"), v=55 - signature.v)
    with pytest.raises(HighS):
        recover(DIGEST, mirrored)


def test_s_of_exactly_half_the_order_is_not_high() -> None:
    recover(DIGEST, _with_s(HALF_ORDER))
    with pytest.raises(HighS):
        recover(DIGEST, _with_s(HALF_ORDER + 1))


def test_checks_v_before_s() -> None:
    with pytest.raises(BadSignature):
        recover(DIGEST, _with_s(GROUP.order - 1, v=29))


def test_checks_s_before_recovery() -> None:
    with pytest.raises(HighS):
        recover(DIGEST, bytes(32) + b"\xff" * 32 + b"\x1b")


@pytest.mark.parametrize(
    ("r", "s"),
    [(0, 1), (1, 0), (GROUP.order, 1), (5, 1)],
    ids=["zero r", "zero s", "r not below the order", "r is no x coordinate"],
)
def test_rejects_what_nobody_signed(r: int, s: int) -> None:
    with pytest.raises(BadSignature):
        recover(DIGEST, r.to_bytes(32, "big") + s.to_bytes(32, "big") + b"\x1b")


def test_rejects_another_account() -> None:
    other = SigningKey(b"\x12" * 32)
    with pytest.raises(WrongSigner) as caught:
        verify_signer(DIGEST, other.sign(DIGEST), KEY.address)
    assert caught.value.values == (KEY.address, other.address)


def test_rejects_digest_of_another_length() -> None:
    with pytest.raises(BadLength):
        KEY.sign(Bytes32(b"short"))
    with pytest.raises(BadLength):
        recover(Bytes32(b"short"), KEY.sign(DIGEST))


@pytest.mark.parametrize(
    "secret",
    [b"", bytes(32), b"\x01" * 31, b"\x01" * 33, GROUP.order.to_bytes(32, "big"), b"\xff" * 32],
)
def test_rejects_secret(secret: bytes) -> None:
    with pytest.raises(BadSecret):
        SigningKey(secret)


def test_from_entropy_needs_32_bytes() -> None:
    assert SigningKey.from_entropy(Bytes32(bytes(32))).reveal() == SigningKey.from_entropy(Bytes32(bytes(32))).reveal()
    with pytest.raises(BadLength):
        SigningKey.from_entropy(Bytes32(b"1"))


def test_secret_is_not_shown() -> None:
    shown = repr(KEY) + str(KEY)
    assert KEY.address.hex() in shown
    assert "11" * 32 not in shown
    assert repr(b"\x11" * 32) not in shown
    with pytest.raises(TypeError):
        pickle.dumps(KEY)


def test_address_of_rejects_uncompressed() -> None:
    with pytest.raises(BadPoint):
        address_of(b"\x04" + GROUP.generator.raw)


@given(st.binary(max_size=80))
def test_arbitrary_signature_raises_only_typed_errors(data: bytes) -> None:
    with contextlib.suppress(BadSignature, HighS):
        assert len(recover(DIGEST, data)) == 20


@given(st.binary(max_size=40))
def test_arbitrary_account_is_never_the_signer(account: bytes) -> None:
    if account != KEY.address:
        with pytest.raises(WrongSigner):
            verify_signer(DIGEST, KEY.sign(DIGEST), Address(account))
