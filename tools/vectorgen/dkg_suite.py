"""Suite of spec 41, made by the reference in this folder: threshold/dkg.json."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from caimi.wire.keccak import Tag, tagged_hash
from vectorgen.dkg_reference import ReferenceDealer, ReferenceRun, ReferenceSession, closed, result, run
from vectorgen.threshold_reference import G, b32, encode
from vectorgen.threshold_suite import DEALERS, RUN, SESSION, flipped, hexed, suite

Case = dict[str, Any]
WRONG = {2: {1: b"\x01" * 32, 3: bytes(31) + b"\x05"}}
"""Dealer 2 sends validators 1 and 3 other numbers than their shares."""


def said(messages: Sequence[tuple[int, bytes]]) -> list[Case]:
    """Messages in the board's order; what is no message was posted as a commit."""
    return [
        {"step": body[1] if body[0] == 1 else 1, "sender": sender, "body": hexed(body)} for sender, body in messages
    ]


def run_case(
    comment: str,
    made: ReferenceRun,
    session: ReferenceSession,
    qualified: Sequence[int],
    faults: Sequence[tuple[str, int]] = (),
) -> Case:
    """A run to its end."""
    return {
        "comment": comment,
        "messages": said(made.messages),
        "faults": [{"error": error, "culprit": culprit} for error, culprit in faults],
        "qualified": list(qualified),
        "transcript": hexed(made.transcript),
        "key": hexed(made.threshold_key(session)),
        "shares": [hexed(b32(made.shares[i])) for i in session.indices],
    }


def _cases() -> list[Case]:
    fooled = run(DEALERS, WRONG)
    return [
        run_case("all honest", RUN, SESSION, (1, 2, 3, 4)),
        run_case(
            "dealer 2 sends wrong shares and makes them good", fooled, SESSION, (1, 2, 3, 4), [("WrongShare", 2)] * 2
        ),
        _silent(),
        _unopened(),
        _unanswered(),
        _failed(),
    ]


def _silent() -> Case:
    present = DEALERS[:3]
    messages = [(d.index, d.commit()) for d in present] + [(d.index, d.vote(1)) for d in present]
    messages += [(d.index, d.reveal(present)) for d in present] + [(d.index, d.complaints(())) for d in present]
    made = closed(result(SESSION, present, messages), present)
    return run_case("seat 4 is silent and three vote", made, SESSION, (1, 2, 3), [("SilentSeat", 4)])


def _unopened() -> Case:
    false = _rogue(DEALERS[3].reveal(DEALERS))
    messages = [(d.index, d.commit()) for d in DEALERS]
    messages += [(d.index, d.reveal(DEALERS)) for d in DEALERS[:3]] + [(4, false)]
    messages += [(d.index, d.complaints(())) for d in DEALERS]
    made = closed(result(SESSION, DEALERS[:3], messages, (false,)), DEALERS)
    return run_case("dealer 4 opens something else and gets a share", made, SESSION, (1, 2, 3), [("WrongOpening", 4)])


def _unanswered() -> Case:
    others = [d for d in DEALERS if d.index != 2]
    messages = [(d.index, d.commit()) for d in DEALERS]
    messages += [(d.index, d.reveal(DEALERS, WRONG.get(d.index))) for d in DEALERS]
    messages += [(d.index, d.complaints([DEALERS[1]] if d.index in WRONG[2] else [])) for d in DEALERS]
    messages += [(d.index, d.vote(4)) for d in others]
    made = closed(result(SESSION, others, messages), others)
    faults = [("WrongShare", 2), ("WrongShare", 2), ("SilentSeat", 2)]
    return run_case("dealer 2 sends wrong shares and does not answer", made, SESSION, (1, 3, 4), faults)


def _failed() -> Case:
    messages = [(d.index, d.commit() if d.index < 3 else b"garbage") for d in DEALERS]
    return {
        "comment": "two of four post garbage",
        "messages": said(messages),
        "faults": [{"error": "MalformedMessage", "culprit": culprit} for culprit in (3, 4)],
        "failure": "TooFewDealers",
    }


def _rogue(reveal: bytes) -> bytes:
    """With another constant term, whose secret nobody proves to know."""
    return reveal[:36] + encode(G) + reveal[69:]


def _recommitted(dealer: ReferenceDealer, reveal: bytes) -> bytes:
    """The first message that a changed reveal opens."""
    points, possession = reveal[36:135], reveal[135:199]
    opening = tagged_hash(Tag.DKG_COMMIT, SESSION.id, bytes((dealer.index,)), points, possession)
    honest = dealer.commit()
    return honest[:35] + opening + honest[67:]


def dkg_suite() -> Case:
    """Whole runs, and messages that are refused at a point of a run."""
    return suite(
        "Key generations of spec 41. Refusals: feed the first `after` messages of case `case` to `listener` (1 unless "
        "named; validator 2's first message is `commit` where given), then the body of `sender` is refused.",
        _cases(),
        [*_early_refusals(), *_late_refusals()],
        session=hexed(SESSION.encoded),
        seeds=[hexed(d.seed) for d in DEALERS],
    )


def _refusal(comment: str, error: str, body: bytes, *, after: int, sender: int = 2, **more: Any) -> Case:
    return {
        "comment": comment,
        "case": 1,
        "step": body[1],
        "after": after,
        "sender": sender,
        "body": hexed(body),
        "error": error,
        "culprit": sender,
        **more,
    }


def _early_refusals() -> list[Case]:
    # Of commits and reveals.
    cheat = DEALERS[1]
    commits, reveals = ([body for _, body in RUN.messages[i : i + 4]] for i in (0, 4))
    rogue = _rogue(reveals[1])
    other = ReferenceDealer(SESSION, 2, b"\x99" * 32)

    replayed = commits[1][:2] + b"\x55" * 32 + commits[1][34:]
    return [
        _refusal("another session", "WrongSession", replayed, after=0),
        _refusal("another sender", "WrongSender", commits[2], after=0),
        _refusal("sender outside the set", "WrongSender", commits[1], after=0, sender=5),
        _refusal(
            "another step in the head", "MalformedMessage", commits[1][:1] + b"\x02" + commits[1][2:], after=0, step=1
        ),
        _refusal("a byte short", "MalformedMessage", commits[1][:-1], after=0),
        _refusal("a byte long", "MalformedMessage", commits[1] + b"\x00", after=0),
        _refusal(
            "sealing key is no point", "MalformedMessage", commits[1][:67] + bytes(33) + commits[1][100:], after=0
        ),
        _refusal("a vote with a body", "MalformedMessage", cheat.vote(1) + b"\x00", after=0),
        _refusal("a vote before the phase is open", "OutOfPhase", cheat.vote(2), after=0),
        _refusal("reveal before all commits", "OutOfPhase", reveals[1], after=2),
        _refusal("no possession of the sealing key", "BadPossession", flipped(commits[1], 163), after=0),
        _refusal("another commit of one index", "DuplicateMessage", other.commit(), after=2),
        _refusal("another degree", "WrongDegree", reveals[1][:35] + b"\x02" + reveals[1][36:], after=4),
        _refusal("other commitments", "WrongOpening", rogue, after=4),
        _refusal("another possession", "WrongOpening", flipped(reveals[1], 198), after=4),
        _refusal("no possession of the ephemeral key", "BadPossession", flipped(reveals[1], 295), after=4),
        _refusal(
            "ephemeral key of another dealer",
            "BadPossession",
            reveals[1][:199] + reveals[2][199:296] + reveals[1][296:],
            after=4,
        ),
        _refusal("rogue constant term", "BadPossession", rogue, after=4, commit=hexed(_recommitted(cheat, rogue))),
        _refusal("a sealed share less", "MalformedMessage", reveals[1][:-48], after=4),
    ]


def _late_refusals() -> list[Case]:
    # Of complaints, justifications and closes.
    cheat, other = DEALERS[1], ReferenceDealer(SESSION, 2, b"\x99" * 32)
    complaints = [body for _, body in RUN.messages[8:12]]
    return [
        _refusal("complaint about a right share", "FalseComplaint", cheat.complaints([DEALERS[2]]), after=8),
        _refusal("complaint without proof", "BadComplaint", flipped(cheat.complaints([DEALERS[2]]), 133), after=8),
        _refusal("complaint about oneself", "MalformedMessage", cheat.complaints([cheat]), after=8),
        _refusal("a complaint left over", "MalformedMessage", complaints[1] + b"\x00", after=8),
        _refusal("close on another transcript", "WrongTranscript", cheat.close(bytes(32), RUN.group_key), after=12),
        _refusal("close on another key", "WrongTranscript", cheat.close(RUN.transcript, G), after=12),
        _refusal("justification with a wrong share", "WrongShare", _wrong_answer(cheat), after=12, case=2),
        _refusal("justification of one of two", "UnaskedJustification", cheat.justifications([1]), after=12, case=2),
        _refusal(
            "justification that nobody asked for",
            "UnaskedJustification",
            DEALERS[2].justifications([1]),
            after=12,
            case=2,
            sender=3,
        ),
        _refusal("own message that it did not make", "ForeignOwnMessage", other.commit(), after=0, listener=2),
        _refusal("commit after its phase", "LateMessage", DEALERS[3].commit(), after=6, case=3, sender=4),
        _refusal(
            "reveal of a seat without commit", "NotDue", DEALERS[3].reveal(DEALERS[:3]), after=6, case=3, sender=4
        ),
    ]


def _wrong_answer(cheat: ReferenceDealer) -> bytes:
    return flipped(cheat.justifications([1, 3]), 68)
