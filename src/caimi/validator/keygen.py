"""Key generation over the board: stores first, says after, so that a restart repeats the same bytes (spec 40 §7)."""

from __future__ import annotations

from dataclasses import dataclass

from caimi.crypto.dkg import DkgParticipant
from caimi.crypto.dkg_errors import DkgFault, DuplicateMessage
from caimi.crypto.dkg_messages import DkgSession, Phase
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

__all__ = ["GenerationStatus", "KeyGeneration"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationStatus:
    """How far it is, and whom it waits for."""

    phase: str
    """A phase of spec 40 §7 in lower case, "starting" or "done"."""
    waits_for: tuple[int, ...]
    """Share indices whose message is missing."""
    fault: str | None
    """The last message that was refused, and whose it was."""


class KeyGeneration:
    """One validator's part in the key generation of one epoch."""

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
    ) -> None:
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
        self._participant: DkgParticipant | None = None
        self._share: KeyShare | None = None
        self._fault: str | None = None

    def status(self) -> GenerationStatus:
        """See `GenerationStatus`."""
        participant = self._participant
        if participant is None:
            phase = "starting" if self._share is None else "done"
            return GenerationStatus(phase=phase, waits_for=(), fault=self._fault)
        return GenerationStatus(
            phase=participant.phase.name.lower(), waits_for=participant.waiting_for, fault=self._fault
        )

    @property
    def share(self) -> KeyShare | None:
        """The share of the session's epoch, None until it is stored."""
        return self._share

    async def run(self) -> KeyShare:
        """Take part until the share of the session's epoch is stored; at once if it is.

        Raises:
            Refusal, CallRejected: The board will not have what this validator says: an operator's matter.
            WrongPassword, BadEncoding, BadKeyShare: What the vault holds is not what was stored.
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
        if self._participant is None:
            self._participant = self._resume()
        participant = self._participant
        await self._hear(participant)
        share = participant.result()
        owed = participant.outgoing()
        if owed is not None:
            await self._say(owed.phase, owed.body)
        if share is None or (owed is not None and owed.phase is Phase.CLOSE):
            # The own close has to be on the board, and heard, before the state that made it may be erased.
            return None
        self._vault.store_share(KeyStep.SHARE_STORED, self._session.epoch, share.to_bytes(), participant.transcript())
        self._participant = None
        self._observer.step("keys.share_stored", epoch=self._session.epoch, index=self._index)
        return share

    def _resume(self) -> DkgParticipant:
        state = self._vault.generation_state(self._session.epoch)
        if state is not None:
            return DkgParticipant.from_bytes(state)
        seed = Bytes32(self._entropy.take(32))
        participant = DkgParticipant(session=self._session, index=self._index, seed=seed)
        self._store(participant)
        return participant

    def _store(self, participant: DkgParticipant) -> None:
        self._vault.store_generation_state(KeyStep.GENERATION_STATE, self._session.epoch, participant.to_bytes())

    async def _hear(self, participant: DkgParticipant) -> None:
        for phase in Phase:
            heard = False
            bodies = await self._board.posts(self._session.epoch, phase)
            for index, body in enumerate(bodies, start=1):
                if body:
                    heard = self._receive(participant, index, body) or heard
            if heard:
                self._store(participant)
            if participant.phase <= phase:
                # What others say in later phases counts once this one is over in the view of this peer too.
                return

    def _receive(self, participant: DkgParticipant, index: int, body: bytes) -> bool:
        before = participant.phase, participant.waiting_for
        try:
            participant.receive(index, body)
        except DuplicateMessage:
            return False
        except DkgFault as fault:
            self._fault = f"validator {index}: {fault}"
            self._observer.step("keys.message_refused", epoch=self._session.epoch, index=index, cause=str(fault))
            return False
        return (participant.phase, participant.waiting_for) != before

    async def _say(self, phase: Phase, body: bytes) -> None:
        post = BoardPost(
            at=self._lane, epoch=self._session.epoch, phase=phase, index=self._index, body_hash=keccak256(body)
        )
        signature = self._key.sign(typed_digest(self._session.network, post)).to_bytes()
        try:
            await self._board.post(encode_call("postBoard", post, signature, body))
        except Refusal as refusal:
            self._observer.step("keys.post_refused", epoch=self._session.epoch, phase=int(phase), cause=str(refusal))
            raise
        self._observer.step("keys.posted", epoch=self._session.epoch, phase=int(phase))
