"""Key ceremonies over the board: stores first, says after, so that a restart repeats the same bytes (spec 41 §3)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Final

from caimi.crypto.dkg import DkgParticipant, Heard
from caimi.crypto.dkg_errors import BoardRewritten, DkgFault
from caimi.crypto.dkg_messages import STEPS, Phase, board_phase, split_board_phase
from caimi.crypto.dkg_record import Outcome
from caimi.crypto.dkg_session import MAX_ATTEMPTS, DkgSession
from caimi.crypto.ecdsa import SigningKey
from caimi.crypto.key_share import KeyShare
from caimi.ports.chain import BoardPort, ChainUnavailable
from caimi.ports.clock import Clock, Entropy
from caimi.ports.key_vault import KeyStep, KeyVault
from caimi.ports.observer import Observer
from caimi.types.errors import ClockSkew, Refusal
from caimi.types.primitives import Bytes32
from caimi.types.records import BoardPost, Lane
from caimi.wire.digests import typed_digest
from caimi.wire.functions import encode_call
from caimi.wire.keccak import keccak256

__all__ = ["DEFAULT_PATIENCE_S", "GenerationStatus", "KeyGeneration"]

DEFAULT_PATIENCE_S: Final = 600.0
"""Seconds that a phase is open before this validator votes to go on without those who said nothing (spec 41 §3)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationStatus:
    """How far it is, whom it waits for, and whom it blames."""

    attempt: int
    """0 to 15."""
    phase: str
    """A phase of spec 41 §2 in lower case, "starting", "done", "left out" (there is a key, this validator has no share
    of it) or "failed" (the board has no room for another attempt)."""
    waits_for: tuple[int, ...]
    """Seats whose message is missing."""
    fault: str | None
    """The last fault that showed, and whose it was."""


class KeyGeneration:
    """One validator's part in the ceremony that makes the key of one epoch."""

    def __init__(
        self,
        session: DkgSession,
        *,
        index: int,
        key: SigningKey,
        board: BoardPort,
        board_lane: Lane,
        vault: KeyVault,
        clock: Clock,
        entropy: Entropy,
        observer: Observer,
        poll_seconds: float = 0.5,
        patience_seconds: float = DEFAULT_PATIENCE_S,
    ) -> None:
        """Arguments:
        session: of the first attempt; the board says which one is under way.
        index: the validator's seat.
        """
        self._session = session
        self._index = index
        self._key = key
        self._board = board
        self._lane = board_lane
        self._vault = vault
        self._clock = clock
        self._entropy = entropy
        self._observer = observer
        self._poll_seconds = poll_seconds
        self._patience_seconds = patience_seconds
        self._participant: DkgParticipant | None = None
        self._share: KeyShare | None = None
        self._fault: str | None = None
        # Attempt and phase that are open, and since when by the monotonic clock.
        self._open: tuple[int, Phase] | None = None
        self._since = 0.0

    def status(self) -> GenerationStatus:
        """See `GenerationStatus`."""
        participant = self._participant
        if participant is None:
            phase = "starting" if self._share is None else "done"
            return GenerationStatus(attempt=0, phase=phase, waits_for=(), fault=self._fault)
        record = participant.record
        return GenerationStatus(
            attempt=participant.session.attempt,
            phase=self._shown_phase(participant),
            waits_for=record.waiting_for if record.outcome is Outcome.RUNNING else (),
            fault=self._fault,
        )

    def _shown_phase(self, participant: DkgParticipant) -> str:
        match participant.record.outcome:
            case Outcome.FAILED:
                return "failed"
            case Outcome.DONE if participant.result() is None:
                return "left out"
            case _:
                return participant.record.phase.name.lower()

    @property
    def share(self) -> KeyShare | None:
        """The share of the session's epoch, None until it is stored."""
        return self._share

    async def run(self) -> KeyShare:
        """Take part until the share of the session's epoch is stored; at once if it is.

        Who was too late for a share waits for the next refresh: this does not return then.

        Raises:
            Refusal, CallRejected: The board will not have what this validator says: an operator's matter.
            WrongPassword, BadEncoding, BadKeyShare: What the vault holds is not what was stored.
            BoardRewritten: The board has another history than before.
        """
        while True:
            try:
                share = await self.turn()
            except (ChainUnavailable, ClockSkew) as error:
                self._observer.step("keys.board_unavailable", error=type(error).__name__, text=str(error))
                share = None
            if share is not None:
                return share
            await self._clock.sleep(self._poll_seconds)

    async def turn(self) -> KeyShare | None:
        """Hear what is new, store it, say what is owed; the share once enough have closed. Raises as `run`.

        Raises:
            ChainUnavailable, ClockSkew: The board does not answer; nothing is lost.
        """
        if self._share is None:
            stored = self._vault.share(self._session.epoch)
            self._share = KeyShare.from_bytes(stored) if stored is not None else await self._take_part()
        return self._share

    async def _take_part(self) -> KeyShare | None:
        participant = await self._hear()
        owed = participant.outgoing()
        if owed is None and self._has_waited(participant):
            owed = participant.vote()
        if owed is not None:
            # The own close has to be on the board, and heard, before the state that made it may be erased.
            await self._say(participant.session, owed.step, owed.body)
            return None
        share = participant.result()
        if share is None:
            return None
        transcript = participant.record.transcript()
        self._vault.store_share(KeyStep.SHARE_STORED, self._session.epoch, share.to_bytes(), transcript)
        self._participant = None
        self._observer.step("keys.share_stored", epoch=self._session.epoch, index=self._index)
        return share

    def _has_waited(self, participant: DkgParticipant) -> bool:
        now, is_open = self._clock.monotonic(), (participant.session.attempt, participant.record.phase)
        if self._open != is_open:
            self._open, self._since = is_open, now
        return now - self._since >= self._patience_seconds

    async def _hear(self) -> DkgParticipant:
        participant = self._participant or self._resume()
        posts = await self._board.posts(self._session.epoch)
        while True:
            self._participant = participant
            said = [
                Heard(step=step, sender=post.index, body=post.body)
                for post in posts
                for attempt, step in (split_board_phase(post.phase),)
                if attempt == participant.session.attempt and step in STEPS
            ]
            self._hear_new(participant, said)
            if participant.record.outcome is not Outcome.FAILED:
                return participant
            attempt = participant.session.attempt + 1
            if attempt == MAX_ATTEMPTS:
                return participant
            cause = str(participant.record.failure)
            self._observer.step("keys.attempt_failed", epoch=self._session.epoch, attempt=attempt - 1, cause=cause)
            participant = self._begin(attempt)

    def _hear_new(self, participant: DkgParticipant, said: list[Heard]) -> None:
        known = len(participant.heard)
        if said[:known] != participant.heard[: len(said)]:
            raise BoardRewritten(f"attempt {participant.session.attempt}: {known} messages are stored")
        for message in said[known:]:
            for fault in participant.hear(message.step, message.sender, message.body):
                self._blame(fault)
        if participant.displaced is not None and self._fault != str(participant.displaced):
            self._blame(participant.displaced)
        if len(said) > known:
            self._store(participant)

    def _blame(self, fault: DkgFault) -> None:
        self._fault = str(fault)
        self._observer.step(
            "keys.fault",
            epoch=self._session.epoch,
            index=fault.culprit,
            error=type(fault).__name__,
            certainty=fault.certainty.value,
            cause=str(fault),
        )

    def _resume(self) -> DkgParticipant:
        state = self._vault.generation_state(self._session.epoch)
        if state is None:
            return self._begin(0)
        participant = DkgParticipant.from_bytes(state)
        if participant.record.faults:
            self._fault = str(participant.record.faults[-1])
        return participant

    def _begin(self, attempt: int) -> DkgParticipant:
        session = dataclasses.replace(self._session, attempt=attempt)
        participant = DkgParticipant(session=session, seat=self._index, seed=Bytes32(self._entropy.take(32)))
        self._store(participant)
        return participant

    def _store(self, participant: DkgParticipant) -> None:
        self._vault.store_generation_state(KeyStep.GENERATION_STATE, self._session.epoch, participant.to_bytes())

    async def _say(self, session: DkgSession, step: int, body: bytes) -> None:
        post = BoardPost(
            at=self._lane,
            epoch=session.epoch,
            phase=board_phase(session, step),
            index=self._index,
            body_hash=keccak256(body),
        )
        signature = self._key.sign(typed_digest(session.network, post)).to_bytes()
        try:
            await self._board.post(encode_call("postBoard", post, signature, body))
        except Refusal as refusal:
            self._observer.step("keys.post_refused", epoch=session.epoch, phase=post.phase, cause=str(refusal))
            raise
        self._observer.step("keys.posted", epoch=session.epoch, phase=post.phase)
