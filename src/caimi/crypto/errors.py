"""What can be wrong with keys, capsules, partials and key generation (spec 40 §9).

* CryptoError
  + BadPoint, PointAtInfinity, BadScalar, BadSecret: an encoding that is not the one canonical form
  + InvalidProof: a proof does not hold; the caller says whose it is
  + BadThresholdKey, BadKeyShare: a public key or a share that does not fit the others
  + CapsuleRefused
    - MalformedCapsule, InvalidCapsule, WrongKeyCommitment
  + PartialRefused: `index` names the validator
    - MalformedPartial, ForeignPartial, UnsignedPartial, InvalidPartial, DuplicatePartial
  + NotEnoughPartials: `faults` names every culprit
  + BadSealingKey, SealNotOpened: HPKE
  + KeystoreRefused
    - MalformedKeystore, WrongPassword
  + DkgFault: see `caimi.crypto.dkg_errors`
"""

from __future__ import annotations

from collections.abc import Sequence

from caimi.types.failure import Blame, CaimiError, Certainty, Retry

__all__ = [
    "BadKeyShare",
    "BadPoint",
    "BadScalar",
    "BadSealingKey",
    "BadSecret",
    "BadThresholdKey",
    "CapsuleRefused",
    "CryptoError",
    "DuplicatePartial",
    "ForeignPartial",
    "InvalidCapsule",
    "InvalidPartial",
    "InvalidProof",
    "KeystoreRefused",
    "MalformedCapsule",
    "MalformedKeystore",
    "MalformedPartial",
    "NotEnoughPartials",
    "PartialRefused",
    "PointAtInfinity",
    "SealNotOpened",
    "UnsignedPartial",
    "WrongKeyCommitment",
    "WrongPassword",
]


class CryptoError(CaimiError):
    """Root of the refusals of this package."""

    blame = Blame.CALLER
    certainty = Certainty.PROVEN


class BadPoint(CryptoError):
    """The bytes are not a compressed point of the group."""

    hint = "a point is 33 bytes: 02 or 03, then an x coordinate of the curve"


class PointAtInfinity(CryptoError):
    """The point at infinity has no encoding and is no public value of any protocol here."""

    hint = "the sum of the contributions is zero: start again with fresh randomness"


class BadScalar(CryptoError):
    """The bytes are not a scalar below the group order."""

    hint = "a scalar is 32 bytes, big-endian, below the order of secp256k1"


class BadSecret(CryptoError):
    """The bytes are not a secret key: zero, not below the group order, or of a wrong length."""

    hint = "a secret key is 32 bytes, big-endian, from 1 to the order of secp256k1 less one"


class InvalidProof(CryptoError):
    """The proof of equal discrete logarithms does not hold for these values and this context."""

    hint = "do not use the values; whoever made the proof made them"


class BadThresholdKey(CryptoError):
    """The group key and the verification keys do not lie on one polynomial of the threshold's degree."""

    blame = Blame.VALIDATOR
    certainty = Certainty.SUSPECTED
    hint = "compare the key with the one that q validators closed the key generation with"


class BadKeyShare(CryptoError):
    """The share does not fit its own verification key."""

    blame = Blame.OPERATOR
    hint = "restore the share of this validator and epoch from its encrypted file"


class CapsuleRefused(CryptoError):
    """Root of what is wrong with a capsule. No partial is made for it."""

    blame = Blame.PUBLISHER


class MalformedCapsule(CapsuleRefused):
    """The bytes are not a capsule of 195 bytes in format 1."""

    hint = "compare the bytes with the publication's capsule hash: if they match the publisher made it so"


class InvalidCapsule(CapsuleRefused):
    """The capsule's proof does not hold for this label and group key."""

    certainty = Certainty.SUSPECTED
    hint = "compare the bytes with the publication's capsule hash: if they match the publisher made it so"


class WrongKeyCommitment(CapsuleRefused):
    """Proven partials of t validators open the capsule to another key than the one it commits to."""

    hint = "no key exists for this publication: the publisher must publish it again"


class PartialRefused(CryptoError):
    """Root of what is wrong with one partial; `index` is the share index that it came in under."""

    blame = Blame.VALIDATOR
    certainty = Certainty.SUSPECTED
    retry = Retry.AFTER
    hint = "go on with the partials of other validators"

    def __init__(self, index: int, problem: str) -> None:
        super().__init__(f"partial of validator {index}: {problem}")
        self.index = index


class MalformedPartial(PartialRefused):
    """The bytes are not a partial."""


class ForeignPartial(PartialRefused):
    """The partial is for another lease or epoch, or its index is none of this key's."""


class UnsignedPartial(PartialRefused):
    """The signature is not the validator's: no proof of who made the partial."""


class InvalidPartial(PartialRefused):
    """The validator signed a partial whose proof does not hold: evidence that anyone can check."""

    certainty = Certainty.PROVEN
    retry = Retry.NEVER
    hint = "keep the partial: with the capsule and the label it proves the fault"


class DuplicatePartial(PartialRefused):
    """A valid partial of this index was counted already."""


class NotEnoughPartials(CryptoError):
    """Fewer than `needed` partials are valid; `faults` says what was wrong with the others."""

    blame = Blame.NOBODY
    certainty = Certainty.SUSPECTED
    retry = Retry.AFTER
    hint = "wait for the partials of more validators"

    def __init__(self, needed: int, valid: Sequence[int], faults: Sequence[PartialRefused]) -> None:
        super().__init__(f"{len(valid)} valid partials of {needed} needed, {len(faults)} refused")
        self.needed = needed
        self.valid = tuple(valid)
        self.faults = tuple(faults)

    @property
    def culprits(self) -> tuple[int, ...]:
        """Share indices of the refused partials, ascending, each once."""
        return tuple(sorted({fault.index for fault in self.faults}))


class BadSealingKey(CryptoError):
    """The bytes are not an X25519 public key that gives a shared secret."""

    hint = "a sealing key is 32 bytes and no point of small order"


class SealNotOpened(CryptoError):
    """The sealed bytes do not open under this key and context. A suspicion only: anyone may have changed them."""

    blame = Blame.NOBODY
    certainty = Certainty.SUSPECTED
    retry = Retry.AFTER
    hint = "fetch the sealed bytes again; if they match their recorded hash, use those of another validator"


class KeystoreRefused(CryptoError):
    """Root of what is wrong with an encrypted secret."""

    blame = Blame.OPERATOR


class MalformedKeystore(KeystoreRefused):
    """The bytes are not an encrypted secret of version 1, or ask for more memory than the limit."""

    hint = "restore the file from its backup"


class WrongPassword(KeystoreRefused):
    """The password or the purpose is wrong, or the bytes were changed: these cannot be told apart."""

    certainty = Certainty.SUSPECTED
    retry = Retry.AFTER
    hint = "check the password file, and that the file is the one of this process"
