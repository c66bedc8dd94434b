"""One validator in a key ceremony: a pure, restartable state machine over the board's messages (spec 41).

A participant is fed the board's messages in their order, its own too, and says which message it owes. All that it says
follows from its seed, its session, its earlier share and the messages heard, so that after a restart it repeats the
same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from caimi.crypto.dkg_checks import dealer_factors
from caimi.crypto.dkg_dealer import Dealer
from caimi.crypto.dkg_errors import DkgFault, ForeignOwnMessage, WrongShare
from caimi.crypto.dkg_messages import (
    Complaints,
    DkgMessage,
    Justification,
    Justifications,
    Phase,
    Vote,
    encode_message,
)
from caimi.crypto.dkg_record import DkgRecord, Outcome
from caimi.crypto.dkg_session import DkgSession
from caimi.crypto.errors import BadKeyShare, CryptoError
from caimi.crypto.group import SecretScalar
from caimi.crypto.key_share import KeyShare
from caimi.crypto.secp256k1 import GROUP
from caimi.types.errors import BadEncoding, OutOfRange
from caimi.types.primitives import Bytes32

__all__ = ["MAX_BODY", "DkgParticipant", "Heard", "Outgoing"]

_FORMAT: Final = 2
MAX_BODY: Final = 65_536
"""Longest message that the board takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """One message of the board."""

    step: int
    sender: int
    """Seat."""
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A message that this participant has for the board."""

    step: int
    body: bytes


class DkgParticipant:
    """One validator in one attempt.

    The driver repeats: read the board, `hear` what is new, store `to_bytes()` encrypted, post `outgoing()` if there is
    one, or `vote()` once it has waited long enough. `record` says how far it is and who is to blame.
    """

    def __init__(self, *, session: DkgSession, seat: int, seed: Bytes32, share: KeyShare | None = None) -> None:
        """Take part.

        Arguments:
            seat: 1 to the number of the session's seats; in a generation the share index.
            seed: 32 fresh random bytes, used for this attempt only and kept until the share is stored.
            share: in a resharing, this dealer's share of the earlier key; None if it has none, or lost it.
        Raises:
            OutOfRange: There is no such seat.
            BadLength: The seed is not 32 bytes.
            BadKeyShare: The share is not this dealer's of the session's earlier key.
        """
        if not 1 <= seat <= len(session.seats):
            raise OutOfRange(8, seat)
        if share is not None:
            earlier = None if session.earlier is None else session.earlier.key
            if earlier != share.public or share.index != seat:
                raise BadKeyShare
        self.session = session
        self.seat = seat
        self.record = DkgRecord(session)
        """What everybody knows."""
        self.heard: list[Heard] = []
        """Every message, in the board's order."""
        self._seed = seed
        self._dealer = Dealer(session=session, seat=seat, seed=seed, constant=None if share is None else share.share)
        self.displaced: ForeignOwnMessage | None = None
        """Set when the board holds an own message that this participant would not make: it says nothing more."""
        self._shares: dict[int, SecretScalar] = {}
        self._wronged: set[int] = set()

    # --- what the participant says

    def outgoing(self) -> Outgoing | None:
        """The message that this participant owes in the open phase; None if the board has it, or none is due."""
        record = self.record
        if record.outcome is Outcome.FAILED or self.displaced is not None:
            return None
        if self.seat not in record.waiting_for or (record.phase is Phase.CLOSE and not self.has_share):
            return None
        body = encode_message(self._own_message(record.phase), self.session)
        return Outgoing(step=record.phase, body=body)

    def vote(self) -> Outgoing | None:
        """The vote to close the open phase, for when it has been open for long enough; None if there is none to cast.

        None too while the own message is missing, before enough others are there, and once the board has the vote.
        """
        record, phase = self.record, self.record.phase
        if record.outcome is not Outcome.RUNNING or self.seat not in self.session.dealers:
            return None
        if record.has_posted(self.seat, phase.vote) or not record.has_enough or self.outgoing() is not None:
            return None
        if phase is Phase.CLOSE and record.has_posted(self.seat, phase) and not record.has_spoken_out:
            return None
        return Outgoing(step=phase.vote, body=encode_message(Vote(seat=self.seat, phase=phase), self.session))

    @property
    def has_share(self) -> bool:
        """Whether this participant has a right share of every qualified dealer; known in phase 5."""
        return self.seat in self.record.receivers and set(self.record.qualified) <= self._shares.keys()

    def result(self) -> KeyShare | None:
        """This validator's share, once q receivers closed on the same transcript and key.

        None before, and for who is no recipient or has no share (`has_share`): the next refresh gives it one.
        """
        key = self.record.key
        if self.record.outcome is not Outcome.DONE or key is None or not self.has_share or self.displaced is not None:
            return None
        qualified = self.record.qualified
        factors = zip(qualified, dealer_factors(self.session, qualified), strict=True)
        share = KeyShare(
            epoch=key.epoch,
            index=self.session.share_index(self.seat),
            share=GROUP.sum_secrets(
                GROUP.multiply_secrets(GROUP.secret_of(factor), self._shares[dealer]) for dealer, factor in factors
            ),
            group_key=key.group_key,
            verification_keys=key.verification_keys,
            threshold=key.threshold,
        )
        share.verify()
        return share

    def _own_message(self, phase: Phase) -> DkgMessage:
        record = self.record
        match phase:
            case Phase.COMMIT:
                return self._dealer.commit()
            case Phase.REVEAL:
                return self._dealer.reveal({seat: record.commits[seat].sealing_key for seat in record.receivers})
            case Phase.COMPLAINT:
                wronged = (reveal for dealer, reveal in sorted(record.reveals.items()) if dealer not in self._shares)
                return Complaints(seat=self.seat, entries=tuple(self._dealer.complaint(reveal) for reveal in wronged))
            case Phase.JUSTIFICATION:
                accusers = sorted(record.accused[self.seat])
                opened = (Justification(accuser=seat, share=self._dealer.share_for(seat)) for seat in accusers)
                return Justifications(seat=self.seat, entries=tuple(opened))
            case Phase.CLOSE:
                return record.close_of(self.seat)

    # --- what the participant hears

    def hear(self, step: int, sender: int, body: bytes) -> tuple[DkgFault, ...]:
        """Take the next message of the board. The same message again is a no-op.

        Returns:
            The faults that showed with it.
        Raises:
            OutOfRange: There is no such step.
            BadEncoding: The body is longer than the board allows.
        """
        if len(body) > MAX_BODY:
            raise BadEncoding
        if self.record.has_posted(sender, step):
            return self.record.hear(step, sender, body)
        if sender == self.seat and self._is_foreign(step, body):
            problem = f"the board's message of step {step} is not this participant's"
            self.displaced = self.displaced or ForeignOwnMessage(sender, problem)
        faults = self.record.hear(step, sender, body)
        self.heard.append(Heard(step=step, sender=sender, body=bytes(body)))
        self._take_shares()
        return faults

    def _is_foreign(self, step: int, body: bytes) -> bool:
        # Late ones cannot be judged any more: what was owed then is not owed now.
        owed = self.outgoing()
        if step == self.record.phase and self.record.outcome is not Outcome.FAILED:
            return owed is None or owed.body != body
        return step in tuple(Phase) and step > self.record.phase

    def _take_shares(self) -> None:
        record = self.record
        if self.seat not in record.receivers:
            return
        for dealer in record.reveals.keys() - self._shares.keys() - self._wronged:
            try:
                self._shares[dealer] = self._dealer.open(record.reveals[dealer], record.receivers)
            except WrongShare:
                # Only this participant can see it: the share stays absent and phase 3 says so.
                self._wronged.add(dealer)
        for dealer in self._wronged - self._shares.keys():
            made_good = record.opened.get((dealer, self.seat))
            if made_good is not None:
                self._shares[dealer] = made_good

    # --- storage

    def to_bytes(self) -> bytes:
        """The whole state but the earlier share. SECRET: to be stored encrypted.

        Format u8 (2), session (u16 length), seat u8, seed 32, then each message in the board's order (step u8, sender
        u8, u32 length).
        """
        session = self.session.to_bytes()
        head = bytes((_FORMAT,)) + len(session).to_bytes(2, "big") + session + bytes((self.seat,)) + self._seed
        messages = (bytes((m.step, m.sender)) + len(m.body).to_bytes(4, "big") + m.body for m in self.heard)
        return head + b"".join(messages)

    @classmethod
    def from_bytes(cls, data: bytes, *, share: KeyShare | None = None) -> DkgParticipant:
        """Inverse of `to_bytes`: hears everything again.

        Arguments:
            share: as for the participant that was stored.
        Raises:
            BadEncoding: Not the canonical form.
            BadQuorum, BadValidatorSet: A set of the session is outside its bounds.
            BadKeyShare: See `DkgParticipant`.
        """
        # The format, like everything here, is compared at the end.
        at = 3 + int.from_bytes(data[1:3], "big")
        if len(data) < at + 33:
            raise BadEncoding
        try:
            session = DkgSession.from_bytes(data[3:at])
            participant = cls(session=session, seat=data[at], seed=Bytes32(data[at + 1 : at + 33]), share=share)
            at += 33
            while at < len(data):
                length = int.from_bytes(data[at + 2 : at + 6], "big")
                participant.hear(data[at], int.from_bytes(data[at + 1 : at + 2], "big"), data[at + 6 : at + 6 + length])
                at += 6 + length
        except BadKeyShare:
            raise
        except (CryptoError, OutOfRange) as error:
            raise BadEncoding from error
        if participant.to_bytes() != data:
            raise BadEncoding
        return participant

    def __repr__(self) -> str:
        return f"DkgParticipant(seat={self.seat}, {self.record.phase.name}, waiting_for={self.record.waiting_for})"
