"""Both HPKE suites against each other, against the library and against the draft's published test vectors."""

from __future__ import annotations

import pickle

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from caimi.crypto.board_seal import extract_and_expand, key_schedule, open_with_shared_point, seal_to_board
from caimi.crypto.errors import SealNotOpened
from caimi.crypto.sealing import SEAL_OVERHEAD, SealingKey, seal
from caimi.crypto.secp256k1 import GROUP
from caimi.types.errors import BadLength
from caimi.types.primitives import Bytes32

KEY = SealingKey(b"\x05" * 32)
RECIPIENT_SECRET = GROUP.derive_secret(b"test", b"recipient")
RECIPIENT = GROUP.base_multiply(RECIPIENT_SECRET)
EPHEMERAL = GROUP.derive_secret(b"test", b"ephemeral")
ENCAPSULATED = GROUP.base_multiply(EPHEMERAL)
SHARED = GROUP.multiply_secret(ENCAPSULATED, RECIPIENT_SECRET)
SEALED = seal_to_board(b"a share", recipient=RECIPIENT, info=b"info", ephemeral=EPHEMERAL)

# draft-wahby-cfrg-hpke-kem-secp256k1, base mode, DHKEM(secp256k1, HKDF-SHA256), HKDF-SHA256, ChaCha20Poly1305:
# info, skEm, skRm, shared_secret, key, base_nonce
DRAFT = [
    (
        "609dcb9844f8412343191f93add1177186c03a36",
        "1300156862599d00ecbb066644bf4d4505b56a9b235eae7a8632defc4335d5c0",
        "4a99cf59fb6af25c324299a39fef2db3931667ee89528e3aacc8b61d591ad643",
        "a81a3ccf56f48c699eb9f393e0701692836f9ac2e06b493ccbf99ac68a792bbe",
        "4c260fe82e8c3737e7a70c3223cb16fc205682255389ad4bc3e7fae42c46b062",
        "e035bbf3c39ff5a7196cfe84",
    ),
    (
        "325c816adeee49bea410f0db92947892378f6e0c",
        "29e4ff54b558f0a5b3c8f7c016736f6b784ed71d1395bbee07ae4320919465d1",
        "dad1397389c4ff7fa014068bcfbf0c2ea2e24d78b0395fa3de9e88802bc8a684",
        "9edafcdb619dabc578d8f7b7b055ac66d5cfb6219b90f69d13d297ed49f3aaf3",
        "6e771cd99a23e82ddbd972ecc1b7d3bcd5d6f961370ac2ff785e6776b47b2d53",
        "208b33e382b39dfc1ebb2c95",
    ),
]


@pytest.mark.parametrize(("info", "sender", "recipient", "shared", "key", "nonce"), DRAFT)
def test_agrees_with_the_drafts_vectors(
    info: str, sender: str, recipient: str, shared: str, key: str, nonce: str
) -> None:
    ephemeral, static = (GROUP.decode_secret(bytes.fromhex(s)) for s in (sender, recipient))
    encapsulated, public = GROUP.base_multiply(ephemeral), GROUP.base_multiply(static)
    dh = GROUP.multiply_secret(encapsulated, static)
    secret = extract_and_expand(dh.raw[:32], b"\x04" + encapsulated.raw + b"\x04" + public.raw)
    assert secret.hex() == shared
    found_key, found_nonce = key_schedule(secret, bytes.fromhex(info), aead=0x0003)
    assert (found_key.hex(), found_nonce.hex()) == (key, nonce)


def test_the_key_schedule_is_the_one_of_the_library() -> None:
    sealed = seal(b"to compare", recipient=KEY.public_key, info=b"info")
    private = X25519PrivateKey.from_private_bytes(b"\x05" * 32)
    dh = private.exchange(X25519PublicKey.from_public_bytes(sealed[:32]))
    secret = extract_and_expand(dh, sealed[:32] + KEY.public_key, kem=0x0020)
    key, nonce = key_schedule(secret, b"info", kem=0x0020)
    assert AESGCM(key).decrypt(nonce, sealed[32:], b"") == b"to compare"


def test_seals_to_a_process() -> None:
    sealed = seal(b"text", recipient=KEY.public_key, info=b"info")
    assert len(sealed) == 4 + SEAL_OVERHEAD
    assert KEY.open(sealed, info=b"info") == b"text"
    assert seal(b"text", recipient=KEY.public_key, info=b"info") != sealed


@pytest.mark.parametrize("sealed", [b"", bytes(47), bytes(48), bytes(100)])
def test_rejects_bytes_that_nobody_sealed(sealed: bytes) -> None:
    with pytest.raises(SealNotOpened):
        KEY.open(sealed, info=b"info")


def test_rejects_another_info() -> None:
    with pytest.raises(SealNotOpened):
        KEY.open(seal(b"text", recipient=KEY.public_key, info=b"info"), info=b"other")


def test_sealing_key_hides_and_checks_its_secret() -> None:
    assert "05" * 32 not in repr(KEY)
    assert KEY.reveal() == b"\x05" * 32
    with pytest.raises(TypeError):
        pickle.dumps(KEY)
    with pytest.raises(BadLength):
        SealingKey(b"\x05" * 31)
    assert KEY.public_key != SealingKey(Bytes32(b"\x06" * 32)).public_key


def test_board_seal_is_opened_by_the_shared_point_and_repeats() -> None:
    opened = open_with_shared_point(SEALED, encapsulated=ENCAPSULATED, recipient=RECIPIENT, shared=SHARED, info=b"info")
    assert opened == b"a share"
    assert seal_to_board(b"a share", recipient=RECIPIENT, info=b"info", ephemeral=EPHEMERAL) == SEALED


def test_both_ends_find_the_same_point() -> None:
    assert GROUP.multiply_secret(RECIPIENT, EPHEMERAL) == SHARED


@pytest.mark.parametrize("what", ["encapsulated", "recipient", "shared", "info", "sealed", "cut"])
def test_board_seal_rejects(what: str) -> None:
    sealed = {"sealed": bytes([SEALED[0] ^ 1]) + SEALED[1:], "cut": SEALED[:10]}.get(what, SEALED)
    wrong = GROUP.generator
    with pytest.raises(SealNotOpened):
        open_with_shared_point(
            sealed,
            encapsulated=wrong if what == "encapsulated" else ENCAPSULATED,
            recipient=wrong if what == "recipient" else RECIPIENT,
            shared=wrong if what == "shared" else SHARED,
            info=b"other" if what == "info" else b"info",
        )
