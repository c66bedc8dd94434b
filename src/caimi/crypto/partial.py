"""Partials: one validator's decryption share of one capsule under one lease; putting t together (spec 40 §5).

A partial proves itself twice: a proof of equal logarithms shows that the share point is right, the validator's
signature shows who made it. A signed partial with a wrong proof convicts its validator; an unsigned one is suspicion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from caimi.crypto.capsule import Capsule, capsule_hash, check_capsule, open_capsule
from caimi.crypto.dleq import PROOF_BYTES, Proof, prove, verify_proof
from caimi.crypto.ecdsa import SIGNATURE_BYTES, EcdsaSignature, SigningKey, recover
from caimi.crypto.errors import (
    BadPoint,
    BadScalar,
    DuplicatePartial,
    ForeignPartial,
    InvalidPartial,
    InvalidProof,
    MalformedPartial,
    NotEnoughPartials,
    PartialRefused,
    PointAtInfinity,
    UnsignedPartial,
)
from caimi.crypto.group import POINT_BYTES, Point
from caimi.crypto.key_share import KeyShare, ThresholdKey
from caimi.crypto.polynomial import lagrange
from caimi.crypto.quorum import ValidatorSet
from caimi.crypto.sealing import SEAL_OVERHEAD, SealingKey, seal
from caimi.crypto.secp256k1 import GROUP
from caimi.types.errors import BadSignature, HighS
from caimi.types.primitives import Bytes32, Epoch
from caimi.wire.keccak import Tag, tagged_hash

__all__ = [
    "PARTIAL_BYTES",
    "SEALED_PARTIAL_BYTES",
    "Combined",
    "Partial",
    "combine",
    "make_partial",
    "open_partial",
    "seal_partial",
    "verify_partial",
]

_FORMAT: Final = 1
_LEASE: Final = 1 + 1 + 8
_POINT: Final = _LEASE + 32
_PROOF: Final = _POINT + POINT_BYTES
_SIGNATURE: Final = _PROOF + PROOF_BYTES
PARTIAL_BYTES: Final = _SIGNATURE + SIGNATURE_BYTES
"""Length of an encoded partial: 204."""
SEALED_PARTIAL_BYTES: Final = PARTIAL_BYTES + SEAL_OVERHEAD
"""Length of a sealed partial: 252."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Partial:
    """One validator's decryption share. Secret until the lease's host has it: t of them open the capsule."""

    index: int
    """Share index, 1 <= index <= n."""
    epoch: Epoch
    lease: Bytes32
    point: Point = field(repr=False)
    """D = share times U."""
    proof: Proof
    """That D to U is what the verification key is to G."""
    signature: EcdsaSignature
    """The validator's, over all of this and the label."""

    def to_bytes(self) -> bytes:
        """Format u8 (1), index u8, epoch u64, lease, point, proof, signature: 204 bytes."""
        head = bytes((_FORMAT, self.index)) + self.epoch.to_bytes(8, "big") + self.lease
        return head + self.point.encode() + self.proof.to_bytes() + self.signature.to_bytes()

    @classmethod
    def from_bytes(cls, data: bytes, *, index: int) -> Partial:
        """Inverse of `to_bytes`. Nothing is verified: see `verify_partial`.

        Arguments:
            index: the share index that the bytes came in under; named by errors, and the encoding has to agree.
        Raises:
            MalformedPartial: Another length or format, or a part that is not canonical.
            ForeignPartial: The encoding names another index.
        """
        if len(data) != PARTIAL_BYTES or data[0] != _FORMAT:
            raise MalformedPartial(index, f"not {PARTIAL_BYTES} bytes of format {_FORMAT}")
        if data[1] != index:
            raise ForeignPartial(index, f"it names index {data[1]}")
        try:
            point, proof = GROUP.decode_point(data[_POINT:_PROOF]), Proof.from_bytes(data[_PROOF:_SIGNATURE])
        except (BadPoint, BadScalar) as error:
            raise MalformedPartial(index, "a part is no point or no scalar") from error
        return cls(
            index=index,
            epoch=Epoch(int.from_bytes(data[2:_LEASE], "big")),
            lease=Bytes32(bytes(data[_LEASE:_POINT])),
            point=point,
            proof=proof,
            signature=EcdsaSignature.from_bytes(data[_SIGNATURE:]),
        )


def _context(capsule: Capsule, label: Bytes32, lease: Bytes32, epoch: Epoch, index: int) -> tuple[bytes, ...]:
    return capsule_hash(capsule), label, lease, epoch.to_bytes(8, "big"), bytes((index,))


def _signed_digest(context: Sequence[bytes], point: Point, proof: Proof) -> Bytes32:
    return tagged_hash(Tag.PARTIAL, *context, point.encode(), proof.to_bytes())


def make_partial(
    share: KeyShare,
    *,
    signing_key: SigningKey,
    capsule: Capsule,
    label: Bytes32,
    lease: Bytes32,
    entropy: Bytes32,
) -> Partial:
    """Make this validator's partial for a lease of the share's epoch. The caller has judged the lease.

    Arguments:
        label: recomputed from the ledger's publication, never taken from the requester.
        lease: id of the lease record on the board.
        entropy: 32 fresh random bytes.
    Raises:
        InvalidCapsule: The capsule was not made for this label and group key; nothing was computed with the share.
        BadLength: `entropy` is not 32 bytes.
    """
    check_capsule(capsule, label=label, group_key=share.group_key)
    context = _context(capsule, label, lease, share.epoch, share.index)
    point = GROUP.multiply_secret(capsule.ephemeral, share.share)
    proof = prove(
        Tag.PARTIAL_PROOF,
        context=context,
        bases=(GROUP.generator, capsule.ephemeral),
        images=(share.verification_key, point),
        secret=share.share,
        entropy=entropy,
    )
    return Partial(
        index=share.index,
        epoch=share.epoch,
        lease=lease,
        point=point,
        proof=proof,
        signature=signing_key.sign(_signed_digest(context, point, proof)),
    )


def verify_partial(
    partial: Partial, *, capsule: Capsule, label: Bytes32, lease: Bytes32, key: ThresholdKey, validators: ValidatorSet
) -> None:
    """Check one partial of a capsule that `check_capsule` accepted. Order: place, signature, proof.

    Arguments:
        key: the public key of the epoch that the lease names.
        validators: the set of the same epoch: share index i is its place i - 1.
    Raises:
        ForeignPartial: Another lease or epoch, or an index outside the key.
        UnsignedPartial: The signature is not that validator's.
        InvalidPartial: It is, and the proof does not hold: proven.
    """
    index = partial.index
    if not 1 <= index <= min(key.n, validators.n):
        raise ForeignPartial(index, f"indices are 1 to {key.n}")
    if partial.epoch != key.epoch or partial.lease != lease:
        raise ForeignPartial(index, "it is for another lease or epoch")
    context = _context(capsule, label, lease, key.epoch, index)
    try:
        signer = recover(_signed_digest(context, partial.point, partial.proof), partial.signature)
    except (BadSignature, HighS, PointAtInfinity) as error:
        raise UnsignedPartial(index, "its signature is malformed") from error
    if signer != validators.validators[index - 1]:
        raise UnsignedPartial(index, "its signature is not this validator's")
    try:
        verify_proof(
            Tag.PARTIAL_PROOF,
            context=context,
            bases=(GROUP.generator, capsule.ephemeral),
            images=(key.verification_keys[index - 1], partial.point),
            proof=partial.proof,
        )
    except InvalidProof as error:
        raise InvalidPartial(index, "it is signed and its proof does not hold") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Combined:
    """The result of `combine`. `repr` hides the key."""

    data_key: bytes
    """The 32 bytes that the publisher sealed."""
    used: tuple[int, ...]
    """Share indices of the t partials that went into it, ascending."""
    faults: tuple[PartialRefused, ...]
    """What was wrong with the partials that were refused on the way."""

    def __repr__(self) -> str:
        return f"Combined(used={self.used}, faults={self.faults})"


def combine(
    partials: Sequence[Partial],
    *,
    capsule: Capsule,
    label: Bytes32,
    lease: Bytes32,
    key: ThresholdKey,
    validators: ValidatorSet,
) -> Combined:
    """Open a capsule with t valid partials of distinct validators; goes on without bad ones and names their makers.

    Raises:
        InvalidCapsule: The capsule was not made for this label and group key.
        NotEnoughPartials: Fewer than t are valid; names each fault.
        WrongKeyCommitment: t proven partials open it to a key that it does not commit to: the publisher's fault.
    """
    check_capsule(capsule, label=label, group_key=key.group_key)
    valid: dict[int, Point] = {}
    faults: list[PartialRefused] = []
    for partial in partials:
        if partial.index in valid:
            faults.append(DuplicatePartial(partial.index, "its index was counted already"))
            continue
        try:
            verify_partial(partial, capsule=capsule, label=label, lease=lease, key=key, validators=validators)
        except PartialRefused as fault:
            faults.append(fault)
            continue
        valid[partial.index] = partial.point
        if len(valid) == key.threshold:
            break
    used = tuple(sorted(valid))
    if len(used) < key.threshold:
        raise NotEnoughPartials(key.threshold, used, faults)
    terms = (GROUP.multiply_public(valid[i], factor) for i, factor in zip(used, lagrange(used), strict=True))
    data_key = open_capsule(capsule, label=label, shared=GROUP.add(*terms))
    return Combined(data_key=data_key, used=used, faults=tuple(faults))


def _seal_info(lease: Bytes32, index: int, epoch: Epoch) -> bytes:
    # Fixed lengths: tag 32, lease 32, index 1, epoch 8.
    return Tag.PARTIAL_SEAL.bytes32 + lease + bytes((index,)) + epoch.to_bytes(8, "big")


def seal_partial(partial: Partial, *, recipient: Bytes32) -> bytes:
    """Seal a partial to the host's X25519 key, bound to lease, index and epoch: 252 bytes.

    Raises:
        BadSealingKey: `recipient` is no sealing key.
    """
    return seal(partial.to_bytes(), recipient=recipient, info=_seal_info(partial.lease, partial.index, partial.epoch))


def open_partial(sealed: bytes, *, key: SealingKey, lease: Bytes32, index: int, epoch: Epoch) -> Partial:
    """Inverse of `seal_partial`, for the bytes that the board holds under this lease and index.

    Raises:
        SealNotOpened: Suspicion only: the bytes were changed, or sealed for another key, lease, index or epoch.
        MalformedPartial, ForeignPartial: What was inside is not that partial.
    """
    partial = Partial.from_bytes(key.open(sealed, info=_seal_info(lease, index, epoch)), index=index)
    if partial.lease != lease or partial.epoch != epoch:
        raise ForeignPartial(index, "it is for another lease or epoch")
    return partial
