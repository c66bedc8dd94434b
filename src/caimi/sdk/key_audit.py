"""What the ledger says of a key's making: every message, its signature, and what follows from them (spec 41 §4)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass

from caimi.crypto.dkg_errors import AttemptFailed, DkgFault
from caimi.crypto.dkg_messages import STEPS, Phase, board_phase, split_board_phase
from caimi.crypto.dkg_record import DkgRecord, Outcome
from caimi.crypto.dkg_session import MAX_ATTEMPTS, DkgSession
from caimi.crypto.ecdsa import verify_signer
from caimi.crypto.key_share import ThresholdKey
from caimi.ports.chain import BoardMessage
from caimi.sdk.errors import UnprovenKey
from caimi.types.errors import BadLength, BadSignature, HighS, WrongSigner
from caimi.types.primitives import Bytes32
from caimi.types.records import BoardPost, Lane
from caimi.wire.digests import typed_digest
from caimi.wire.keccak import keccak256

__all__ = ["AuditedAttempt", "audit_key", "made_key"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditedAttempt:
    """One attempt as anybody finds it who reads the ledger."""

    attempt: int
    """0 to 15."""
    outcome: Outcome
    phase: Phase
    """The one that is open, or the last one."""
    waits_for: tuple[int, ...]
    """Seats whose message the open phase misses; none when the attempt is over."""
    failure: AttemptFailed | None
    messages: int
    """How many the board holds."""
    receivers: tuple[int, ...]
    """Seats that the shares were sealed to."""
    qualified: tuple[int, ...]
    """Dealers whose polynomials make the key."""
    faults: tuple[DkgFault, ...]
    """In the order in which they showed; each names its culprit and how sure that is."""
    transcript: Bytes32
    key: ThresholdKey | None
    """The key that came out; None unless the outcome is DONE."""


def audit_key(session: DkgSession, messages: Iterable[BoardMessage], *, board: Lane) -> tuple[AuditedAttempt, ...]:
    """Judge every attempt that the ledger knows of, from its messages alone.

    Arguments:
        session: of the first attempt.
        messages: of the session's epoch, in the ledger's order.
        board: the lane of the registry that holds them.
    Returns:
        The attempts from 0 on, up to the first that is not failed; at least one.
    Raises:
        UnprovenKey: The ledger holds a message that its seat's account did not sign.
    """
    said = tuple(messages)
    for message in said:
        _verify_signed(session, message, board)
    attempts: list[AuditedAttempt] = []
    for attempt in range(MAX_ATTEMPTS):
        attempts.append(_audited(dataclasses.replace(session, attempt=attempt), said))
        if attempts[-1].outcome is not Outcome.FAILED:
            break
    return tuple(attempts)


def made_key(attempts: Iterable[AuditedAttempt]) -> ThresholdKey | None:
    """The key that the attempts made, None if there is none yet."""
    return next((attempt.key for attempt in attempts if attempt.key is not None), None)


def _verify_signed(session: DkgSession, message: BoardMessage, board: Lane) -> None:
    post = BoardPost(
        at=board,
        epoch=session.epoch,
        phase=message.phase,
        index=message.index,
        body_hash=keccak256(message.body),
    )
    place = f"phase {message.phase} of seat {message.index}"
    if not 1 <= message.index <= len(session.seats):
        raise UnprovenKey(f"{place}: there is no such seat")
    try:
        verify_signer(typed_digest(session.network, post), message.signature, session.seats[message.index - 1])
    except (BadLength, BadSignature, HighS, WrongSigner) as error:
        raise UnprovenKey(f"{place}: {error}") from error


def _audited(session: DkgSession, said: tuple[BoardMessage, ...]) -> AuditedAttempt:
    record, count = DkgRecord(session), 0
    for message in said:
        _, step = split_board_phase(message.phase)
        if step in STEPS and board_phase(session, step) == message.phase:
            record.hear(step, message.index, message.body)
            count += 1
    return AuditedAttempt(
        attempt=session.attempt,
        outcome=record.outcome,
        phase=record.phase,
        waits_for=record.waiting_for if record.outcome is Outcome.RUNNING else (),
        failure=record.failure,
        messages=count,
        receivers=record.receivers,
        qualified=record.qualified,
        faults=tuple(record.faults),
        transcript=record.transcript(),
        key=record.key if record.outcome is Outcome.DONE else None,
    )
