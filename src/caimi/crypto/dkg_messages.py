"""Session and messages of a key generation, and their one canonical form (spec 40 §7)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, TypeAlias

from caimi.crypto.board_seal import BOARD_SEAL_OVERHEAD
from caimi.crypto.dkg_errors import MalformedMessage, WrongDegree, WrongSender, WrongSession
from caimi.crypto.dleq import PROOF_BYTES, Proof
from caimi.crypto.errors import BadPoint, BadScalar, BadSecret
from caimi.crypto.group import POINT_BYTES, SCALAR_BYTES, Point, SecretScalar
from caimi.crypto.quorum import ValidatorSet
from caimi.crypto.secp256k1 import GROUP
from caimi.types.errors import BadEncoding
from caimi.types.primitives import Address, Bytes32, Epoch
from caimi.wire.keccak import Tag, tagged_hash

__all__ = [
    "SEALED_SHARE_BYTES",
    "Close",
    "Commit",
    "Complaint",
    "Complaints",
    "DkgMessage",
    "DkgSession",
    "Justification",
    "Justifications",
    "Phase",
    "Reveal",
    "decode_message",
    "encode_message",
]

_FORMAT: Final = 1
_HEAD: Final = 1 + 1 + 32 + 1
SEALED_SHARE_BYTES: Final = SCALAR_BYTES + BOARD_SEAL_OVERHEAD
"""Length of one sealed share: 48."""
_COMPLAINT: Final = 1 + POINT_BYTES + PROOF_BYTES
_JUSTIFICATION: Final = 1 + SCALAR_BYTES
_SESSION_HEAD: Final = 32 + 8 + 4 + 1 + 1 + 1


class Phase(IntEnum):
    """Phases of the board (`BoardPost.phase`)."""

    COMMIT = 1
    REVEAL = 2
    COMPLAINT = 3
    JUSTIFICATION = 4
    CLOSE = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class DkgSession:
    """What one run of the key generation is for. Its id is in every message, so none counts in another run."""

    network: Bytes32
    epoch: Epoch
    attempt: int
    """u32: raised when a run had to be given up."""
    validators: ValidatorSet

    def to_bytes(self) -> bytes:
        """network 32, epoch u64, attempt u32, n u8, f u8, t u8, n accounts of 20 bytes."""
        numbers = self.epoch.to_bytes(8, "big") + self.attempt.to_bytes(4, "big")
        shape = bytes((self.validators.n, self.validators.f, self.validators.t))
        return self.network + numbers + shape + b"".join(self.validators.validators)

    @classmethod
    def from_bytes(cls, data: bytes) -> DkgSession:
        """Inverse of `to_bytes`.

        Raises:
            BadEncoding: Another length.
            BadQuorum, BadValidatorSet: The set is outside its bounds.
        """
        if len(data) < _SESSION_HEAD or len(data) != _SESSION_HEAD + 20 * data[44]:
            raise BadEncoding
        accounts = (Address(data[i : i + 20]) for i in range(_SESSION_HEAD, len(data), 20))
        return cls(
            network=Bytes32(data[:32]),
            epoch=Epoch(int.from_bytes(data[32:40], "big")),
            attempt=int.from_bytes(data[40:44], "big"),
            validators=ValidatorSet(validators=tuple(accounts), f=data[45], t=data[46]),
        )

    @property
    def id(self) -> Bytes32:
        """tagged_hash(DKG_SESSION, encoded session)."""
        return tagged_hash(Tag.DKG_SESSION, self.to_bytes())

    @property
    def indices(self) -> range:
        """Share indices, 1 to n."""
        return range(1, self.validators.n + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """Phase 1: binds the dealer to its polynomial before it has seen any other, and announces its sealing key."""

    index: int
    opening_hash: Bytes32
    """tagged_hash(DKG_COMMIT, session id, index u8, commitments, possession) of the dealer's `Reveal`."""
    sealing_key: Point
    """Of this session only."""
    possession: Proof
    """Of the sealing key's secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reveal:
    """Phase 2: the dealer's polynomial in the exponent, and everybody's share of it."""

    index: int
    commitments: tuple[Point, ...]
    """t coefficients times G, constant term first."""
    possession: Proof
    """Of the constant term."""
    ephemeral: Point
    """The encapsulated key of all sealed shares."""
    ephemeral_possession: Proof
    """Of its secret: nobody can pass off another dealer's and learn that one's shares from the complaints."""
    sealed_shares: tuple[bytes, ...]
    """Of share index 1 to n, the dealer's own too; 48 bytes each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Complaint:
    """One accusation, with proof: the shared point opens the sealed share for everybody."""

    dealer: int
    shared: Point
    """The accuser's sealing secret times the dealer's ephemeral key."""
    proof: Proof
    """That it is just that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Complaints:
    """Phase 3: everything that the sender has to complain about; usually nothing."""

    index: int
    entries: tuple[Complaint, ...]
    """Strictly ascending by dealer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Justification:
    """The share that the dealer should have sent to an accuser, now in the open."""

    accuser: int
    share: SecretScalar


@dataclass(frozen=True, slots=True, kw_only=True)
class Justifications:
    """Phase 4: an accused dealer's answer to every complaint against it."""

    index: int
    entries: tuple[Justification, ...]
    """Strictly ascending by accuser."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Close:
    """Phase 5: the sender has its share and names what it computed."""

    index: int
    transcript: Bytes32
    group_key: Point


DkgMessage: TypeAlias = Commit | Reveal | Complaints | Justifications | Close

_PHASES: Final[dict[type[DkgMessage], Phase]] = {
    Commit: Phase.COMMIT,
    Reveal: Phase.REVEAL,
    Complaints: Phase.COMPLAINT,
    Justifications: Phase.JUSTIFICATION,
    Close: Phase.CLOSE,
}


def encode_message(message: DkgMessage, session: DkgSession) -> bytes:
    """Format u8 (1), phase u8, session id, index u8, then the fields in their order; counts are u8."""
    head = bytes((_FORMAT, _PHASES[type(message)])) + session.id + bytes((message.index,))
    match message:
        case Commit():
            return head + message.opening_hash + message.sealing_key.encode() + message.possession.to_bytes()
        case Reveal():
            commitments = b"".join(point.encode() for point in message.commitments)
            head += bytes((len(message.commitments),)) + commitments + message.possession.to_bytes()
            head += message.ephemeral.encode() + message.ephemeral_possession.to_bytes()
            return head + b"".join(message.sealed_shares)
        case Complaints():
            entries = (bytes((e.dealer,)) + e.shared.encode() + e.proof.to_bytes() for e in message.entries)
            return head + bytes((len(message.entries),)) + b"".join(entries)
        case Justifications():
            opened = (bytes((e.accuser,)) + e.share.reveal() for e in message.entries)
            return head + bytes((len(message.entries),)) + b"".join(opened)
        case Close():
            return head + message.transcript + message.group_key.encode()


def _decode_commit(body: bytes, session: DkgSession, index: int) -> Commit:
    if len(body) != 32 + POINT_BYTES + PROOF_BYTES:
        raise BadEncoding
    return Commit(
        index=index,
        opening_hash=Bytes32(body[:32]),
        sealing_key=GROUP.decode_point(body[32 : 32 + POINT_BYTES]),
        possession=Proof.from_bytes(body[32 + POINT_BYTES :]),
    )


def _decode_reveal(body: bytes, session: DkgSession, index: int) -> Reveal:
    n, t = session.validators.n, session.validators.t
    if body and body[0] != t:
        raise WrongDegree(index, f"{body[0]} coefficients, t is {t}")
    proof_at = 1 + t * POINT_BYTES
    ephemeral_at = proof_at + PROOF_BYTES
    shares_at = ephemeral_at + POINT_BYTES + PROOF_BYTES
    if len(body) != shares_at + n * SEALED_SHARE_BYTES:
        raise BadEncoding
    return Reveal(
        index=index,
        commitments=GROUP.decode_points(body[1:proof_at]),
        possession=Proof.from_bytes(body[proof_at:ephemeral_at]),
        ephemeral=GROUP.decode_point(body[ephemeral_at : ephemeral_at + POINT_BYTES]),
        ephemeral_possession=Proof.from_bytes(body[ephemeral_at + POINT_BYTES : shares_at]),
        sealed_shares=tuple(body[i : i + SEALED_SHARE_BYTES] for i in range(shares_at, len(body), SEALED_SHARE_BYTES)),
    )


def _entries(body: bytes, session: DkgSession, index: int, length: int) -> list[bytes]:
    # Each entry begins with the other validator's index: in range, ascending, and not the sender's own.
    if not body or len(body) != 1 + body[0] * length:
        raise BadEncoding
    entries = [body[i : i + length] for i in range(1, len(body), length)]
    others = [entry[0] for entry in entries]
    if others != sorted(set(others)) or any(other not in session.indices or other == index for other in others):
        raise BadEncoding
    return entries


def _decode_complaints(body: bytes, session: DkgSession, index: int) -> Complaints:
    entries = (
        Complaint(
            dealer=entry[0],
            shared=GROUP.decode_point(entry[1 : 1 + POINT_BYTES]),
            proof=Proof.from_bytes(entry[1 + POINT_BYTES :]),
        )
        for entry in _entries(body, session, index, _COMPLAINT)
    )
    return Complaints(index=index, entries=tuple(entries))


def _decode_justifications(body: bytes, session: DkgSession, index: int) -> Justifications:
    entries = (
        Justification(accuser=entry[0], share=GROUP.decode_secret(entry[1:]))
        for entry in _entries(body, session, index, _JUSTIFICATION)
    )
    return Justifications(index=index, entries=tuple(entries))


def _decode_close(body: bytes, session: DkgSession, index: int) -> Close:
    return Close(index=index, transcript=Bytes32(body[:32]), group_key=GROUP.decode_point(body[32:]))


_DECODERS: Final[dict[int, Callable[[bytes, DkgSession, int], DkgMessage]]] = {
    Phase.COMMIT: _decode_commit,
    Phase.REVEAL: _decode_reveal,
    Phase.COMPLAINT: _decode_complaints,
    Phase.JUSTIFICATION: _decode_justifications,
    Phase.CLOSE: _decode_close,
}


def decode_message(data: bytes, *, session: DkgSession, sender: int) -> DkgMessage:
    """Inverse of `encode_message`.

    Arguments:
        sender: share index that the board holds the message under; every error names it.
    Raises:
        MalformedMessage: Not canonical, or of another size than this session's.
        WrongSession, WrongSender: The head names another session or sender.
        WrongDegree: A reveal with another number of coefficients than t.
    """
    data = bytes(data)
    if sender not in session.indices:
        raise WrongSender(sender, f"indices are 1 to {session.validators.n}")
    if len(data) < _HEAD or data[0] != _FORMAT or data[1] not in _DECODERS:
        raise MalformedMessage(sender, "no message of format 1 with a phase from 1 to 5")
    if data[2:34] != session.id:
        raise WrongSession(sender, "the message belongs to another session")
    if data[34] != sender:
        raise WrongSender(sender, f"the message names index {data[34]}")
    try:
        return _DECODERS[data[1]](data[_HEAD:], session, sender)
    except (BadEncoding, BadPoint, BadScalar, BadSecret) as error:
        raise MalformedMessage(sender, f"phase {data[1]}: a part is not canonical") from error
