from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from caimi.crypto.board_seal import seal_to_board
from caimi.crypto.dkg import DkgParticipant
from caimi.crypto.dkg_dealer import share_info
from caimi.crypto.dkg_errors import (
    BadComplaint,
    FalseComplaint,
    ForeignOwnMessage,
    MalformedMessage,
    UnaskedJustification,
    WrongShare,
    WrongTranscript,
)
from caimi.crypto.dkg_messages import (
    Close,
    Complaints,
    Justification,
    Justifications,
    Phase,
)
from caimi.crypto.dleq import Proof
from caimi.crypto.secp256k1 import GROUP
from caimi.types.primitives import Bytes32
from tests.unit.crypto.dkg_rehearsal import (
    SESSION,
    at,
    encoded,
    message,
    refused,
    run_phase,
    wrong_share_run,
)

JUNK = Proof(challenge=1, response=2)


# --- phases 3 and 4


def _garbage(_: DkgParticipant) -> bytes:
    return b"\xab" * 48


def _sealed_to_1(share: bytes) -> Callable[[DkgParticipant], bytes]:
    def make(cheat: DkgParticipant) -> bytes:
        return seal_to_board(
            share,
            recipient=cheat.record.commits[1].sealing_key,
            info=share_info(SESSION, 2, 1),
            ephemeral=cheat._dealer._ephemeral,
        )

    return make


WRONG_SHARES = {
    "garbage": _garbage,
    "another number": _sealed_to_1(b"\x01" * 32),
    "zero": _sealed_to_1(bytes(32)),
    "above the order": _sealed_to_1(b"\xff" * 32),
}


@pytest.mark.parametrize("change", WRONG_SHARES.values(), ids=WRONG_SHARES)
def test_a_wrong_share_is_complained_about_with_proof_and_made_good(change: Callable[[DkgParticipant], bytes]) -> None:
    participants = wrong_share_run(change)
    complaints = message(participants[0])
    assert isinstance(complaints, Complaints)
    assert [entry.dealer for entry in complaints.entries] == [2]
    run_phase(participants)
    for participant in participants:
        assert participant.record.phase is Phase.JUSTIFICATION
        assert participant.record.accused == {2: {1}}
        assert participant.record.waiting_for == (2,)
    assert participants[0].outgoing() is None
    run_phase(participants)
    run_phase(participants)
    for participant in participants:
        share = participant.result()
        assert share is not None
        share.verify()


def test_a_complaint_after_a_restart_is_the_same() -> None:
    participants = wrong_share_run(_garbage)
    assert DkgParticipant.from_bytes(participants[0].to_bytes()).outgoing() == participants[0].outgoing()


def test_rejects_a_complaint_about_a_right_share() -> None:
    participants = at(Phase.COMPLAINT)
    accuser = participants[0]
    false = Complaints(seat=1, entries=(accuser._dealer.complaint(accuser.record.reveals[3]),))
    refused(FalseComplaint, participants[1], 1, encoded(false), culprit=1)
    assert participants[1].record.accused == {}


def test_rejects_a_complaint_without_proof() -> None:
    participants = at(Phase.COMPLAINT)
    accuser = participants[0]
    honest = accuser._dealer.complaint(accuser.record.reveals[3])
    for entry in (
        dataclasses.replace(honest, proof=JUNK),
        dataclasses.replace(honest, shared=GROUP.generator),
        dataclasses.replace(honest, dealer=4),
    ):
        forged = Complaints(seat=1, entries=(entry,))
        refused(BadComplaint, participants[1], 1, encoded(forged), culprit=1)


def test_one_false_entry_refuses_the_true_one_too() -> None:
    participants = wrong_share_run(_garbage)
    accuser = participants[0]
    both = Complaints(seat=1, entries=tuple(accuser._dealer.complaint(accuser.record.reveals[i]) for i in (2, 3)))
    refused(FalseComplaint, participants[2], 1, encoded(both), culprit=1)
    assert participants[2].record.accused == {}


def test_rejects_entries_out_of_order_twice_or_about_oneself() -> None:
    participants = wrong_share_run(_garbage)
    entry = participants[0]._dealer.complaint(participants[0].record.reveals[2])
    for dealers in ((2, 2), (3, 2), (1,), (0,), (5,)):
        entries = tuple(dataclasses.replace(entry, dealer=dealer) for dealer in dealers)
        body = encoded(Complaints(seat=1, entries=entries))
        refused(MalformedMessage, participants[2], 1, body, culprit=1)


def test_rejects_a_justification_with_a_wrong_share() -> None:
    participants = wrong_share_run(_garbage)
    run_phase(participants)
    answer = Justifications(seat=2, entries=(Justification(accuser=1, share=GROUP.secret_of(5)),))
    refused(WrongShare, participants[0], 2, encoded(answer), culprit=2)


def test_rejects_a_justification_that_answers_other_complaints() -> None:
    participants = wrong_share_run(_garbage)
    run_phase(participants)
    dealer = participants[1]._dealer
    for accusers in ((), (3,), (1, 3)):
        entries = tuple(Justification(accuser=i, share=dealer.share_for(i)) for i in accusers)
        body = encoded(Justifications(seat=2, entries=entries))
        refused(UnaskedJustification, participants[0], 2, body, culprit=2)


def test_rejects_a_justification_of_a_dealer_that_nobody_accused() -> None:
    participants = wrong_share_run(_garbage)
    run_phase(participants)
    body = encoded(Justifications(seat=3, entries=()))
    refused(UnaskedJustification, participants[0], 3, body, culprit=3)


# --- phase 5


@pytest.mark.parametrize("field", ["transcript", "group_key"])
def test_rejects_a_close_on_something_else(field: str) -> None:
    participants = at(Phase.CLOSE)
    close = message(participants[1])
    assert isinstance(close, Close)
    other = {"transcript": Bytes32(bytes(32)), "group_key": GROUP.generator}[field]
    body = encoded(dataclasses.replace(close, **{field: other}))
    refused(WrongTranscript, participants[0], 2, body, culprit=2)
    assert participants[0].result() is None


def test_rejects_an_own_justification_that_is_not_owed() -> None:
    participants = wrong_share_run(_garbage)
    run_phase(participants)
    body = encoded(Justifications(seat=3, entries=()))
    refused(UnaskedJustification, participants[2], 3, body, culprit=3)
    participants[2].hear(Phase.JUSTIFICATION, 3, body)
    assert isinstance(participants[2].displaced, ForeignOwnMessage)
