"""Identities: low-s signatures, refused keys, nothing secret in a log."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from caimi.chains.fabric.errors import FabricIdentityError
from caimi.chains.fabric.identity import FabricIdentity, load_identity

_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_CERTIFICATE = b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"


def _pem(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey, password: bytes | None = None) -> bytes:
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def test_every_signature_has_a_low_s_and_verifies() -> None:
    key = ec.derive_private_key(7, ec.SECP256R1())
    identity = FabricIdentity("Org1MSP", _CERTIFICATE, _pem(key))
    # Half of all plain ECDSA signatures are high: 32 of them would all be low by chance once in 2**32.
    for number in range(32):
        signature = identity.sign(b"%d" % number)
        assert decode_dss_signature(signature)[1] <= _ORDER // 2
        key.public_key().verify(signature, b"%d" % number, ec.ECDSA(hashes.SHA256()))


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"not a key",
        _pem(ec.derive_private_key(7, ec.SECP384R1())),
        _pem(ec.derive_private_key(7, ec.SECP256K1())),
        _pem(ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32))),
        _pem(ec.derive_private_key(7, ec.SECP256R1()), b"password"),
    ],
    ids=["empty", "garbage", "p384", "secp256k1", "ed25519", "encrypted"],
)
def test_a_key_that_peers_would_not_accept_is_refused(pem: bytes) -> None:
    with pytest.raises(FabricIdentityError):
        FabricIdentity("Org1MSP", _CERTIFICATE, pem)


def test_the_key_is_not_shown() -> None:
    identity = FabricIdentity("Org1MSP", _CERTIFICATE, _pem(ec.derive_private_key(7, ec.SECP256R1())))
    assert repr(identity) == "FabricIdentity('Org1MSP')"


def test_files_are_read_and_missing_or_huge_ones_refused(tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    certificate.write_bytes(_CERTIFICATE)
    key.write_bytes(_pem(ec.derive_private_key(7, ec.SECP256R1())))
    assert load_identity("Org1MSP", certificate, key).creator.startswith(b"\n\x07Org1MSP")
    with pytest.raises(FabricIdentityError, match="cannot read"):
        load_identity("Org1MSP", certificate, tmp_path / "absent.pem")
    key.write_bytes(bytes(64 * 1024 + 1))
    with pytest.raises(FabricIdentityError, match="longer than"):
        load_identity("Org1MSP", certificate, key)
