"""Suite of spec 41 §1, made by the reference in this folder: threshold/reshare.json."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vectorgen.dkg_reference import ReferenceDealer, ReferenceRun, ReferenceSession, closed, result, run
from vectorgen.dkg_suite import run_case
from vectorgen.threshold_reference import account, b32
from vectorgen.threshold_suite import RUN, SESSION, SIGNERS, hexed, suite

Case = dict[str, Any]
_EARLIER = bytes((SESSION.f,)) + b"".join(SESSION.accounts) + RUN.threshold_key(SESSION)
_NEW_SIGNERS = (*SIGNERS[1:], *(bytes((i,)) * 32 for i in range(5, 9)))


def _session(signers: Sequence[bytes], f: int, t: int, seats: tuple[int, ...], attempt: int = 0) -> ReferenceSession:
    return ReferenceSession(
        network=SESSION.network,
        epoch=2,
        attempt=attempt,
        f=f,
        t=t,
        accounts=tuple(account(signer) for signer in signers),
        earlier=_EARLIER,
        seats=seats,
    )


_REFRESH = _session(SIGNERS, 1, 3, (1, 2, 3, 4))
# Validator 1 leaves, four come: seats 2, 3, 4 and the new 5 to 8 receive.
_RESHARE = _session(_NEW_SIGNERS, 2, 4, (2, 3, 4, 5, 6, 7, 8))


def _everybody(session: ReferenceSession, *, without_share: int = 0) -> list[ReferenceDealer]:
    seats = sorted({*SESSION.indices, *session.recipients})
    return [
        ReferenceDealer(
            session,
            seat,
            bytes((0x70 + seat,)) * 32,
            constant=RUN.shares.get(seat, 0),
            deals=seat in SESSION.indices and seat != without_share,
        )
        for seat in seats
    ]


def _case(
    comment: str, made: ReferenceRun, session: ReferenceSession, qualified: Sequence[int], *faults: tuple[str, int]
) -> Case:
    return run_case(comment, made, session, qualified, faults) | {"session": hexed(session.encoded)}


def _refresh() -> Case:
    return _case("refresh", run(_everybody(_REFRESH)), _REFRESH, (1, 2, 3, 4))


def _reshare() -> Case:
    everybody = _everybody(_RESHARE)
    made = run(everybody[:4], receivers=everybody[1:])
    return _case("one leaves, four come: n 7, f 2, t 4", made, _RESHARE, (1, 2, 3, 4))


def _recovery() -> Case:
    made = run(_everybody(_REFRESH, without_share=4))
    return _case("a refresh in which validator 4 has lost its share", made, _REFRESH, (1, 2, 3)) | {"withoutShare": 4}


def _other_constant() -> Case:
    everybody = _everybody(_REFRESH)
    everybody[1] = ReferenceDealer(_REFRESH, 2, everybody[1].seed, constant=RUN.shares[2] + 1)
    false = everybody[1].reveal(everybody)
    messages = [(d.index, d.commit()) for d in everybody] + [(d.index, d.reveal(everybody)) for d in everybody]
    messages += [(d.index, d.complaints(())) for d in everybody]
    made = closed(result(_REFRESH, [d for d in everybody if d.index != 2], messages, (false,)), everybody)
    return _case("dealer 2 deals another number than its share", made, _REFRESH, (1, 3, 4), ("WrongConstant", 2))


def _not_due(comment: str, sender: int, body: bytes, *, after: int) -> Case:
    told = {"comment": comment, "case": 2, "after": after, "step": body[1], "sender": sender, "body": hexed(body)}
    return told | {"error": "NotDue", "culprit": sender}


def reshare_suite() -> Case:
    """Whole runs, and messages that are refused at a point of a run."""
    everybody = _everybody(_RESHARE)
    newcomer = ReferenceDealer(_RESHARE, 5, everybody[4].seed, constant=5)
    refusals = [
        _not_due("a newcomer deals", 5, newcomer.commit(), after=0),
        _not_due("a newcomer votes", 5, newcomer.vote(1), after=0),
        _not_due("who leaves complains", 1, everybody[0].complaints(()), after=12),
    ]
    return suite(
        "Resharings of spec 41 of the key of case 1 of dkg.json. Each case has its session; `withoutShare` is a dealer "
        "that deals nothing. Refusals as in dkg.json.",
        [_refresh(), _reshare(), _recovery(), _other_constant()],
        refusals,
        seeds=[hexed(d.seed) for d in everybody],
        earlier=hexed(RUN.threshold_key(SESSION)),
        earlierShares=[hexed(b32(RUN.shares[i])) for i in SESSION.indices],
    )
