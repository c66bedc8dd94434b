"""Checks of a ceremony's messages that need no secret, and the key that they give (spec 41 §2, §3)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from caimi.crypto.dkg_dealer import open_share, opening_hash, possession_context, verify_share
from caimi.crypto.dkg_errors import (
    BadComplaint,
    BadPossession,
    DegenerateKey,
    DuplicateSealingKey,
    FalseComplaint,
    NotDue,
    UnaskedJustification,
    WrongConstant,
    WrongOpening,
    WrongShare,
)
from caimi.crypto.dkg_messages import NO_OPENING, Commit, Complaint, Justifications, Reveal
from caimi.crypto.dkg_session import DkgSession
from caimi.crypto.dleq import Proof, verify_proof
from caimi.crypto.errors import InvalidProof
from caimi.crypto.group import Point
from caimi.crypto.key_share import ThresholdKey
from caimi.crypto.polynomial import evaluate_points, lagrange
from caimi.crypto.secp256k1 import GROUP
from caimi.wire.keccak import Tag

__all__ = ["dealer_factors", "key_of", "verify_commit", "verify_complaint", "verify_justifications", "verify_reveal"]


def _verify_possession(session: DkgSession, seat: int, what: bytes, image: Point, proof: Proof) -> None:
    context = possession_context(session, seat, what)
    try:
        verify_proof(Tag.DKG_POSSESSION, context=context, bases=(GROUP.generator,), images=(image,), proof=proof)
    except InvalidProof as error:
        raise BadPossession(seat, f"no proof of the {what.decode()} key's secret") from error


def verify_commit(session: DkgSession, commit: Commit, others: Iterable[Commit]) -> None:
    """Check a first message against those that count already.

    Raises:
        NotDue, BadPossession, DuplicateSealingKey: See `caimi.crypto.dkg_errors`.
    """
    if commit.opening_hash != NO_OPENING and commit.seat not in session.dealers:
        raise NotDue(commit.seat, "it holds no share to deal")
    _verify_possession(session, commit.seat, b"sealing", commit.sealing_key, commit.possession)
    if any(commit.sealing_key == other.sealing_key for other in others):
        raise DuplicateSealingKey(commit.seat, "the sealing key is another validator's")


def verify_reveal(session: DkgSession, reveal: Reveal, commit: Commit) -> None:
    """Check a dealer's commitments against its first message, and in a resharing against its verification key.

    Raises:
        WrongOpening, WrongConstant, BadPossession: See `caimi.crypto.dkg_errors`.
    """
    if opening_hash(session, reveal) != commit.opening_hash:
        raise WrongOpening(reveal.seat, "the commitments are not those of its first message")
    if session.earlier is not None and reveal.commitments[0] != session.earlier.key.verification_keys[reveal.seat - 1]:
        raise WrongConstant(reveal.seat, "it deals something else than its share")
    _verify_possession(session, reveal.seat, b"constant", reveal.commitments[0], reveal.possession)
    _verify_possession(session, reveal.seat, b"ephemeral", reveal.ephemeral, reveal.ephemeral_possession)


def verify_complaint(
    session: DkgSession, entry: Complaint, *, accuser: Commit, reveal: Reveal, receivers: Sequence[int]
) -> WrongShare:
    """Check one accusation.

    Returns:
        The proven fault of the dealer.
    Raises:
        BadComplaint: The accuser does not prove what it received.
        FalseComplaint: What it received is right.
    """
    try:
        verify_proof(
            Tag.DKG_COMPLAINT,
            context=(session.id, bytes((entry.dealer, accuser.seat))),
            bases=(GROUP.generator, reveal.ephemeral),
            images=(accuser.sealing_key, entry.shared),
            proof=entry.proof,
        )
    except InvalidProof as error:
        raise BadComplaint(accuser.seat, f"no proof of what seat {entry.dealer} sent") from error
    try:
        open_share(
            session,
            reveal=reveal,
            receivers=receivers,
            seat=accuser.seat,
            sealing_key=accuser.sealing_key,
            shared=entry.shared,
        )
    except WrongShare as fault:
        return fault
    raise FalseComplaint(accuser.seat, f"the share of seat {entry.dealer} is right")


def verify_justifications(
    session: DkgSession, answer: Justifications, *, reveal: Reveal, accusers: Iterable[int]
) -> None:
    """Check an accused dealer's answer.

    Raises:
        UnaskedJustification: It does not answer exactly the complaints of `accusers`.
        WrongShare: A share is wrong again.
    """
    asked = set(accusers)
    if {entry.accuser for entry in answer.entries} != asked:
        raise UnaskedJustification(answer.seat, f"the complaints are of {sorted(asked)}")
    for entry in answer.entries:
        verify_share(entry.share, reveal=reveal, at=session.share_index(entry.accuser))


def dealer_factors(session: DkgSession, qualified: Sequence[int]) -> tuple[int, ...]:
    """By which the contributions of the qualified dealers are multiplied: 1, or the Lagrange factors at 0."""
    if session.earlier is None:
        return (1,) * len(qualified)
    return lagrange(qualified)


def key_of(session: DkgSession, reveals: Mapping[int, Reveal], qualified: Sequence[int]) -> ThresholdKey:
    """The public key that the qualified dealers' polynomials give.

    Raises:
        DegenerateKey: The group key or a verification key is the point at infinity.
    """
    factors = dealer_factors(session, qualified)
    columns = zip(*(reveals[dealer].commitments for dealer in qualified), strict=True)
    total = tuple(_weighted(column, factors) for column in columns)
    verification_keys = tuple(evaluate_points(total, at) for at in range(1, session.validators.n + 1))
    if total[0].is_infinity or any(key.is_infinity for key in verification_keys):
        raise DegenerateKey("a sum of contributions is the point at infinity")
    return ThresholdKey(
        epoch=session.epoch,
        threshold=session.validators.t,
        group_key=total[0],
        verification_keys=verification_keys,
    )


def _weighted(points: Sequence[Point], factors: Sequence[int]) -> Point:
    terms = zip(points, factors, strict=True)
    return GROUP.add(*(point if factor == 1 else GROUP.multiply_public(point, factor) for point, factor in terms))
