"""A key generation played through in one process, up to any phase and with cheats."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from caimi.crypto.dkg import DkgParticipant
from caimi.crypto.dkg_dealer import Dealer
from caimi.crypto.dkg_errors import DkgFault
from caimi.crypto.dkg_messages import DkgMessage, DkgSession, Phase, decode_message, encode_message
from caimi.crypto.ecdsa import SigningKey
from caimi.crypto.group import Point
from caimi.crypto.quorum import ValidatorSet
from caimi.types.primitives import Bytes32, Epoch


def make_session(n: int = 4, f: int = 1, t: int = 3, *, epoch: int = 1, attempt: int = 0) -> DkgSession:
    """A session of validators with fixed keys."""
    accounts = tuple(SigningKey(bytes([i + 1]) * 32).address for i in range(n))
    validators = ValidatorSet(validators=accounts, f=f, t=t)
    return DkgSession(network=Bytes32(b"\x07" * 32), epoch=Epoch(epoch), attempt=attempt, validators=validators)


def make_participants(session: DkgSession) -> list[DkgParticipant]:
    """All participants, with fixed seeds."""
    return [DkgParticipant(session=session, index=i, seed=Bytes32(bytes([0x50 + i]) * 32)) for i in session.indices]


def run_phase(participants: list[DkgParticipant]) -> list[tuple[int, bytes]]:
    """Post what everybody owes and let everybody hear it, in index order."""
    owed = [(p.index, out.body) for p in participants if (out := p.outgoing()) is not None]
    for sender, body in owed:
        for participant in participants:
            participant.receive(sender, body)
    return owed


SESSION = make_session()


def at(phase: Phase) -> list[DkgParticipant]:
    """All participants, all honest so far, with `phase` open."""
    participants = make_participants(SESSION)
    while participants[0].phase is not phase:
        run_phase(participants)
    return participants


def owed(participant: DkgParticipant) -> bytes:
    out = participant.outgoing()
    assert out is not None
    return out.body


def message(participant: DkgParticipant) -> DkgMessage:
    return decode_message(owed(participant), session=SESSION, sender=participant.index)


def encoded(message: DkgMessage) -> bytes:
    return encode_message(message, SESSION)


def refused(error: type[DkgFault], participant: DkgParticipant, sender: int, body: bytes, *, culprit: int) -> DkgFault:
    """Assert that a message is refused for the right reason and changes nothing."""
    before = participant.to_bytes()
    with pytest.raises(error) as caught:
        participant.receive(sender, body)
    assert type(caught.value) is error
    assert caught.value.culprit == culprit
    assert participant.to_bytes() == before
    return caught.value


class _CheatingDealer(Dealer):
    """Sends validator 1 something else than its share."""

    bad: bytes

    def _sealed_share(self, recipient: int, sealing_key: Point) -> bytes:
        return self.bad if recipient == 1 else super()._sealed_share(recipient, sealing_key)


def wrong_share_run(change: Callable[[DkgParticipant], bytes]) -> list[DkgParticipant]:
    """Phase 3 of a run in which validator 2 sent validator 1 what `change` makes."""
    participants = at(Phase.REVEAL)
    cheat = participants[1]
    dealer = _CheatingDealer(session=SESSION, index=2, seed=cheat._seed)
    dealer.bad = change(cheat)
    cheat._dealer = dealer
    run_phase(participants)
    return participants
