"""Messages of a key ceremony, and their one canonical form (spec 41 §2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, TypeAlias

from caimi.crypto.board_seal import BOARD_SEAL_OVERHEAD
from caimi.crypto.dkg_errors import MalformedMessage, WrongDegree, WrongSender, WrongSession
from caimi.crypto.dkg_session import DkgSession
from caimi.crypto.dleq import PROOF_BYTES, Proof
from caimi.crypto.errors import BadPoint, BadScalar, BadSecret
from caimi.crypto.group import POINT_BYTES, SCALAR_BYTES, Point, SecretScalar
from caimi.crypto.secp256k1 import GROUP
from caimi.types.errors import BadEncoding
from caimi.types.primitives import Bytes32

__all__ = [
    "NO_OPENING",
    "SEALED_SHARE_BYTES",
    "STEPS",
    "Close",
    "Commit",
    "Complaint",
    "Complaints",
    "DkgMessage",
    "Justification",
    "Justifications",
    "Phase",
    "Reveal",
    "Vote",
    "board_phase",
    "decode_message",
    "encode_message",
    "phase_of",
    "split_board_phase",
]

_FORMAT: Final = 1
_HEAD: Final = 1 + 1 + 32 + 1
SEALED_SHARE_BYTES: Final = SCALAR_BYTES + BOARD_SEAL_OVERHEAD
"""Length of one sealed share: 48."""
_COMPLAINT: Final = 1 + POINT_BYTES + PROOF_BYTES
_JUSTIFICATION: Final = 1 + SCALAR_BYTES
_VOTE: Final = 8
_STEPS: Final = 16
NO_OPENING: Final = Bytes32(bytes(32))
"""Opening hash of who deals nothing."""


class Phase(IntEnum):
    """Phases, and the steps that their messages are."""

    COMMIT = 1
    REVEAL = 2
    COMPLAINT = 3
    JUSTIFICATION = 4
    CLOSE = 5

    @property
    def vote(self) -> int:
        """The step that votes to close this phase."""
        return _VOTE + self


STEPS: Final = frozenset((*Phase, *(phase.vote for phase in Phase)))
"""Every step: 1 to 5, and 9 to 13."""


def phase_of(step: int) -> Phase:
    """The phase that a step belongs to.

    Raises:
        ValueError: It is none of `STEPS`.
    """
    return Phase(step - _VOTE if step > _VOTE else step)


def board_phase(session: DkgSession, step: int) -> int:
    """`BoardPost.phase` of a step of that session's attempt: 16 times the attempt, and the step."""
    return _STEPS * session.attempt + step


def split_board_phase(phase: int) -> tuple[int, int]:
    """Attempt and step of a `BoardPost.phase`."""
    return divmod(phase, _STEPS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """Phase 1: binds the dealer to its polynomial before it has seen any other, and announces its sealing key."""

    seat: int
    opening_hash: Bytes32
    """tagged_hash(DKG_COMMIT, session id, seat u8, commitments, possession) of the `Reveal`; zero: deals nothing."""
    sealing_key: Point
    """Of this session only."""
    possession: Proof
    """Of the sealing key's secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reveal:
    """Phase 2: the dealer's polynomial in the exponent, and everybody's share of it."""

    seat: int
    commitments: tuple[Point, ...]
    """t coefficients times G, constant term first."""
    possession: Proof
    """Of the constant term."""
    ephemeral: Point
    """The encapsulated key of all sealed shares."""
    ephemeral_possession: Proof
    """Of its secret: nobody can pass off another dealer's and learn that one's shares from the complaints."""
    sealed_shares: tuple[bytes, ...]
    """Of every receiver, by seat, the dealer's own too; 48 bytes each."""


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

    seat: int
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

    seat: int
    entries: tuple[Justification, ...]
    """Strictly ascending by accuser."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Close:
    """Phase 5: the sender has its share and names what it computed."""

    seat: int
    transcript: Bytes32
    group_key: Point


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """The sender has waited long enough for the rest of a phase."""

    seat: int
    phase: Phase


DkgMessage: TypeAlias = Commit | Reveal | Complaints | Justifications | Close | Vote

_PHASES: Final[dict[type[Commit | Reveal | Complaints | Justifications | Close], Phase]] = {
    Commit: Phase.COMMIT,
    Reveal: Phase.REVEAL,
    Complaints: Phase.COMPLAINT,
    Justifications: Phase.JUSTIFICATION,
    Close: Phase.CLOSE,
}


def encode_message(message: DkgMessage, session: DkgSession) -> bytes:
    """Format u8 (1), step u8, session id, seat u8, then the fields in their order; counts are u8."""
    step = message.phase.vote if isinstance(message, Vote) else _PHASES[type(message)]
    head = bytes((_FORMAT, step)) + session.id + bytes((message.seat,))
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
        case Vote():
            return head


def _decode_commit(body: bytes, session: DkgSession, seat: int, receivers: int) -> Commit:
    if len(body) != 32 + POINT_BYTES + PROOF_BYTES:
        raise BadEncoding
    return Commit(
        seat=seat,
        opening_hash=Bytes32(body[:32]),
        sealing_key=GROUP.decode_point(body[32 : 32 + POINT_BYTES]),
        possession=Proof.from_bytes(body[32 + POINT_BYTES :]),
    )


def _decode_reveal(body: bytes, session: DkgSession, seat: int, receivers: int) -> Reveal:
    t = session.validators.t
    if body and body[0] != t:
        raise WrongDegree(seat, f"{body[0]} coefficients, t is {t}")
    proof_at = 1 + t * POINT_BYTES
    ephemeral_at = proof_at + PROOF_BYTES
    shares_at = ephemeral_at + POINT_BYTES + PROOF_BYTES
    if len(body) != shares_at + receivers * SEALED_SHARE_BYTES:
        raise BadEncoding
    return Reveal(
        seat=seat,
        commitments=GROUP.decode_points(body[1:proof_at]),
        possession=Proof.from_bytes(body[proof_at:ephemeral_at]),
        ephemeral=GROUP.decode_point(body[ephemeral_at : ephemeral_at + POINT_BYTES]),
        ephemeral_possession=Proof.from_bytes(body[ephemeral_at + POINT_BYTES : shares_at]),
        sealed_shares=tuple(body[i : i + SEALED_SHARE_BYTES] for i in range(shares_at, len(body), SEALED_SHARE_BYTES)),
    )


def _entries(body: bytes, others: Sequence[int], length: int) -> list[bytes]:
    # Each entry begins with another seat: one of `others`, ascending.
    if not body or len(body) != 1 + body[0] * length:
        raise BadEncoding
    entries = [body[i : i + length] for i in range(1, len(body), length)]
    named = [entry[0] for entry in entries]
    if named != sorted(set(named)) or not set(named) <= set(others):
        raise BadEncoding
    return entries


def _decode_complaints(body: bytes, session: DkgSession, seat: int, receivers: int) -> Complaints:
    entries = (
        Complaint(
            dealer=entry[0],
            shared=GROUP.decode_point(entry[1 : 1 + POINT_BYTES]),
            proof=Proof.from_bytes(entry[1 + POINT_BYTES :]),
        )
        for entry in _entries(body, [i for i in session.dealers if i != seat], _COMPLAINT)
    )
    return Complaints(seat=seat, entries=tuple(entries))


def _decode_justifications(body: bytes, session: DkgSession, seat: int, receivers: int) -> Justifications:
    entries = (
        Justification(accuser=entry[0], share=GROUP.decode_secret(entry[1:]))
        for entry in _entries(body, [i for i in session.recipients if i != seat], _JUSTIFICATION)
    )
    return Justifications(seat=seat, entries=tuple(entries))


def _decode_close(body: bytes, session: DkgSession, seat: int, receivers: int) -> Close:
    return Close(seat=seat, transcript=Bytes32(body[:32]), group_key=GROUP.decode_point(body[32:]))


_DECODERS: Final[dict[int, Callable[[bytes, DkgSession, int, int], DkgMessage]]] = {
    Phase.COMMIT: _decode_commit,
    Phase.REVEAL: _decode_reveal,
    Phase.COMPLAINT: _decode_complaints,
    Phase.JUSTIFICATION: _decode_justifications,
    Phase.CLOSE: _decode_close,
}


def decode_message(data: bytes, *, step: int, session: DkgSession, sender: int, receivers: int) -> DkgMessage:
    """Inverse of `encode_message`.

    Arguments:
        step: one of `STEPS`, that the board holds the message under.
        sender: seat that the board holds the message under; every error names it.
        receivers: how many seats get a sealed share: those whose commit counts.
    Raises:
        MalformedMessage: Not canonical, or of another step or size than this session's.
        WrongSession, WrongSender: The head names another session or sender.
        WrongDegree: A reveal with another number of coefficients than t.
    """
    data = bytes(data)
    if len(data) < _HEAD or data[0] != _FORMAT or data[1] != step:
        raise MalformedMessage(sender, f"no message of format 1 and step {step}")
    if data[2:34] != session.id:
        raise WrongSession(sender, "the message belongs to another session")
    if data[34] != sender:
        raise WrongSender(sender, f"the message names seat {data[34]}")
    body = data[_HEAD:]
    if step > _VOTE:
        if body:
            raise MalformedMessage(sender, "a vote has no body")
        return Vote(seat=sender, phase=phase_of(step))
    try:
        return _DECODERS[step](body, session, sender, receivers)
    except (BadEncoding, BadPoint, BadScalar, BadSecret) as error:
        raise MalformedMessage(sender, f"step {step}: a part is not canonical") from error
