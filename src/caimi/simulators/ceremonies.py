"""Key ceremonies in virtual time: a board, honest participants, and some that are not (spec 41)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Final

from caimi.crypto.dkg import DkgParticipant, Outgoing
from caimi.crypto.dkg_messages import (
    Commit,
    Complaints,
    DkgMessage,
    Phase,
    Reveal,
    encode_message,
)
from caimi.crypto.dkg_record import Outcome
from caimi.crypto.dkg_session import DkgSession
from caimi.crypto.dleq import Proof
from caimi.crypto.group import POINT_BYTES
from caimi.crypto.key_share import KeyShare
from caimi.crypto.secp256k1 import GROUP
from caimi.types.primitives import Bytes32

__all__ = ["Misbehaviour", "Post", "SimulatedCeremony"]

_PATIENCE: Final = 3
"""Rounds that a phase is open before an honest participant votes to close it."""
_ROUNDS: Final = 60
_FIRST_COMMITMENT: Final = 36
_JUNK: Final = Proof(challenge=1, response=2)


class Misbehaviour(Enum):
    """What a validator does that it should not, or what befalls it."""

    CRASHING = "crashes and restarts before every message"
    SILENT = "says nothing"
    WITHHOLDING = "commits and never reveals"
    VANISHING = "reveals and says nothing more"
    LATE = "says everything after its phase"
    EARLY = "says the next message before its phase"
    GARBAGE = "posts bytes that are no messages"
    REPLAYING = "posts messages of another attempt"
    IMPERSONATING = "posts messages that name another seat"
    EQUIVOCATING = "signs two messages for each place"
    VOTING_AT_ONCE = "votes to close every phase as soon as it opens"
    STEALING_A_KEY = "announces the sealing key of another"
    OPENING_ANOTHER = "reveals other commitments than it committed to"
    WRONG_DEGREE = "commits to a coefficient more"
    ZERO_CONSTANT = "deals zero"
    WRONG_CONSTANT = "deals another number than its share"
    WRONG_SHARES = "sends wrong shares and makes them good"
    UNANSWERING = "sends wrong shares and does not answer"
    WRONG_ANSWERS = "sends wrong shares and answers with wrong ones"
    FALSE_COMPLAINT = "complains about a right share"
    FORGED_COMPLAINT = "complains without proof"
    WRONG_CLOSE = "closes on another transcript"


_FALLS_SILENT: Final = {
    Misbehaviour.SILENT: Phase.COMMIT,
    Misbehaviour.WITHHOLDING: Phase.REVEAL,
    Misbehaviour.VANISHING: Phase.COMPLAINT,
    Misbehaviour.UNANSWERING: Phase.JUSTIFICATION,
}
_FOOLING: Final = frozenset({Misbehaviour.WRONG_SHARES, Misbehaviour.UNANSWERING, Misbehaviour.WRONG_ANSWERS})


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """One message on the board."""

    step: int
    seat: int
    body: bytes


class _Cheat(DkgParticipant):
    # Says what its misbehaviour is, where that is a message of its own making.
    behaviour: Misbehaviour = Misbehaviour.CRASHING

    def _own_message(self, phase: Phase) -> DkgMessage:
        message = super()._own_message(phase)
        match message, self.behaviour:
            case Reveal(), behaviour if behaviour in _FOOLING:
                return replace(message, sealed_shares=self._with_wrong_shares(message.sealed_shares))
            case Reveal(), Misbehaviour.OPENING_ANOTHER:
                return replace(message, commitments=(*message.commitments[:-1], GROUP.generator))
            case Reveal(), Misbehaviour.WRONG_DEGREE:
                return replace(message, commitments=(*message.commitments, GROUP.generator))
            case Commit(), Misbehaviour.STEALING_A_KEY if self.record.commits:
                stolen = next(iter(self.record.commits.values()))
                return replace(message, sealing_key=stolen.sealing_key, possession=stolen.possession)
            case Complaints(), Misbehaviour.FALSE_COMPLAINT | Misbehaviour.FORGED_COMPLAINT:
                return self._complaint(message)
            case _:
                return message

    def _with_wrong_shares(self, sealed: tuple[bytes, ...]) -> tuple[bytes, ...]:
        # To the first two others.
        victims = [seat for seat in self.record.receivers if seat != self.seat][:2]
        places = zip(self.record.receivers, sealed, strict=True)
        return tuple(bytes(len(share)) if seat in victims else share for seat, share in places)

    def _complaint(self, honest: Complaints) -> Complaints:
        right = next(d for d in sorted(self.record.reveals) if d != self.seat and d in self._shares)
        entry = self._dealer.complaint(self.record.reveals[right])
        if self.behaviour is Misbehaviour.FORGED_COMPLAINT:
            entry = replace(entry, proof=_JUNK)
        return replace(honest, entries=(entry,))


@dataclass(slots=True, kw_only=True)
class _Actor:
    participant: DkgParticipant
    behaviour: Misbehaviour | None
    share: KeyShare | None
    read: int = 0
    opened: tuple[Phase, int] = (Phase.COMMIT, 0)
    held_back: list[Outgoing] = field(default_factory=list[Outgoing])

    @property
    def seat(self) -> int:
        return self.participant.seat


class SimulatedCeremony:
    """One attempt, from empty board to its end."""

    def __init__(
        self,
        session: DkgSession,
        *,
        rng: random.Random,
        shares: Sequence[KeyShare | None] = (),
        bad: dict[int, Misbehaviour] | None = None,
    ) -> None:
        """Set the scene.

        Arguments:
            shares: of the dealers, by seat, in a resharing; None for who lost its own.
            bad: seats that misbehave.
        """
        self.session = session
        self.board: list[Post] = []
        """What is on the board, in its order."""
        self.refused: list[tuple[Post, Post]] = []
        """What the board has, and the other message for the same place that it refused."""
        self._rng = rng
        self._round = 0
        held = dict(enumerate(shares, start=1))
        behaviours = bad or {}
        self._actors = [
            self._actor(seat, behaviours.get(seat), held.get(seat)) for seat in range(1, len(session.seats) + 1)
        ]
        self._bad = frozenset(behaviours)

    @property
    def honest(self) -> tuple[DkgParticipant, ...]:
        """The participants that do not misbehave, by seat."""
        return tuple(actor.participant for actor in self._actors if actor.seat not in self._bad)

    def participant(self, seat: int) -> DkgParticipant:
        """The participant of a seat, honest or not."""
        return self._actors[seat - 1].participant

    def run(self) -> Outcome:
        """Play until every honest participant sees the attempt over and nobody has more to say."""
        for self._round in range(_ROUNDS):
            before = len(self.board)
            for actor in self._rng.sample(self._actors, len(self._actors)):
                self._turn(actor)
            over = all(participant.record.outcome is not Outcome.RUNNING for participant in self.honest)
            if over and len(self.board) == before:
                break
        for actor in self._actors:
            self._read(actor)
        return self.honest[0].record.outcome

    def _actor(self, seat: int, behaviour: Misbehaviour | None, share: KeyShare | None) -> _Actor:
        seed = Bytes32(self._rng.randbytes(32))
        if behaviour is None:
            participant = DkgParticipant(session=self.session, seat=seat, seed=seed, share=share)
        else:
            if behaviour is Misbehaviour.WRONG_CONSTANT and share is not None:
                share = replace(share, share=GROUP.add_secrets(share.share, GROUP.secret_of(1)))
            participant = _Cheat(session=self.session, seat=seat, seed=seed, share=share)
            participant.behaviour = behaviour
        return _Actor(participant=participant, behaviour=behaviour, share=share)

    # --- a turn: read, then say

    def _read(self, actor: _Actor) -> None:
        for post in self.board[actor.read :]:
            actor.participant.hear(post.step, post.seat, post.body)
        actor.read = len(self.board)

    def _turn(self, actor: _Actor) -> None:
        self._read(actor)
        if actor.behaviour is Misbehaviour.CRASHING:
            restarted = DkgParticipant.from_bytes(actor.participant.to_bytes(), share=actor.share)
            actor.participant = restarted
        participant = actor.participant
        phase = participant.record.phase
        if actor.opened[0] is not phase:
            actor.opened = phase, self._round
        owed = participant.outgoing()
        if owed is not None:
            self._say(actor, owed)
        elif self._round - actor.opened[1] >= _PATIENCE or actor.behaviour is Misbehaviour.VOTING_AT_ONCE:
            vote = participant.vote()
            if vote is not None and actor.behaviour not in _FALLS_SILENT:
                self._post(actor, vote.step, vote.body)
        if actor.behaviour is Misbehaviour.LATE:
            self._say_late(actor)

    def _post(self, actor: _Actor, step: int, body: bytes) -> None:
        post = Post(step=step, seat=actor.seat, body=body)
        for known in self.board:
            if (known.step, known.seat) == (step, actor.seat):
                if known.body != body:
                    self.refused.append((known, post))
                return
        self.board.append(post)

    def _say(self, actor: _Actor, owed: Outgoing) -> None:
        match actor.behaviour:
            case Misbehaviour() as silent if silent in _FALLS_SILENT and owed.step >= _FALLS_SILENT[silent]:
                return
            case Misbehaviour.STEALING_A_KEY if owed.step == Phase.COMMIT and not actor.participant.record.commits:
                return  # there is nothing to steal yet
            case Misbehaviour.LATE:
                if owed not in actor.held_back:
                    actor.held_back.append(owed)
                return
            case _:
                self._post(actor, owed.step, self._said(actor, owed))
        if actor.behaviour is Misbehaviour.EQUIVOCATING:
            self._post(actor, owed.step, owed.body + b"\x00")
        if actor.behaviour is Misbehaviour.EARLY and owed.step == Phase.COMMIT:
            self._post(actor, Phase.REVEAL, self._head(actor, Phase.REVEAL))

    def _say_late(self, actor: _Actor) -> None:
        over = actor.participant.record.outcome is not Outcome.RUNNING
        for owed in actor.held_back:
            if owed.step < actor.participant.record.phase or over:
                self._post(actor, owed.step, owed.body)

    def _head(self, actor: _Actor, step: int) -> bytes:
        return bytes((1, step)) + self.session.id + bytes((actor.seat,))

    def _said(self, actor: _Actor, owed: Outgoing) -> bytes:
        # The bytes in place of the owed ones, for what is not a message of the protocol at all.
        body = owed.body
        match actor.behaviour, owed.step:
            case Misbehaviour.GARBAGE, _:
                return self._rng.randbytes(100)
            case Misbehaviour.REPLAYING, _:
                other = replace(self.session, attempt=self.session.attempt + 1)
                return body[:2] + other.id + body[34:]
            case Misbehaviour.IMPERSONATING, _:
                return body[:34] + bytes((1 + actor.seat % len(self.session.seats),)) + body[35:]
            case Misbehaviour.ZERO_CONSTANT, Phase.REVEAL:
                end = _FIRST_COMMITMENT + POINT_BYTES
                return body[:_FIRST_COMMITMENT] + bytes(POINT_BYTES) + body[end:]
            case Misbehaviour.WRONG_ANSWERS, Phase.JUSTIFICATION:
                return body[:-1] + bytes((body[-1] ^ 1,))
            case Misbehaviour.WRONG_CLOSE, Phase.CLOSE:
                close = replace(actor.participant.record.close_of(actor.seat), transcript=Bytes32(bytes(32)))
                return encode_message(close, self.session)
            case _:
                return body
