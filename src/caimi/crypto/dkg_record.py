"""What a ceremony's messages give in the board's order, for everybody alike: no secret is needed (spec 41 §3)."""

from __future__ import annotations

from collections import defaultdict
from enum import Enum

from caimi.crypto.dkg_checks import key_of, verify_commit, verify_complaint, verify_justifications, verify_reveal
from caimi.crypto.dkg_errors import (
    AttemptFailed,
    BadComplaint,
    DegenerateKey,
    DkgFault,
    DuplicateMessage,
    LateMessage,
    NotClosed,
    NotDue,
    OutOfPhase,
    SilentSeat,
    TooFewDealers,
    TooFewReceivers,
    UnaskedJustification,
    WrongSender,
    WrongTranscript,
)
from caimi.crypto.dkg_messages import (
    NO_OPENING,
    STEPS,
    Close,
    Commit,
    Complaints,
    Justifications,
    Phase,
    Reveal,
    Vote,
    decode_message,
    phase_of,
)
from caimi.crypto.dkg_session import DkgSession
from caimi.crypto.group import SecretScalar
from caimi.crypto.key_share import ThresholdKey
from caimi.types.errors import OutOfRange
from caimi.types.failure import Certainty
from caimi.types.primitives import Bytes32
from caimi.wire.keccak import Tag, tagged_hash

__all__ = ["DkgRecord", "Outcome"]


class Outcome(Enum):
    """How an attempt stands."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class DkgRecord:
    """One attempt as the board tells it. Two that heard the same messages in the same order are alike."""

    def __init__(self, session: DkgSession) -> None:
        """Begin with nothing heard."""
        self.session = session
        self.phase = Phase.COMMIT
        """The open phase; the last one when the attempt is over."""
        self.outcome = Outcome.RUNNING
        self.failure: AttemptFailed | None = None
        """Why the outcome is FAILED."""
        self.faults: list[DkgFault] = []
        """In the order in which they showed."""
        self.commits: dict[int, Commit] = {}
        self.reveals: dict[int, Reveal] = {}
        self.accused: dict[int, set[int]] = {}
        """Dealers proven to have sent a wrong share, with those that they sent it to."""
        self.opened: dict[tuple[int, int], SecretScalar] = {}
        """Shares that accused dealers have made good, by dealer and accuser: public now."""
        self.receivers: tuple[int, ...] = ()
        """Seats that the shares are sealed to, ascending; known once phase 1 is over."""
        self.qualified: tuple[int, ...] = ()
        """Dealers whose polynomials count, ascending; known in phase 5."""
        self.key: ThresholdKey | None = None
        """The public key that comes out; known in phase 5, final with the outcome DONE."""
        self._bodies: dict[tuple[int, int], bytes] = {}
        self._counted: dict[tuple[Phase, int], bytes] = {}
        self._votes: defaultdict[Phase, set[int]] = defaultdict(set)

    # --- questions

    @property
    def due(self) -> tuple[int, ...]:
        """Seats that the open phase asks for a message, ascending."""
        return self._asked(self.phase)

    @property
    def waiting_for(self) -> tuple[int, ...]:
        """Those of them that have posted nothing, ascending."""
        return tuple(seat for seat in self.due if not self.has_posted(seat, self.phase))

    def has_posted(self, seat: int, step: int) -> bool:
        """Whether the board holds a message of that seat and step, sound or not."""
        return (step, seat) in self._bodies

    @property
    def has_enough(self) -> bool:
        """Whether votes may close the open phase: the sound messages suffice for what follows."""
        return self._lack() is None

    @property
    def has_spoken_out(self) -> bool:
        """Whether n - f dealers have closed, or voted to give the attempt up (spec 41 §3)."""
        dealing = self.session.dealing
        closed = {seat for seat in self.session.dealers if self.has_posted(seat, Phase.CLOSE)}
        return len(closed | self._votes[Phase.CLOSE]) >= dealing.n - dealing.f

    def culprits(self, certainty: Certainty) -> tuple[int, ...]:
        """Seats with a fault of that certainty, ascending, each once."""
        return tuple(sorted({fault.culprit for fault in self.faults if fault.certainty is certainty}))

    def transcript(self) -> Bytes32:
        """Hash over every message of phases 1 to 4 that counts, by phase and seat."""
        parts = (self._counted[key] for key in sorted(self._counted) if key[0] is not Phase.CLOSE)
        return tagged_hash(Tag.DKG_TRANSCRIPT, self.session.id, *parts)

    def close_of(self, seat: int) -> Close:
        """What a receiver says in phase 5.

        Raises:
            OutOfPhase: There is no key yet.
        """
        if self.key is None:
            raise OutOfPhase(seat, f"phase {Phase.CLOSE} is not open, {self.phase} is")
        return Close(seat=seat, transcript=self.transcript(), group_key=self.key.group_key)

    # --- hearing

    def hear(self, step: int, sender: int, body: bytes) -> tuple[DkgFault, ...]:
        """Take the next message of the board; the same message again is a no-op.

        Arguments:
            step: one of `STEPS`, that the board holds the message under.
            sender: seat whose signature the board has verified.
            body: at most 65,536 bytes.
        Returns:
            The faults that showed with it, also those of seats that a closed phase misses.
        Raises:
            OutOfRange: There is no such step.
        """
        if step not in STEPS:
            raise OutOfRange(8, step)
        known, before = len(self.faults), self._bodies.get((step, sender))
        if before is None:
            # Whatever it is worth: its seat has nothing more to say in this step.
            self._bodies[step, sender] = bytes(body)
            try:
                self._judge(step, sender, body)
            except DkgFault as fault:
                self.faults.append(fault)
            while self.outcome is Outcome.RUNNING and self._is_over():
                self._leave()
        elif before != body:
            self.faults.append(DuplicateMessage(sender, f"another message of step {step} was there before"))
        return tuple(self.faults[known:])

    def _judge(self, step: int, sender: int, body: bytes) -> None:
        phase = phase_of(step)
        is_vote = step == phase.vote
        if not 1 <= sender <= len(self.session.seats):
            raise WrongSender(sender, f"seats are 1 to {len(self.session.seats)}")
        if phase > self.phase:
            raise OutOfPhase(sender, f"phase {phase} is not open, {self.phase} is")
        if is_vote and (phase < self.phase or self.outcome is not Outcome.RUNNING):
            return
        self._check_asked(sender, phase, is_vote=is_vote)
        message = decode_message(body, step=step, session=self.session, sender=sender, receivers=len(self.receivers))
        if isinstance(message, Vote):
            self._votes[phase].add(sender)
            return
        if phase < self.phase or self.outcome is Outcome.FAILED:
            raise LateMessage(sender, f"phase {phase} is over")
        self._accept(message)
        self._counted[phase, sender] = bytes(body)

    def _check_asked(self, sender: int, phase: Phase, *, is_vote: bool) -> None:
        if is_vote:
            if sender not in self.session.dealers:
                raise NotDue(sender, "only dealers vote")
        elif sender not in self._asked(phase):
            if phase is Phase.JUSTIFICATION:
                raise UnaskedJustification(sender, "nobody's complaint holds against it")
            raise NotDue(sender, f"phase {phase} asks nothing of it")

    def _asked(self, phase: Phase) -> tuple[int, ...]:
        match phase:
            case Phase.COMMIT:
                return tuple(range(1, len(self.session.seats) + 1))
            case Phase.REVEAL:
                return tuple(sorted(seat for seat, commit in self.commits.items() if commit.opening_hash != NO_OPENING))
            case Phase.JUSTIFICATION:
                return tuple(sorted(self.accused))
            case Phase.COMPLAINT | Phase.CLOSE:
                return self.receivers

    # --- what a message does

    def _accept(self, message: Commit | Reveal | Complaints | Justifications | Close) -> None:
        match message:
            case Commit():
                verify_commit(self.session, message, self.commits.values())
                self.commits[message.seat] = message
            case Reveal():
                verify_reveal(self.session, message, self.commits[message.seat])
                self.reveals[message.seat] = message
            case Complaints():
                self._accept_complaints(message)
            case Justifications():
                reveal, accusers = self.reveals[message.seat], self.accused[message.seat]
                verify_justifications(self.session, message, reveal=reveal, accusers=accusers)
                self.opened |= {(message.seat, entry.accuser): entry.share for entry in message.entries}
            case Close():
                self._accept_close(message)

    def _accept_complaints(self, complaints: Complaints) -> None:
        accuser = self.commits[complaints.seat]
        held: list[DkgFault] = []
        for entry in complaints.entries:
            reveal = self.reveals.get(entry.dealer)
            if reveal is None:
                raise BadComplaint(accuser.seat, f"seat {entry.dealer} sent nothing that counts")
            fault = verify_complaint(self.session, entry, accuser=accuser, reveal=reveal, receivers=self.receivers)
            held.append(fault)
        # All or none: one false entry refuses the whole message.
        for fault in held:
            self.accused.setdefault(fault.culprit, set()).add(accuser.seat)
        self.faults += held

    def _accept_close(self, close: Close) -> None:
        if close != self.close_of(close.seat):
            raise WrongTranscript(close.seat, "it closes on another transcript or key")

    # --- phases

    def _count(self, phase: Phase) -> int:
        return sum(1 for counted, _ in self._counted if counted is phase)

    def _lack(self) -> AttemptFailed | None:
        dealing, receiving = self.session.dealing, self.session.validators
        dealers, receivers = dealing.n - dealing.f, receiving.n - receiving.f
        match self.phase:
            case Phase.COMMIT:
                if len(self._asked(Phase.REVEAL)) < dealers:
                    return TooFewDealers(f"{len(self._asked(Phase.REVEAL))} commit to a polynomial, {dealers} must")
                found = sum(1 for seat in self.commits if self.session.is_recipient(seat))
                return None if found >= receivers else TooFewReceivers(f"{found} have a sealing key, {receivers} must")
            case Phase.REVEAL:
                found = len(self.reveals)
                return None if found >= dealers else TooFewDealers(f"{found} have revealed, {dealers} must")
            case Phase.COMPLAINT:
                found = self._count(Phase.COMPLAINT)
                return None if found >= receivers else TooFewReceivers(f"{found} have looked, {receivers} must")
            case Phase.JUSTIFICATION | Phase.CLOSE:
                return None

    def _is_over(self) -> bool:
        if self.phase is Phase.CLOSE and self._count(Phase.CLOSE) >= self.session.validators.q:
            return True
        return not self.waiting_for or (len(self._votes[self.phase]) >= self.session.dealing.q and self.has_enough)

    def _leave(self) -> None:
        if self.phase is Phase.CLOSE and self._count(Phase.CLOSE) >= self.session.validators.q:
            self.outcome = Outcome.DONE
            return
        for seat in self.waiting_for:
            if seat not in self._votes[self.phase]:
                self.faults.append(SilentSeat(seat, f"it had posted nothing when phase {self.phase} was closed"))
        match self.phase:
            case Phase.COMMIT:
                self._go_on(Phase.REVEAL)
                self.receivers = tuple(sorted(seat for seat in self.commits if self.session.is_recipient(seat)))
            case Phase.REVEAL:
                self._go_on(Phase.COMPLAINT)
            case Phase.COMPLAINT if self.accused:
                self.phase = Phase.JUSTIFICATION
            case Phase.COMPLAINT | Phase.JUSTIFICATION:
                self._settle()
            case Phase.CLOSE:
                self._fail(NotClosed(f"{self._count(Phase.CLOSE)} closed, {self.session.validators.q} must"))

    def _go_on(self, phase: Phase) -> None:
        lack = self._lack()
        if lack is None:
            self.phase = phase
        else:
            self._fail(lack)

    def _settle(self) -> None:
        kept = (
            seat for seat in self.reveals if seat not in self.accused or (Phase.JUSTIFICATION, seat) in self._counted
        )
        qualified, dealing = tuple(sorted(kept)), self.session.dealing
        if len(qualified) < dealing.n - dealing.f:
            self._fail(TooFewDealers(f"{len(qualified)} dealers qualify, {dealing.n - dealing.f} must"))
            return
        try:
            self.key = key_of(self.session, self.reveals, qualified)
        except DegenerateKey as failure:
            self._fail(failure)
            return
        self.qualified, self.phase = qualified, Phase.CLOSE

    def _fail(self, failure: AttemptFailed) -> None:
        self.outcome, self.failure = Outcome.FAILED, failure
