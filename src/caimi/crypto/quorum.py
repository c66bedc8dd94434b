"""Validator sets and quorum certificates (spec 20 §3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from caimi.crypto.ecdsa import EcdsaSignature, recover
from caimi.types.errors import (
    BadQuorum,
    BadValidatorSet,
    DuplicateSigner,
    TooFewSignatures,
    UnknownSigner,
    UnsortedSigners,
    WrongEpoch,
    WrongSigner,
)
from caimi.types.primitives import Address, Bytes32, Epoch
from caimi.types.records import Certificate, Genesis, Signature
from caimi.wire.digests import typed_digest

__all__ = ["MAX_VALIDATORS", "ValidatorSet", "default_threshold", "quorum_size", "verify_certificate", "verify_signers"]

MAX_VALIDATORS: Final = 64
"""Most validators of a set."""
_ZERO: Final = bytes(20)


def quorum_size(n: int, f: int) -> int:
    """Signatures a certificate needs, q = floor((n+f)/2) + 1: two quorums share an honest validator."""
    return (n + f) // 2 + 1


def default_threshold(n: int, f: int) -> int:
    """Shares a decryption needs unless configured: the paper's ceil(n/2), kept within f+1 <= t <= n-f."""
    return max(f + 1, min((n + 1) // 2, n - f))


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidatorSet:
    """The validators in force in one epoch. Construction checks every bound.

    Raises:
        BadQuorum: Not 1 <= f, 3f+1 <= n <= 64 and f+1 <= t <= n-f.
        BadValidatorSet: An account is not 20 bytes, zero, or there twice.
    """

    validators: tuple[Address, ...]
    """Accounts in signer order: signer index i is place i, share index is i + 1."""
    f: int
    """Byzantine validators tolerated."""
    t: int
    """Shares that a decryption needs."""

    def __post_init__(self) -> None:
        n, f, t = len(self.validators), self.f, self.t
        if not (f >= 1 and 3 * f + 1 <= n <= MAX_VALIDATORS and f + 1 <= t <= n - f):
            raise BadQuorum(n, f, t)
        distinct = {bytes(account) for account in self.validators}
        if len(distinct) != n or _ZERO in distinct or any(len(account) != 20 for account in distinct):
            raise BadValidatorSet

    @classmethod
    def from_genesis(cls, genesis: Genesis) -> ValidatorSet:
        """The first set of a network.

        Raises:
            BadQuorum, BadValidatorSet: The descriptor is outside the bounds.
        """
        return cls(validators=genesis.validators, f=genesis.f, t=genesis.t)

    @property
    def n(self) -> int:
        """How many validators there are."""
        return len(self.validators)

    @property
    def q(self) -> int:
        """Signatures that a certificate needs."""
        return quorum_size(self.n, self.f)


def verify_certificate(
    certificate: Certificate, *, network: Bytes32, validator_set: ValidatorSet, epoch: Epoch
) -> None:
    """Check a certificate's signatures, in the order that every registry uses (spec 20 §3).

    The registry checks source, generation and run; this checks who signed.

    Raises:
        WrongEpoch: The checkpoint names another epoch than `epoch`.
        TooFewSignatures: Fewer than q.
        UnknownSigner, DuplicateSigner, UnsortedSigners: Of the first entry that is out of place.
        BadSignature, HighS, WrongSigner: Of the first signature that is not its validator's.
    """
    if certificate.checkpoint.epoch != epoch:
        raise WrongEpoch(epoch, certificate.checkpoint.epoch)
    digest = typed_digest(network, certificate.checkpoint)
    verify_signers(certificate.signatures, digest, validator_set=validator_set, needed=validator_set.q)


def verify_signers(
    signatures: Sequence[Signature], digest: Bytes32, *, validator_set: ValidatorSet, needed: int
) -> None:
    """Check that at least `needed` validators signed, each entry in order; more are checked too (spec 20 §3).

    Raises:
        TooFewSignatures, UnknownSigner, DuplicateSigner, UnsortedSigners, BadSignature, HighS, WrongSigner: See
            `verify_certificate`.
    """
    if len(signatures) < needed:
        raise TooFewSignatures(needed, len(signatures))
    previous = -1
    for entry in signatures:
        if not 0 <= entry.signer < validator_set.n:
            raise UnknownSigner(entry.signer)
        if entry.signer == previous:
            raise DuplicateSigner(entry.signer)
        if entry.signer < previous:
            raise UnsortedSigners(entry.signer)
        previous = entry.signer
        actual = recover(digest, EcdsaSignature.from_record(entry))
        expected = validator_set.validators[entry.signer]
        if actual != expected:
            raise WrongSigner(expected, actual)
