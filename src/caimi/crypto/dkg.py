"""Distributed key generation over a board that everybody reads alike: a pure, restartable state machine (spec 40 §7).

A participant is fed the board's messages, its own too, and says which message it owes. All that it says follows from
its seed, its session and the messages accepted so far, so that after a restart it repeats the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from caimi.crypto.dkg_dealer import Dealer, open_share, opening_hash, possession_context, verify_share
from caimi.crypto.dkg_errors import (
    BadComplaint,
    BadPossession,
    DegenerateKey,
    DkgFault,
    DuplicateMessage,
    DuplicateSealingKey,
    FalseComplaint,
    ForeignOwnMessage,
    OutOfPhase,
    UnaskedJustification,
    WrongOpening,
    WrongShare,
    WrongTranscript,
)
from caimi.crypto.dkg_messages import (
    Close,
    Commit,
    Complaints,
    DkgMessage,
    DkgSession,
    Justification,
    Justifications,
    Phase,
    Reveal,
    decode_message,
    encode_message,
)
from caimi.crypto.dleq import Proof, verify_proof
from caimi.crypto.errors import InvalidProof
from caimi.crypto.group import Point, SecretScalar
from caimi.crypto.key_share import KeyShare
from caimi.crypto.polynomial import evaluate_points
from caimi.crypto.secp256k1 import GROUP
from caimi.types.errors import BadEncoding, OutOfRange
from caimi.types.primitives import Bytes32
from caimi.wire.keccak import Tag, tagged_hash

__all__ = ["DkgParticipant", "Outgoing"]

_FORMAT: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A message that this participant owes to the board."""

    phase: Phase
    body: bytes


class DkgParticipant:
    """One validator in one session.

    The driver repeats: store `to_bytes()` encrypted, post `outgoing()` if there is one, read the board, `receive` what
    is new. A `DkgFault` from `receive` names the culprit; the message does not count and the state is as before. In
    this version every dealer takes part: a dealer that never sends a sound message stops the run.
    """

    def __init__(self, *, session: DkgSession, index: int, seed: Bytes32) -> None:
        """Take part as share index `index` (validator index - 1).

        Arguments:
            seed: 32 fresh random bytes, used for this session only and kept until the share is stored.
        Raises:
            OutOfRange: The index is not in 1..n.
            BadLength: The seed is not 32 bytes.
        """
        if index not in session.indices:
            raise OutOfRange(8, index)
        self.session = session
        self.index = index
        self._seed = seed
        self._dealer = Dealer(session=session, index=index, seed=seed)
        self._bodies: dict[tuple[Phase, int], bytes] = {}
        self._commits: dict[int, Commit] = {}
        self._reveals: dict[int, Reveal] = {}
        self._shares: dict[int, SecretScalar] = {}
        # Dealer to the accusers that proved a wrong share.
        self._accused: dict[int, set[int]] = {}

    # --- what the participant says

    @property
    def phase(self) -> Phase:
        """The phase that is open: the first that not all have sent their message for. Justification only if needed."""
        for phase in Phase:
            if self._missing(phase):
                return phase
        return Phase.CLOSE

    @property
    def waiting_for(self) -> tuple[int, ...]:
        """Share indices whose message of the open phase is missing, ascending."""
        return self._missing(self.phase)

    @property
    def accused(self) -> dict[int, tuple[int, ...]]:
        """Dealers proven to have sent a wrong share, with those that they sent it to."""
        return {dealer: tuple(sorted(accusers)) for dealer, accusers in sorted(self._accused.items())}

    def outgoing(self) -> Outgoing | None:
        """The message that this participant owes in the open phase; None if the board has it, or none is due."""
        phase = self.phase
        if self.index not in self._missing(phase):
            return None
        return Outgoing(phase=phase, body=encode_message(self._own_message(phase), self.session))

    def result(self) -> KeyShare | None:
        """This validator's share, once q participants closed on the same transcript and key; None before.

        Raises:
            DegenerateKey: The group key or a verification key is the point at infinity.
        """
        closed = sum(1 for phase, _ in self._bodies if phase is Phase.CLOSE)
        return self._key_share() if closed >= self.session.validators.q else None

    def transcript(self) -> Bytes32:
        """Hash over every accepted message of phases 1 to 4, by phase and share index."""
        parts = (self._bodies[key] for key in sorted(self._bodies) if key[0] is not Phase.CLOSE)
        return tagged_hash(Tag.DKG_TRANSCRIPT, self.session.id, *parts)

    def _missing(self, phase: Phase) -> tuple[int, ...]:
        due = sorted(self._accused) if phase is Phase.JUSTIFICATION else self.session.indices
        return tuple(i for i in due if (phase, i) not in self._bodies)

    def _own_message(self, phase: Phase) -> DkgMessage:
        match phase:
            case Phase.COMMIT:
                return self._dealer.commit()
            case Phase.REVEAL:
                return self._dealer.reveal({i: commit.sealing_key for i, commit in self._commits.items()})
            case Phase.COMPLAINT:
                wronged = (i for i in self.session.indices if i != self.index and i not in self._shares)
                entries = tuple(self._dealer.complaint(self._reveals[i]) for i in wronged)
                return Complaints(index=self.index, entries=entries)
            case Phase.JUSTIFICATION:
                accusers = sorted(self._accused[self.index])
                opened = (Justification(accuser=i, share=self._dealer.share_for(i)) for i in accusers)
                return Justifications(index=self.index, entries=tuple(opened))
            case Phase.CLOSE:
                return self._close()

    # --- what the participant hears

    def receive(self, sender: int, body: bytes) -> None:
        """Take one message from the board. The same message again is a no-op.

        Arguments:
            sender: share index that the board's registry verified the post's signature for.
            body: at most 65,536 bytes.
        Raises:
            DkgFault: One of its children, naming the culprit; nothing changed.
        """
        message = decode_message(body, session=self.session, sender=sender)
        phase = Phase(body[1])
        known = self._bodies.get((phase, sender))
        if known == body:
            return
        if known is not None:
            raise DuplicateMessage(sender, f"another message of phase {phase} was accepted before")
        if phase is not self.phase:
            raise OutOfPhase(sender, f"phase {phase} is not open, {self.phase} is")
        if sender == self.index:
            owed = self.outgoing()
            if owed is None or owed.body != body:
                raise ForeignOwnMessage(sender, f"the board's message of phase {phase} is not this participant's")
        self._accept(message)
        self._bodies[phase, sender] = bytes(body)

    def _accept(self, message: DkgMessage) -> None:
        match message:
            case Commit():
                self._accept_commit(message)
            case Reveal():
                self._accept_reveal(message)
            case Complaints():
                self._accept_complaints(message)
            case Justifications():
                self._accept_justifications(message)
            case Close():
                self._accept_close(message)

    def _verify_possession(self, index: int, what: bytes, image: Point, proof: Proof) -> None:
        context = possession_context(self.session, index, what)
        try:
            verify_proof(Tag.DKG_POSSESSION, context=context, bases=(GROUP.generator,), images=(image,), proof=proof)
        except InvalidProof as error:
            raise BadPossession(index, f"no proof of the {what.decode()} key's secret") from error

    def _accept_commit(self, commit: Commit) -> None:
        index, key = commit.index, commit.sealing_key
        self._verify_possession(index, b"sealing", key, commit.possession)
        if any(key == other.sealing_key for other in self._commits.values()):
            raise DuplicateSealingKey(index, "the sealing key is another validator's")
        self._commits[index] = commit

    def _accept_reveal(self, reveal: Reveal) -> None:
        index = reveal.index
        if opening_hash(self.session, reveal) != self._commits[index].opening_hash:
            raise WrongOpening(index, "the commitments are not those of its first message")
        self._verify_possession(index, b"constant", reveal.commitments[0], reveal.possession)
        self._verify_possession(index, b"ephemeral", reveal.ephemeral, reveal.ephemeral_possession)
        self._reveals[index] = reveal
        try:
            self._shares[index] = self._dealer.open(reveal)
        except WrongShare:
            # Only this participant can see it: the share stays absent and phase 3 says so.
            return

    def _accept_complaints(self, complaints: Complaints) -> None:
        accuser = complaints.index
        key = self._commits[accuser].sealing_key
        for entry in complaints.entries:
            reveal = self._reveals[entry.dealer]
            try:
                verify_proof(
                    Tag.DKG_COMPLAINT,
                    context=(self.session.id, bytes((entry.dealer, accuser))),
                    bases=(GROUP.generator, reveal.ephemeral),
                    images=(key, entry.shared),
                    proof=entry.proof,
                )
            except InvalidProof as error:
                raise BadComplaint(accuser, f"no proof of what validator {entry.dealer} sent") from error
            try:
                open_share(self.session, reveal=reveal, recipient=accuser, sealing_key=key, shared=entry.shared)
            except WrongShare:
                continue
            raise FalseComplaint(accuser, f"the share of validator {entry.dealer} is right")
        for entry in complaints.entries:
            self._accused.setdefault(entry.dealer, set()).add(accuser)

    def _accept_justifications(self, answer: Justifications) -> None:
        asked = self._accused.get(answer.index, set[int]())
        if not asked or {entry.accuser for entry in answer.entries} != asked:
            raise UnaskedJustification(answer.index, f"the complaints are of {sorted(asked)}")
        for entry in answer.entries:
            verify_share(entry.share, reveal=self._reveals[answer.index], recipient=entry.accuser)
        for entry in answer.entries:
            if entry.accuser == self.index:
                self._shares[answer.index] = entry.share

    def _accept_close(self, close: Close) -> None:
        own = self._close()
        if (close.transcript, close.group_key) != (own.transcript, own.group_key):
            raise WrongTranscript(close.index, "it closes on another transcript or key")

    # --- what comes out

    def _close(self) -> Close:
        return Close(index=self.index, transcript=self.transcript(), group_key=self._sum_of_commitments()[0])

    def _sum_of_commitments(self) -> tuple[Point, ...]:
        columns = zip(*(self._reveals[i].commitments for i in self.session.indices), strict=True)
        total = tuple(GROUP.add(*column) for column in columns)
        if total[0].is_infinity:
            raise DegenerateKey(0, "the group key is the point at infinity")
        return total

    def _key_share(self) -> KeyShare:
        total = self._sum_of_commitments()
        verification_keys = tuple(evaluate_points(total, i) for i in self.session.indices)
        if any(key.is_infinity for key in verification_keys):
            raise DegenerateKey(0, "a verification key is the point at infinity")
        return KeyShare(
            epoch=self.session.epoch,
            index=self.index,
            share=GROUP.sum_secrets(self._shares.values()),
            group_key=total[0],
            verification_keys=verification_keys,
            threshold=self.session.validators.t,
        )

    # --- storage

    def to_bytes(self) -> bytes:
        """The whole state. SECRET: to be stored encrypted.

        Format u8 (1), session (u16 length), index u8, seed 32, then each accepted message in order of acceptance
        (sender u8, u32 length).
        """
        session = self.session.to_bytes()
        head = bytes((_FORMAT,)) + len(session).to_bytes(2, "big") + session + bytes((self.index,)) + self._seed
        messages = (bytes((i,)) + len(body).to_bytes(4, "big") + body for (_, i), body in self._bodies.items())
        return head + b"".join(messages)

    @classmethod
    def from_bytes(cls, data: bytes) -> DkgParticipant:
        """Inverse of `to_bytes`: hears everything again, so what no run gives is refused.

        Raises:
            BadEncoding: Not the canonical form, or a stored message is refused.
            BadQuorum, BadValidatorSet: The session's set is outside its bounds.
        """
        # The format, like everything here, is compared at the end.
        at = 3 + int.from_bytes(data[1:3], "big")
        if len(data) < at + 33:
            raise BadEncoding
        session = DkgSession.from_bytes(data[3:at])
        try:
            participant = cls(session=session, index=data[at], seed=Bytes32(data[at + 1 : at + 33]))
            at += 33
            while at < len(data):
                sender, length = data[at], int.from_bytes(data[at + 1 : at + 5], "big")
                # A cut or overlong message is refused like any other: each has one length.
                participant.receive(sender, data[at + 5 : at + 5 + length])
                at += 5 + length
        except (DkgFault, OutOfRange) as error:
            raise BadEncoding from error
        if participant.to_bytes() != data:
            raise BadEncoding
        return participant

    def __repr__(self) -> str:
        return f"DkgParticipant(index={self.index}, phase={self.phase.name}, waiting_for={self.waiting_for})"
