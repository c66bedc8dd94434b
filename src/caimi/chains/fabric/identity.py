"""A member of the Fabric channel: certificate and signing key.

The membership provider admits a certificate to the channel; authority in the registry comes from the
signatures inside the calls, never from this identity.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from caimi.chains.fabric.errors import FabricIdentityError
from caimi.chains.fabric.proto import identities_pb2

__all__ = ["FabricIdentity", "load_identity"]

_P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_MAX_PEM_BYTES: Final = 64 * 1024


class FabricIdentity:
    """A channel member that signs with ECDSA P-256 and SHA-256."""

    __slots__ = ("_key", "creator", "msp_id")

    def __init__(self, msp_id: str, certificate_pem: bytes, private_key_pem: bytes) -> None:
        """Read the key.

        Raises:
            FabricIdentityError: The key is not an unencrypted PEM private key on P-256.
        """
        try:
            key = serialization.load_pem_private_key(private_key_pem, None)
        except (ValueError, TypeError) as error:
            raise FabricIdentityError(f"the private key of {msp_id} is not readable PEM") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
            raise FabricIdentityError(f"the private key of {msp_id} is not on P-256")
        self._key = key
        self.msp_id = msp_id
        """Name of the membership provider, such as Org1MSP."""
        self.creator: bytes = identities_pb2.SerializedIdentity(
            mspid=msp_id, id_bytes=certificate_pem
        ).SerializeToString()
        """Serialized identity, as it stands in every header."""

    def sign(self, data: bytes) -> bytes:
        """Return the DER signature over SHA-256 of `data`, with s at most half the order (peers refuse others)."""
        r, s = decode_dss_signature(self._key.sign(data, ec.ECDSA(hashes.SHA256())))
        return encode_dss_signature(r, min(s, _P256_ORDER - s))

    def __repr__(self) -> str:
        # The key must not reach a log.
        return f"FabricIdentity({self.msp_id!r})"


def load_identity(msp_id: str, certificate: Path, private_key: Path) -> FabricIdentity:
    """Read certificate and key from two PEM files.

    Raises:
        FabricIdentityError: A file is missing, larger than 64 KiB or not what it should be.
    """
    return FabricIdentity(msp_id, _read_pem(certificate), _read_pem(private_key))


def _read_pem(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_PEM_BYTES + 1)
    except OSError as error:
        raise FabricIdentityError(f"cannot read {path}: {error.strerror}") from error
    if len(content) > _MAX_PEM_BYTES:
        raise FabricIdentityError(f"{path} is longer than {_MAX_PEM_BYTES} bytes")
    return content
