"""Votes, sessions of a resharing, and shares that do not belong to one."""

from __future__ import annotations

import dataclasses
from functools import cache

import pytest

from caimi.crypto.dkg import DkgParticipant
from caimi.crypto.dkg_errors import NotClosed
from caimi.crypto.dkg_messages import Phase
from caimi.crypto.dkg_record import Outcome
from caimi.crypto.dkg_session import MAX_ATTEMPTS, DkgSession, EarlierKey
from caimi.crypto.errors import BadKeyShare, BadThresholdKey
from caimi.crypto.key_share import KeyShare
from caimi.types.errors import BadEncoding, BadQuorum, BadValidatorSet
from caimi.types.primitives import Bytes32, Epoch
from tests.unit.crypto.dkg_rehearsal import (
    SESSION,
    at,
    everybody_hears,
    make_participants,
    make_session,
    owed,
    run_all,
    shares_of,
    validator_set,
)


@cache
def held() -> tuple[KeyShare, ...]:
    """Everybody's share of epoch 1."""
    return tuple(shares_of(run_all(make_participants(SESSION))))


def resharing(**fields: object) -> DkgSession:
    earlier = EarlierKey(validators=SESSION.validators, key=held()[0].public)
    return dataclasses.replace(make_session(epoch=2, earlier=earlier), **fields)


# --- votes


def _votes(participants: list[DkgParticipant], *seats: int) -> None:
    for seat in seats:
        vote = participants[seat - 1].vote()
        assert vote is not None
        everybody_hears(participants, vote.step, seat, vote.body)


def test_nobody_votes_before_its_own_message_is_there_and_enough_others_are() -> None:
    participants = at(Phase.COMMIT)
    for seat in (1, 2):
        assert participants[seat - 1].vote() is None
        everybody_hears(participants, Phase.COMMIT, seat, owed(participants[seat - 1]))
        assert participants[0].vote() is None
    everybody_hears(participants, Phase.COMMIT, 3, owed(participants[2]))
    assert participants[3].vote() is None
    _votes(participants, 1, 2)
    assert participants[0].vote() is None
    assert participants[0].record.phase is Phase.COMMIT
    _votes(participants, 3)
    assert participants[0].record.phase is Phase.REVEAL


def test_votes_of_a_quorum_close_nothing_before_enough_messages_are_there() -> None:
    participants = at(Phase.COMMIT)
    for seat in (1, 2):
        everybody_hears(participants, Phase.COMMIT, seat, owed(participants[seat - 1]))
    for seat in (1, 2, 3, 4):
        everybody_hears(participants, Phase.COMMIT.vote, seat, bytes((1, 9)) + SESSION.id + bytes((seat,)))
    assert participants[0].record.phase is Phase.COMMIT
    everybody_hears(participants, Phase.COMMIT, 3, owed(participants[2]))
    assert participants[0].record.phase is Phase.REVEAL


def test_who_closed_gives_an_attempt_up_only_with_the_others() -> None:
    participants = at(Phase.CLOSE)
    for seat in (1, 2):
        everybody_hears(participants, Phase.CLOSE, seat, owed(participants[seat - 1]))
    assert participants[0].vote() is None
    # The third holds no share: it cannot close, so it votes, and then those who closed do.
    participants[2]._shares.clear()
    assert participants[2].outgoing() is None
    _votes(participants, 3, 1)
    assert participants[0].record.outcome is Outcome.RUNNING
    _votes(participants, 2)
    record = participants[0].record
    assert record.outcome is Outcome.FAILED
    assert isinstance(record.failure, NotClosed)
    assert record.faults[-1].culprit == 4
    assert all(p.result() is None and p.outgoing() is None for p in participants)


def test_what_is_done_stays_done() -> None:
    participants = at(Phase.CLOSE)
    for seat in (1, 2, 3):
        everybody_hears(participants, Phase.CLOSE, seat, owed(participants[seat - 1]))
    for seat in (1, 2, 3, 4):
        everybody_hears(participants, Phase.CLOSE.vote, seat, bytes((1, 13)) + SESSION.id + bytes((seat,)))
    assert participants[0].record.outcome is Outcome.DONE
    assert participants[3].vote() is None
    assert everybody_hears(participants, Phase.CLOSE, 4, owed(participants[3])) == []
    assert participants[3].result() is not None


# --- sessions and shares of a resharing


def test_a_session_of_a_resharing_round_trips() -> None:
    session = resharing(validators=validator_set(range(2, 9), 2, 4))
    assert DkgSession.from_bytes(session.to_bytes()) == session
    assert session.seats == tuple(validator_set(range(1, 9), 2, 4).validators)
    assert (session.recipients, tuple(session.dealers)) == ((2, 3, 4, 5, 6, 7, 8), (1, 2, 3, 4))
    assert [session.share_index(seat) for seat in session.recipients] == [1, 2, 3, 4, 5, 6, 7]
    assert [session.is_recipient(seat) for seat in (1, 2, 9)] == [False, True, False]


@pytest.mark.parametrize("cut", [1, 33, 53, 100])
def test_rejects_a_cut_session_of_a_resharing(cut: int) -> None:
    data = resharing().to_bytes()
    for changed in (data[:-cut], data + bytes(cut)):
        with pytest.raises((BadEncoding, BadQuorum, BadValidatorSet, BadThresholdKey)):
            DkgSession.from_bytes(changed)


@pytest.mark.parametrize("fields", [{"attempt": MAX_ATTEMPTS}, {"attempt": -1}, {"epoch": Epoch(1)}])
def test_rejects_a_session_out_of_bounds(fields: dict[str, object]) -> None:
    with pytest.raises(BadEncoding):
        resharing(**fields)


@pytest.mark.parametrize(("n", "f", "t"), [(7, 2, 3), (4, 1, 2)])
def test_rejects_an_earlier_key_of_another_set(n: int, f: int, t: int) -> None:
    with pytest.raises(BadThresholdKey):
        EarlierKey(validators=make_session(n, f, t).validators, key=held()[0].public)


def test_rejects_a_share_that_the_seat_does_not_hold() -> None:
    seed = Bytes32(bytes(32))
    with pytest.raises(BadKeyShare):
        DkgParticipant(session=SESSION, seat=1, seed=seed, share=held()[0])
    with pytest.raises(BadKeyShare):
        DkgParticipant(session=resharing(), seat=2, seed=seed, share=held()[0])
    other = dataclasses.replace(held()[0], epoch=Epoch(0))
    with pytest.raises(BadKeyShare):
        DkgParticipant(session=resharing(), seat=1, seed=seed, share=other)


def test_a_stored_dealer_goes_on_with_its_share_only() -> None:
    participant = DkgParticipant(session=resharing(), seat=1, seed=Bytes32(bytes(32)), share=held()[0])
    stored = participant.to_bytes()
    assert held()[0].share.reveal() not in stored
    assert DkgParticipant.from_bytes(stored, share=held()[0]).outgoing() == participant.outgoing()
    with pytest.raises(BadKeyShare):
        DkgParticipant.from_bytes(stored, share=held()[1])
