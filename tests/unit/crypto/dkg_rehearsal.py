"""A key ceremony played through in one process, up to any phase and with cheats."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, cast

from caimi.crypto.dkg import DkgParticipant
from caimi.crypto.dkg_dealer import Dealer
from caimi.crypto.dkg_errors import DkgFault
from caimi.crypto.dkg_messages import DkgMessage, Phase, decode_message, encode_message
from caimi.crypto.dkg_record import Outcome
from caimi.crypto.dkg_session import DkgSession, EarlierKey
from caimi.crypto.ecdsa import SigningKey
from caimi.crypto.group import Point
from caimi.crypto.key_share import KeyShare
from caimi.crypto.quorum import ValidatorSet
from caimi.types.primitives import Bytes32, Epoch

__all__ = [
    "SESSION",
    "at",
    "decoded",
    "encoded",
    "everybody_hears",
    "fork_of",
    "known",
    "make_participants",
    "make_session",
    "message",
    "owed",
    "refused",
    "run_all",
    "run_phase",
    "shares_of",
    "validator_set",
    "wrong_share_run",
]


def validator_set(accounts: Sequence[int], f: int, t: int) -> ValidatorSet:
    """Validators with fixed keys, one for each number from 1 on."""
    return ValidatorSet(validators=tuple(SigningKey(bytes([i]) * 32).address for i in accounts), f=f, t=t)


def make_session(
    n: int = 4, f: int = 1, t: int = 3, *, epoch: int = 1, attempt: int = 0, earlier: EarlierKey | None = None
) -> DkgSession:
    """A session of validators with fixed keys."""
    validators = validator_set(range(1, n + 1), f, t)
    return DkgSession(
        network=Bytes32(b"\x07" * 32), epoch=Epoch(epoch), attempt=attempt, validators=validators, earlier=earlier
    )


def make_participants(session: DkgSession, shares: Sequence[KeyShare | None] = ()) -> list[DkgParticipant]:
    """All participants, with fixed seeds; `shares` of the dealers in a resharing."""
    held = dict(enumerate(shares, start=1))
    return [
        DkgParticipant(session=session, seat=i, seed=Bytes32(bytes([0x50 + i]) * 32), share=held.get(i))
        for i in range(1, len(session.seats) + 1)
    ]


def everybody_hears(participants: list[DkgParticipant], step: int, sender: int, body: bytes) -> list[DkgFault]:
    """One message on the board; the faults that it shows, which have to be the same for all."""
    heard = [participant.hear(step, sender, body) for participant in participants]
    assert len({tuple(map(repr, faults)) for faults in heard}) == 1
    return list(heard[0])


def run_phase(participants: list[DkgParticipant]) -> list[tuple[int, int, bytes]]:
    """Post what everybody owes and let everybody hear it, in seat order."""
    owed = [(out.step, p.seat, out.body) for p in participants if (out := p.outgoing()) is not None]
    for step, sender, body in owed:
        everybody_hears(participants, step, sender, body)
    return owed


def run_all(participants: list[DkgParticipant]) -> list[DkgParticipant]:
    """The same participants, at the end of an attempt in which nobody is silent."""
    while participants[0].record.outcome is Outcome.RUNNING:
        assert run_phase(participants), participants
    return participants


def shares_of(participants: list[DkgParticipant]) -> list[KeyShare]:
    """Everybody's share."""
    return [share for participant in participants if (share := participant.result()) is not None]


SESSION = make_session()


def at(phase: Phase) -> list[DkgParticipant]:
    """All participants, all honest so far, with `phase` open."""
    participants = make_participants(SESSION)
    while participants[0].record.phase is not phase:
        run_phase(participants)
    return participants


def owed(participant: DkgParticipant) -> bytes:
    """The body that a participant owes."""
    out = participant.outgoing()
    assert out is not None
    return out.body


def decoded(body: bytes, sender: int) -> DkgMessage:
    """A body as a message of `SESSION`, with four receivers."""
    return decode_message(body, step=body[1], session=SESSION, sender=sender, receivers=4)


def message(participant: DkgParticipant) -> DkgMessage:
    """What a participant owes."""
    return decoded(owed(participant), participant.seat)


def encoded(message: DkgMessage) -> bytes:
    """A message's bytes in `SESSION`."""
    return encode_message(message, SESSION)


def refused(
    error: type[DkgFault], participant: DkgParticipant, sender: int, body: bytes, *, culprit: int, step: int = 0
) -> DkgFault:
    """Assert that a message counts for nothing, for the right reason. The participant stays as it is."""
    fork = fork_of(participant)
    before = known(participant)
    first, *_ = fork.hear(step or body[1], sender, body)
    assert type(first) is error
    assert first.culprit == culprit
    assert known(fork) == before
    return first


def fork_of(participant: DkgParticipant) -> DkgParticipant:
    """The same participant at the same point, to go another way with. Secrets do not copy deeply."""
    fork, record = copy.copy(participant), copy.copy(participant.record)
    for made in (fork, record):
        for name, value in vars(made).items():
            if isinstance(value, dict):
                held = cast("dict[Any, Any]", value).items()
                inner = {key: set(cast("set[int]", v)) if isinstance(v, set) else v for key, v in held}
                setattr(made, name, defaultdict(set, inner) if isinstance(value, defaultdict) else inner)
            elif isinstance(value, (list, set)):
                setattr(made, name, copy.copy(cast("list[Any]", value)))
    fork.record = record
    return fork


def known(participant: DkgParticipant) -> tuple[object, ...]:
    """What counts."""
    record = participant.record
    return record.transcript(), record.commits, record.reveals, record.accused, record.opened


class _CheatingDealer(Dealer):
    """Sends validator 1 something else than its share."""

    bad: bytes

    def _sealed_share(self, seat: int, sealing_key: Point) -> bytes:
        return self.bad if seat == 1 else super()._sealed_share(seat, sealing_key)


def wrong_share_run(change: Callable[[DkgParticipant], bytes]) -> list[DkgParticipant]:
    """Phase 3 of a run in which validator 2 sent validator 1 what `change` makes."""
    participants = at(Phase.REVEAL)
    cheat = participants[1]
    dealer = _CheatingDealer(session=SESSION, seat=2, seed=cheat._seed)
    dealer.bad = change(cheat)
    cheat._dealer = dealer
    run_phase(participants)
    return participants
