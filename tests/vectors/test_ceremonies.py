"""Reads vectors/threshold/{dkg,reshare}.json: key ceremonies of spec 41, made by a second implementation of it."""

from __future__ import annotations

from typing import Any

import pytest
from suites import named, suite, unhex

from caimi.crypto import dkg_errors
from caimi.crypto.dkg import DkgParticipant
from caimi.crypto.dkg_messages import Phase
from caimi.crypto.dkg_record import DkgRecord, Outcome
from caimi.crypto.dkg_session import DkgSession
from caimi.crypto.key_share import KeyShare, ThresholdKey
from caimi.crypto.secp256k1 import GROUP
from caimi.types.primitives import Bytes32

DKG_SUITE, RESHARE_SUITE = (suite(f"threshold/{name}.json") for name in ("dkg", "reshare"))
SESSION = DkgSession.from_bytes(unhex(DKG_SUITE["session"]))
EARLIER = ThresholdKey.from_bytes(unhex(RESHARE_SUITE["earlier"]))


def participant(seat: int) -> DkgParticipant:
    return DkgParticipant(session=SESSION, seat=seat, seed=Bytes32(unhex(DKG_SUITE["seeds"][seat - 1])))


def earlier_share(seat: int) -> KeyShare:
    return KeyShare(
        epoch=EARLIER.epoch,
        index=seat,
        share=GROUP.decode_secret(unhex(RESHARE_SUITE["earlierShares"][seat - 1])),
        group_key=EARLIER.group_key,
        verification_keys=EARLIER.verification_keys,
        threshold=EARLIER.threshold,
    )


def resharing(case: dict[str, Any], seat: int) -> DkgParticipant:
    session = DkgSession.from_bytes(unhex(case["session"]))
    holds = seat in session.dealers and seat != case.get("withoutShare")
    return DkgParticipant(
        session=session,
        seat=seat,
        seed=Bytes32(unhex(RESHARE_SUITE["seeds"][seat - 1])),
        share=earlier_share(seat) if holds else None,
    )


def hear_all(listener: DkgParticipant | DkgRecord, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The faults that show."""
    faults = [f for m in messages for f in listener.hear(m["step"], m["sender"], unhex(m["body"]))]
    return [{"error": type(fault).__name__, "culprit": fault.culprit} for fault in faults]


def exactly(error: str, culprit: int, fault: dkg_errors.DkgFault | None) -> None:
    """The class itself, not a child, and the right culprit."""
    assert fault is not None
    assert (type(fault), fault.culprit) == (getattr(dkg_errors, error), culprit)


def check_run(case: dict[str, Any], listener: DkgParticipant) -> None:
    assert hear_all(listener, case["messages"]) == case["faults"]
    record = listener.record
    assert record.outcome is Outcome.DONE
    assert list(record.qualified) == case["qualified"]
    assert record.transcript() == unhex(case["transcript"])
    key = ThresholdKey.from_bytes(unhex(case["key"]))
    assert record.key == key
    share = listener.result()
    if listener.seat in record.receivers:
        assert share is not None
        assert share.public == key
        assert share.share.reveal() == unhex(case["shares"][share.index - 1])
    else:
        assert share is None


@pytest.mark.parametrize("case", **named([c for c in DKG_SUITE["cases"] if "key" in c]))
def test_generation(case: dict[str, Any]) -> None:
    # Whoever cheats or is silent in a case would say something else: only the others listen here.
    bad = {fault["culprit"] for fault in case["faults"]}
    for seat in set(SESSION.dealers) - bad:
        check_run(case, participant(seat))


@pytest.mark.parametrize("case", **named([c for c in DKG_SUITE["cases"] if "key" not in c]))
def test_failed_attempt(case: dict[str, Any]) -> None:
    record = DkgRecord(SESSION)
    assert hear_all(record, case["messages"]) == case["faults"]
    assert record.outcome is Outcome.FAILED
    assert type(record.failure) is getattr(dkg_errors, case["failure"])


@pytest.mark.parametrize("case", **named(RESHARE_SUITE["cases"]))
def test_resharing(case: dict[str, Any]) -> None:
    session = DkgSession.from_bytes(unhex(case["session"]))
    assert session.to_bytes() == unhex(case["session"])
    bad = {fault["culprit"] for fault in case["faults"]}
    for seat in set(range(1, len(session.seats) + 1)) - bad:
        check_run(case, resharing(case, seat))
    assert ThresholdKey.from_bytes(unhex(case["key"])).group_key == EARLIER.group_key


def _seated(case: dict[str, Any], seat: int) -> DkgParticipant:
    return resharing(case, seat) if "session" in case else participant(seat)


@pytest.mark.parametrize("case", **named([DKG_SUITE["cases"][0], *RESHARE_SUITE["cases"][:3]]))
def test_honest_participants_say_the_words_of_the_case(case: dict[str, Any]) -> None:
    session = SESSION if "session" not in case else DkgSession.from_bytes(unhex(case["session"]))
    everybody = [_seated(case, seat) for seat in range(1, len(session.seats) + 1)]
    for message in case["messages"]:
        owed = everybody[int(message["sender"]) - 1].outgoing()
        assert owed is not None
        assert (owed.step, owed.body) == (message["step"], unhex(message["body"]))
        for listener in everybody:
            listener.hear(message["step"], message["sender"], unhex(message["body"]))


def test_votes_are_those_of_the_case() -> None:
    silent = DKG_SUITE["cases"][2]
    voter = participant(1)
    for message in silent["messages"]:
        if message["step"] == Phase.COMMIT.vote and message["sender"] == 1:
            vote = voter.vote()
            assert vote is not None
            assert (vote.step, vote.body) == (message["step"], unhex(message["body"]))
            return
        voter.hear(message["step"], message["sender"], unhex(message["body"]))
    pytest.fail("no vote in the case")


@pytest.mark.parametrize("case", **named(DKG_SUITE["refusals"]))
def test_rejects_message(case: dict[str, Any]) -> None:
    listener = participant(case.get("listener", 1))
    for place, message in enumerate(DKG_SUITE["cases"][case["case"] - 1]["messages"][: case["after"]]):
        replaced = place == 1 and "commit" in case
        listener.hear(message["step"], message["sender"], unhex(case["commit"] if replaced else message["body"]))
    faults = listener.hear(case["step"], case["sender"], unhex(case["body"]))
    exactly(case["error"], case["culprit"], listener.displaced or (faults or [None])[0])


@pytest.mark.parametrize("case", **named(RESHARE_SUITE["refusals"]))
def test_rejects_message_of_a_resharing(case: dict[str, Any]) -> None:
    run = RESHARE_SUITE["cases"][case["case"] - 1]
    listener = resharing(run, 2)
    hear_all(listener, run["messages"][: case["after"]])
    (fault,) = listener.hear(case["step"], case["sender"], unhex(case["body"]))
    exactly(case["error"], case["culprit"], fault)
