from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caimi.crypto.dkg import MAX_BODY, DkgParticipant
from caimi.crypto.dkg_checks import key_of
from caimi.crypto.dkg_dealer import Dealer, opening_hash
from caimi.crypto.dkg_errors import (
    BadPossession,
    DegenerateKey,
    DkgFault,
    DuplicateMessage,
    DuplicateSealingKey,
    ForeignOwnMessage,
    MalformedMessage,
    OutOfPhase,
    WrongDegree,
    WrongOpening,
    WrongSender,
    WrongSession,
)
from caimi.crypto.dkg_messages import (
    STEPS,
    Commit,
    Phase,
    Reveal,
    decode_message,
    encode_message,
)
from caimi.crypto.dkg_session import DkgSession
from caimi.crypto.dleq import Proof
from caimi.crypto.polynomial import lagrange
from caimi.crypto.secp256k1 import GROUP
from caimi.types.errors import BadEncoding, BadLength, BadQuorum, OutOfRange
from caimi.types.failure import Certainty
from caimi.types.primitives import Bytes32
from tests.unit.crypto.dkg_rehearsal import (
    SESSION,
    at,
    decoded,
    encoded,
    everybody_hears,
    fork_of,
    make_participants,
    make_session,
    message,
    owed,
    refused,
    run_phase,
    wrong_share_run,
)

JUNK = Proof(challenge=1, response=2)


# --- all honest


@pytest.mark.parametrize(("n", "f", "t"), [(4, 1, 2), (4, 1, 3), (7, 2, 4)])
def test_all_honest_participants_get_one_key(n: int, f: int, t: int) -> None:
    participants = make_participants(make_session(n, f, t))
    phases: list[Phase] = []
    while participants[0].result() is None:
        phases.append(participants[0].record.phase)
        assert all(p.record.waiting_for == tuple(range(1, n + 1)) for p in participants)
        run_phase(participants)
    assert phases == [Phase.COMMIT, Phase.REVEAL, Phase.COMPLAINT, Phase.CLOSE]
    shares = [share for p in participants if (share := p.result()) is not None]
    assert [share.index for share in shares] == list(range(1, n + 1))
    assert len({share.public for share in shares}) == 1
    for share in shares:
        share.verify()
    factors = lagrange(range(1, t + 1))
    terms = (GROUP.multiply_secrets(GROUP.secret_of(c), s.share) for c, s in zip(factors, shares, strict=False))
    assert GROUP.base_multiply(GROUP.sum_secrets(terms)) == shares[0].group_key


def test_the_order_within_a_phase_does_not_matter() -> None:
    straight, mixed = make_participants(SESSION), make_participants(SESSION)
    while straight[0].result() is None:
        posts = run_phase(straight)
        for place, participant in enumerate(mixed):
            for step, sender, body in posts[place:] + posts[:place]:
                participant.hear(step, sender, body)
    assert [p.result() for p in mixed] == [p.result() for p in straight]


def test_the_result_is_final_with_the_qth_close() -> None:
    participants = at(Phase.CLOSE)
    listener = participants[3]
    for participant in participants[:2]:
        listener.hear(5, participant.seat, owed(participant))
        assert listener.result() is None
    listener.hear(5, 3, owed(participants[2]))
    assert listener.result() is not None
    assert listener.record.waiting_for == (4,)


def test_another_attempt_gives_another_key() -> None:
    first, second = make_participants(SESSION), make_participants(make_session(attempt=1))
    for participants in (first, second):
        while participants[0].result() is None:
            run_phase(participants)
    one, two = first[0].result(), second[0].result()
    assert one is not None
    assert two is not None
    assert one.group_key != two.group_key


# --- restart


def test_a_restart_at_every_message_repeats_the_same_bytes() -> None:
    participants = make_participants(SESSION)
    steps = 0
    while participants[0].result() is None:
        for sender, body in [(p.seat, owed(p)) for p in participants]:
            for place, participant in enumerate(participants):
                restarted = DkgParticipant.from_bytes(participant.to_bytes())
                assert restarted.outgoing() == participant.outgoing()
                assert restarted.to_bytes() == participant.to_bytes()
                restarted.hear(body[1], sender, body)
                participants[place] = restarted
                steps += 1
    assert steps == 4 * 4 * 4
    assert len({p.record.transcript() for p in participants}) == 1


def test_hearing_a_message_again_changes_nothing() -> None:
    participants = at(Phase.CLOSE)
    state = participants[0].to_bytes()
    participants[0].hear(1, 2, encode_message(participants[1]._own_message(Phase.COMMIT), SESSION))
    assert participants[0].to_bytes() == state


def test_another_seed_is_noticed_on_the_board() -> None:
    # The seed was lost and made again: the board already holds the message that follows from the old one.
    participants = at(Phase.COMMIT)
    participants[0] = DkgParticipant(session=SESSION, seat=1, seed=Bytes32(b"\x99" * 32))
    everybody_hears(participants, Phase.COMMIT, 1, owed(at(Phase.COMMIT)[0]))
    lost = participants[0]
    assert isinstance(lost.displaced, ForeignOwnMessage)
    assert (lost.displaced.culprit, lost.displaced.certainty) == (1, Certainty.SUSPECTED)
    for _ in range(3):
        run_phase(participants)
        assert lost.outgoing() is None
    assert lost.record.faults == []
    assert DkgParticipant.from_bytes(lost.to_bytes()).displaced is not None


def test_stored_state_that_no_run_gives_is_refused() -> None:
    state = at(Phase.COMPLAINT)[0].to_bytes()
    seed = 3 + len(SESSION.to_bytes()) + 1
    for place in (0, 1, 2, seed - 1, seed + 32, seed + 34):
        mauled = bytearray(state)
        mauled[place] = 0xFF
        with pytest.raises((BadEncoding, BadQuorum)):
            DkgParticipant.from_bytes(bytes(mauled))
    with pytest.raises(BadEncoding):
        DkgParticipant.from_bytes(state + state[seed + 32 :])


def test_rejects_a_message_longer_than_the_board_takes() -> None:
    with pytest.raises(BadEncoding):
        at(Phase.COMMIT)[0].hear(Phase.COMMIT, 2, bytes(MAX_BODY + 1))


@pytest.mark.parametrize("step", [0, 6, 8, 14, 16, 255])
def test_rejects_a_step_that_the_board_does_not_have(step: int) -> None:
    with pytest.raises(OutOfRange):
        at(Phase.COMMIT)[0].hear(step, 2, b"")


_HEAD = 3 + len(SESSION.to_bytes())


@pytest.mark.parametrize("cut", [0, 2, 40, 100, _HEAD, _HEAD + 1, _HEAD + 32, 200, -1])
def test_cut_state_is_refused(cut: int) -> None:
    with pytest.raises(BadEncoding):
        DkgParticipant.from_bytes(at(Phase.COMPLAINT)[0].to_bytes()[:cut])


@pytest.mark.parametrize("index", [0, 5, -1])
def test_rejects_an_index_outside_the_session(index: int) -> None:
    with pytest.raises(OutOfRange):
        DkgParticipant(session=SESSION, seat=index, seed=Bytes32(bytes(32)))


def test_rejects_a_seed_of_another_length() -> None:
    with pytest.raises(BadLength):
        DkgParticipant(session=SESSION, seat=1, seed=Bytes32(b"short"))


def test_nothing_secret_is_shown() -> None:
    participant = at(Phase.COMPLAINT)[0]
    shown = repr(participant) + repr(participant._dealer)
    assert "51" * 32 not in shown
    assert participant._dealer.share_for(1).reveal().hex() not in shown


# --- phase and place


def test_rejects_a_message_of_a_phase_that_is_not_open() -> None:
    revealing = at(Phase.REVEAL)
    refused(OutOfPhase, make_participants(SESSION)[0], 2, owed(revealing[1]), culprit=2)
    closing = at(Phase.CLOSE)
    refused(OutOfPhase, revealing[0], 2, owed(closing[1]), culprit=2)


def test_rejects_a_different_second_message_of_an_index() -> None:
    participants = make_participants(SESSION)
    other = DkgParticipant(session=SESSION, seat=2, seed=Bytes32(b"\x99" * 32))
    participants[0].hear(1, 2, owed(participants[1]))
    refused(DuplicateMessage, participants[0], 2, owed(other), culprit=2)


def test_rejects_another_sender() -> None:
    participants = make_participants(SESSION)
    refused(WrongSender, participants[0], 3, owed(participants[1]), culprit=3)


@pytest.mark.parametrize("sender", [0, 5, 255])
def test_rejects_a_sender_outside_the_session(sender: int) -> None:
    participants = make_participants(SESSION)
    refused(WrongSender, participants[0], sender, owed(participants[1]), culprit=sender)
    consistent = owed(participants[1])[:34] + bytes([sender]) + owed(participants[1])[35:]
    refused(WrongSender, participants[0], sender, consistent, culprit=sender)


@pytest.mark.parametrize(
    "other",
    [
        make_session(epoch=2),
        make_session(attempt=1),
        make_session(t=2),
        dataclasses.replace(SESSION, network=Bytes32(bytes(32))),
    ],
    ids=["epoch", "attempt", "threshold", "network"],
)
def test_rejects_a_message_replayed_from_another_session(other: DkgSession) -> None:
    replayed = owed(make_participants(other)[1])
    refused(WrongSession, make_participants(SESSION)[0], 2, replayed, culprit=2)


# --- phase 1


def test_rejects_a_sealing_key_without_possession() -> None:
    participants = make_participants(SESSION)
    commit = message(participants[1])
    assert isinstance(commit, Commit)
    forged = dataclasses.replace(commit, possession=JUNK)
    refused(BadPossession, participants[0], 2, encoded(forged), culprit=2)


def test_rejects_another_validators_sealing_key_and_possession() -> None:
    participants = make_participants(SESSION)
    own, stolen = message(participants[1]), message(participants[2])
    assert isinstance(own, Commit)
    assert isinstance(stolen, Commit)
    copy = dataclasses.replace(own, sealing_key=stolen.sealing_key, possession=stolen.possession)
    refused(BadPossession, participants[0], 2, encoded(copy), culprit=2)


def test_rejects_a_sealing_key_that_is_used_twice() -> None:
    # Two validators that share a secret can both prove possession.
    participants = make_participants(SESSION)
    participants[0].hear(1, 2, owed(participants[1]))
    twin = Dealer(session=SESSION, seat=3, seed=Bytes32(b"\x53" * 32))
    twin._sealing = participants[1]._dealer._sealing
    twin.sealing_key = participants[1]._dealer.sealing_key
    refused(DuplicateSealingKey, participants[0], 3, encoded(twin.commit()), culprit=3)


# --- phase 2


def _reveal(participant: DkgParticipant) -> Reveal:
    reveal = message(participant)
    assert isinstance(reveal, Reveal)
    return reveal


def _cheat(commit_to: Callable[[Reveal], Reveal]) -> tuple[list[DkgParticipant], bytes]:
    """Participants in phase 2, and the reveal of validator 2, who had committed to a changed one."""
    participants = make_participants(SESSION)
    dealer = participants[1]._dealer
    keys = {p.seat: p._dealer.sealing_key for p in participants}
    changed = commit_to(dealer.reveal(keys))
    commit = dataclasses.replace(dealer.commit(), opening_hash=opening_hash(SESSION, changed))
    for listener in participants:
        for sender in participants:
            body = encoded(commit) if sender.seat == 2 else encode_message(sender._own_message(Phase.COMMIT), SESSION)
            listener.hear(1, sender.seat, body)
    return participants, encoded(changed)


def test_rejects_other_commitments_than_in_phase_1() -> None:
    participants = at(Phase.REVEAL)
    reveal = _reveal(participants[1])
    other = dataclasses.replace(reveal, commitments=(*reveal.commitments[:-1], GROUP.generator))
    refused(WrongOpening, participants[0], 2, encoded(other), culprit=2)


def test_rejects_another_possession_than_in_phase_1() -> None:
    participants = at(Phase.REVEAL)
    other = dataclasses.replace(_reveal(participants[1]), possession=JUNK)
    refused(WrongOpening, participants[0], 2, encoded(other), culprit=2)


def test_rejects_a_constant_term_without_possession() -> None:
    participants, body = _cheat(lambda reveal: dataclasses.replace(reveal, possession=JUNK))
    refused(BadPossession, participants[0], 2, body, culprit=2)


def test_rejects_a_rogue_constant_term() -> None:
    # Chosen to cancel the others' keys: whoever cannot prove its logarithm cannot use it.
    rogue = GROUP.subtract(GROUP.generator, GROUP.second_generator)
    participants, body = _cheat(
        lambda reveal: dataclasses.replace(reveal, commitments=(rogue, *reveal.commitments[1:]))
    )
    refused(BadPossession, participants[0], 2, body, culprit=2)


def test_rejects_an_ephemeral_key_without_possession() -> None:
    participants = at(Phase.REVEAL)
    other = dataclasses.replace(_reveal(participants[1]), ephemeral_possession=JUNK)
    refused(BadPossession, participants[0], 2, encoded(other), culprit=2)


def test_rejects_the_ephemeral_key_of_another_dealer() -> None:
    # Otherwise the complaints about this dealer's junk would open the other dealer's shares to everybody.
    participants = at(Phase.REVEAL)
    victim = _reveal(participants[2])
    copy = dataclasses.replace(
        _reveal(participants[1]), ephemeral=victim.ephemeral, ephemeral_possession=victim.ephemeral_possession
    )
    refused(BadPossession, participants[0], 2, encoded(copy), culprit=2)


@pytest.mark.parametrize("count", [0, 1, 2, 4, 255])
def test_rejects_another_degree(count: int) -> None:
    participants = at(Phase.REVEAL)
    reveal = _reveal(participants[1])
    commitments = (reveal.commitments * 128)[:count]
    body = encoded(dataclasses.replace(reveal, commitments=commitments))
    refused(WrongDegree, participants[0], 2, body, culprit=2)


def test_rejects_fewer_or_more_sealed_shares() -> None:
    participants = at(Phase.REVEAL)
    reveal = _reveal(participants[1])
    for shares in (reveal.sealed_shares[:3], (*reveal.sealed_shares, bytes(48))):
        body = encoded(dataclasses.replace(reveal, sealed_shares=shares))
        refused(MalformedMessage, participants[0], 2, body, culprit=2)


@pytest.mark.parametrize("scalars", [(0, 3, 5), (-6, 1, 1)], ids=["at 0", "at share index 2"])
def test_rejects_a_sum_of_contributions_at_infinity(scalars: tuple[int, ...]) -> None:
    # No message leads here, so the last dealer's commitments are put in by hand.
    reveals = at(Phase.CLOSE)[0].record.reveals
    others = [reveals[i].commitments for i in (1, 2, 3)]
    commitments = tuple(
        GROUP.subtract(GROUP.multiply_public(GROUP.generator, scalar), GROUP.add(*column))
        for scalar, column in zip(scalars, zip(*others, strict=True), strict=True)
    )
    with pytest.raises(DegenerateKey):
        key_of(SESSION, reveals | {4: dataclasses.replace(reveals[4], commitments=commitments)}, (1, 2, 3, 4))


# --- bytes


@pytest.mark.parametrize("phase", [Phase.COMMIT, Phase.REVEAL, Phase.COMPLAINT, Phase.CLOSE])
def test_every_changed_byte_of_a_message_is_refused_or_complained_about(phase: Phase) -> None:
    participants = at(phase)
    body = owed(participants[1])
    # Shares sealed to others are not this participant's to judge; those to itself lead to a complaint.
    sealed = range(len(body) - 4 * 48, len(body)) if phase is Phase.REVEAL else range(0)
    # The opening hash is only judged when it is opened.
    hidden = range(35, 67) if phase is Phase.COMMIT else range(0)
    for place in sorted(set(range(len(body))) - set(sealed) - set(hidden)):
        mauled = bytearray(body)
        mauled[place] ^= 1
        faults = fork_of(participants[0]).hear(phase, 2, bytes(mauled))
        assert [fault.culprit for fault in faults] == [2]


@pytest.mark.parametrize("phase", [Phase.COMMIT, Phase.REVEAL, Phase.COMPLAINT, Phase.CLOSE])
def test_rejects_another_length(phase: Phase) -> None:
    participants = at(phase)
    body = owed(participants[1])
    for other in (body[:-1], body + b"\x00", body[:35], body[:34], b""):
        refused(MalformedMessage, participants[0], 2, other, culprit=2, step=phase)


def test_messages_round_trip() -> None:
    for participants in (at(Phase.COMMIT), at(Phase.REVEAL), at(Phase.CLOSE), wrong_share_run(lambda _: b"\xab" * 48)):
        body = owed(participants[0])
        assert encode_message(decoded(body, 1), SESSION) == body


def test_sessions_round_trip() -> None:
    assert DkgSession.from_bytes(SESSION.to_bytes()) == SESSION
    for data in (SESSION.to_bytes()[:-1], SESSION.to_bytes() + b"\x00", b""):
        with pytest.raises(BadEncoding):
            DkgSession.from_bytes(data)


@given(st.sampled_from(sorted(STEPS)), st.binary(max_size=700))
def test_arbitrary_bodies_raise_only_typed_errors(step: int, rest: bytes) -> None:
    data = bytes((1, step)) + SESSION.id + b"\x02" + rest
    with suppress(DkgFault):
        message = decode_message(data, step=step, session=SESSION, sender=2, receivers=4)
        assert encode_message(message, SESSION) == data


@given(st.sampled_from(sorted(STEPS)), st.binary(max_size=300))
def test_arbitrary_bytes_raise_only_typed_errors(step: int, data: bytes) -> None:
    with suppress(DkgFault):
        decode_message(data, step=step, session=SESSION, sender=2, receivers=4)
        pytest.fail("arbitrary bytes were accepted")
    with suppress(BadEncoding, BadQuorum):
        DkgParticipant.from_bytes(data)
        pytest.fail("arbitrary bytes were accepted")
