"""Key ceremonies with two of seven in bad hands: the right outcome, and the right culprits."""

from __future__ import annotations

import itertools
import random
from functools import cache

import pytest

from caimi.crypto.dkg import DkgParticipant
from caimi.crypto.dkg_record import Outcome
from caimi.crypto.dkg_session import DkgSession, EarlierKey
from caimi.crypto.errors import BadKeyShare
from caimi.crypto.key_share import KeyShare
from caimi.simulators.ceremonies import Misbehaviour, SimulatedCeremony
from caimi.types.failure import Certainty
from caimi.types.primitives import Bytes32
from tests.unit.crypto.dkg_rehearsal import make_session, shares_of, validator_set

M = Misbehaviour

# What befalls a validator without anybody's fault, or changes nothing.
_BLAMELESS = {M.CRASHING, M.EQUIVOCATING, M.VOTING_AT_ONCE}
# What may be the network's fault: suspicion only.
_SUSPECTED = {M.SILENT, M.WITHHOLDING, M.VANISHING, M.LATE}
_PROVEN = set(M) - _BLAMELESS - _SUSPECTED
# Who reveals nothing that counts, or is proven wrong and does not make it good.
_QUALIFIES = {M.CRASHING, M.EQUIVOCATING, M.VOTING_AT_ONCE, M.VANISHING, M.WRONG_SHARES, M.FALSE_COMPLAINT,
              M.FORGED_COMPLAINT, M.WRONG_CLOSE}  # fmt: skip
# A generation has no share that could be dealt wrongly.
_OF_GENERATION = [behaviour for behaviour in M if behaviour is not M.WRONG_CONSTANT]


@cache
def earlier() -> tuple[DkgSession, tuple[KeyShare, ...]]:
    """A key of epoch 1 and everybody's share."""
    session = make_session(7, 2, 3)
    ceremony = SimulatedCeremony(session, rng=random.Random(1))
    assert ceremony.run() is Outcome.DONE
    return session, tuple(shares_of(list(ceremony.honest)))


def session_of(kind: str) -> DkgSession:
    """A generation; a refresh; a resharing in which 1 and 2 leave, 8 to 10 come, and t becomes 4."""
    if kind == "generation":
        return make_session(7, 2, 3)
    session, shares = earlier()
    known = EarlierKey(validators=session.validators, key=shares[0].public)
    validators = session.validators if kind == "refresh" else validator_set(range(3, 11), 2, 4)
    return DkgSession(
        network=session.network, epoch=type(session.epoch)(2), attempt=0, validators=validators, earlier=known
    )


def play(kind: str, bad: dict[int, Misbehaviour], *, seed: int = 0) -> SimulatedCeremony:
    shares = () if kind == "generation" else earlier()[1]
    ceremony = SimulatedCeremony(session_of(kind), rng=random.Random(seed), shares=shares, bad=bad)
    assert ceremony.run() is Outcome.DONE
    return ceremony


def check(kind: str, bad: dict[int, Misbehaviour], ceremony: SimulatedCeremony) -> None:
    session, honest = ceremony.session, ceremony.honest
    # One key, one transcript, one list of faults.
    assert len({(p.record.key, p.record.transcript(), p.record.qualified, repr(p.record.faults)) for p in honest}) == 1
    record = honest[0].record
    expected = {seat for seat in session.dealers if seat not in bad or bad[seat] in _QUALIFIES}
    assert set(record.qualified) == expected
    # Every honest recipient has its share, and no honest seat is blamed for anything.
    holders = [p for p in honest if session.is_recipient(p.seat)]
    shares = shares_of(holders)
    assert len(shares) == len(holders)
    for share in shares:
        share.verify()
    proven = {seat for seat, behaviour in bad.items() if behaviour in _PROVEN}
    suspected = {seat for seat, behaviour in bad.items() if behaviour in _SUSPECTED}
    assert set(record.culprits(Certainty.PROVEN)) == proven
    assert set(record.culprits(Certainty.SUSPECTED)) - proven == suspected
    assert {known.seat for known, _ in ceremony.refused} == {s for s, b in bad.items() if b is M.EQUIVOCATING}
    if kind != "generation":
        check_hand_over(shares)


def check_hand_over(shares: list[KeyShare]) -> None:
    _, old = earlier()
    assert shares[0].group_key == old[0].group_key
    assert not {share.share.reveal() for share in shares} & {share.share.reveal() for share in old}
    fresh = shares[0]
    stale = next(share for share in old if share.index == fresh.index)
    mixed = KeyShare(
        epoch=fresh.epoch,
        index=fresh.index,
        share=stale.share,
        group_key=fresh.group_key,
        verification_keys=fresh.verification_keys,
        threshold=fresh.threshold,
    )
    with pytest.raises(BadKeyShare):
        mixed.verify()


def behaviours_of(kind: str) -> list[Misbehaviour]:
    return _OF_GENERATION if kind == "generation" else list(M)


KINDS = ("generation", "refresh", "resharing")
ALONE = [(kind, behaviour) for kind in KINDS for behaviour in behaviours_of(kind)]
PAIRS = [(kind, *pair) for kind in KINDS for pair in itertools.combinations_with_replacement(behaviours_of(kind), 2)]


def test_there_are_scenarios_enough() -> None:
    assert len(ALONE) >= 60
    assert len(PAIRS) >= 700
    assert {kind for kind, _ in ALONE} == set(KINDS)


@pytest.mark.parametrize(("kind", "behaviour"), ALONE, ids=lambda value: getattr(value, "value", value))
def test_one_in_bad_hands(kind: str, behaviour: Misbehaviour) -> None:
    bad = {3: behaviour}
    check(kind, bad, play(kind, bad))


# Some of all pairs, other ones for each kind; all of them together are slow.
FEW = [pair for place, pair in enumerate(PAIRS) if place % 29 == 0]


@pytest.mark.parametrize(("kind", "first", "second"), FEW, ids=lambda value: getattr(value, "value", value))
def test_two_in_bad_hands(kind: str, first: Misbehaviour, second: Misbehaviour) -> None:
    bad = {3: first, 6: second}
    check(kind, bad, play(kind, bad, seed=1))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_two_in_bad_hands(kind: str) -> None:
    for place, (_, first, second) in enumerate(pair for pair in PAIRS if pair[0] == kind):
        bad = {3: first, 6: second}
        check(kind, bad, play(kind, bad, seed=place))


def test_a_ceremony_without_faults_needs_no_vote() -> None:
    for kind in KINDS:
        ceremony = play(kind, {})
        check(kind, {}, ceremony)
        assert {post.step for post in ceremony.board} == {1, 2, 3, 5}


def test_who_lost_its_share_gets_one_in_a_refresh() -> None:
    _, shares = earlier()
    held = [share if share.index != 4 else None for share in shares]
    ceremony = SimulatedCeremony(session_of("refresh"), rng=random.Random(2), shares=held)
    assert ceremony.run() is Outcome.DONE
    record = ceremony.honest[0].record
    assert record.qualified == (1, 2, 3, 5, 6, 7)
    assert record.faults == []
    share = ceremony.participant(4).result()
    assert share is not None
    share.verify()


@pytest.mark.parametrize("kind", KINDS)
def test_more_than_f_silent_stop_the_ceremony_and_harm_nobody(kind: str) -> None:
    shares = () if kind == "generation" else earlier()[1]
    bad: dict[int, Misbehaviour] = dict.fromkeys((3, 5, 6), M.SILENT)
    ceremony = SimulatedCeremony(session_of(kind), rng=random.Random(3), shares=shares, bad=bad)
    assert ceremony.run() is Outcome.RUNNING
    assert all(post.step == 1 for post in ceremony.board)


def test_more_than_f_withholding_after_all_committed_end_the_attempt_or_wait() -> None:
    bad: dict[int, Misbehaviour] = dict.fromkeys((3, 5, 6), M.OPENING_ANOTHER)
    ceremony = SimulatedCeremony(session_of("generation"), rng=random.Random(4), bad=bad)
    assert ceremony.run() is Outcome.FAILED
    record = ceremony.honest[0].record
    assert record.culprits(Certainty.PROVEN) == (3, 5, 6)
    assert type(record.failure).__name__ == "TooFewDealers"
    assert all(p.outgoing() is None and p.vote() is None for p in ceremony.honest)


def test_f_votes_close_nothing() -> None:
    bad = {3: M.VOTING_AT_ONCE, 6: M.VOTING_AT_ONCE, 1: M.LATE}
    ceremony = SimulatedCeremony(session_of("generation"), rng=random.Random(5), bad=bad)
    ceremony.run()
    listener = DkgParticipant(session=ceremony.session, seat=2, seed=Bytes32(bytes(32)))
    closed_by: set[int] = set()
    for post in ceremony.board:
        before = listener.record.phase
        listener.hear(post.step, post.seat, post.body)
        if listener.record.phase is not before and post.step == before.vote:
            votes = [p.seat for p in ceremony.board[: ceremony.board.index(post) + 1] if p.step == post.step]
            assert len(votes) == 5
            closed_by.add(before)
    assert closed_by
