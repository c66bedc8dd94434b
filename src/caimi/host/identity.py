"""The keys of one start: born here, signed by an operator, never stored (spec 60 §1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from caimi.crypto.ecdsa import SigningKey
from caimi.crypto.sealing import SealingKey
from caimi.ports.clock import Entropy
from caimi.types.primitives import Bytes32, Epoch, UnixSeconds
from caimi.types.records import HostKey
from caimi.wire.codec import Record, encode
from caimi.wire.digests import typed_digest

__all__ = ["ATTESTATION", "MAX_LIFETIME_S", "HostIdentity", "make_identity"]

ATTESTATION: Final = "UNATTESTED"
"""Said wherever a host or its answers are shown, until attestation is built."""
MAX_LIFETIME_S: Final = 86_400
"""Longest life of a start's keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostIdentity:
    """Who this start of the host is. `repr` shows public keys only."""

    network: Bytes32
    sealing: SealingKey
    signing: SigningKey
    key: HostKey
    operator_signature: bytes
    """65 bytes, over the digest of `key`."""

    @property
    def encoded_key(self) -> bytes:
        """The ABI-encoded `HostKey`."""
        return encode(self.key)

    def sign(self, record: Record) -> bytes:
        """65 bytes over the record's digest."""
        return self.signing.sign(typed_digest(self.network, record)).to_bytes()


def make_identity(
    operator: SigningKey, *, network: Bytes32, epoch: Epoch, now: UnixSeconds, entropy: Entropy
) -> HostIdentity:
    """Fresh keys for one start, which end a day from `now`.

    Arguments:
        operator: one of the genesis descriptor's host operators; only its signature is kept.
    """
    sealing, signing = SealingKey(entropy.take(32)), SigningKey.from_entropy(Bytes32(entropy.take(32)))
    key = HostKey(
        sealing_key=sealing.public_key,
        signing_key=signing.address,
        epoch=epoch,
        until=UnixSeconds(now + MAX_LIFETIME_S),
    )
    return HostIdentity(
        network=network,
        sealing=sealing,
        signing=signing,
        key=key,
        operator_signature=operator.sign(typed_digest(network, key)).to_bytes(),
    )
