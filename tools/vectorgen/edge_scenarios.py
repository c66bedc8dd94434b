"""Suite registry: what is at the edge of an encoding or of a limit, where ledgers would differ first; and creation."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from caimi.protocol.registry import Registry
from caimi.protocol.registry_state import Limits, RegistryConfig
from caimi.types.errors import Refusal
from caimi.types.primitives import ZERO32, Address, Bytes32, PublicationId
from caimi.types.records import Cid, Event, Genesis, InferenceRequest, Kind, Publication, Withdrawal
from caimi.wire.codec import encode
from caimi.wire.digests import network_id, publication_id, typed_digest
from caimi.wire.functions import encode_body, encode_call
from vectorgen import fixtures as fx
from vectorgen.fixtures import hexed, seeded
from vectorgen.script import DEADLINE, NOWHERE, Script, refusal_fields

__all__ = ["EDGE_SCENARIOS", "creation_suite"]

_NO_TEXT = (b"\xff", b"digits\xc3", b"\xed\xa0\x80", b"a\x00b", b"\xf5\x80\x80\x80")
"""Names that are no UTF-8, or text that is no name."""


def _named(publication: Publication, number: int, name: bytes) -> Publication:
    text = name.decode("utf-8", "surrogateescape")
    return dataclasses.replace(publication, name=text, nonce=seeded(f"no text {number}"))


def _names_at_home(s: Script) -> None:
    unlawful = [_named(s.home(), n, name) for n, name in enumerate(_NO_TEXT)]
    for p in unlawful:
        s.lock(p)
    s.now = DEADLINE + 1
    s.do("abortUnlocked", unlawful[0], fx.PUBLISHER.sign(publication_id(fx.NETWORK, unlawful[0])))
    good = dataclasses.replace(s.home(), deadline=DEADLINE + 600)
    s.do("multicall", (_lock(good), _lock(unlawful[1])))
    s.lock(good)


def _names_at_mirror(s: Script) -> None:
    early = _named(s.mirror(), 99, b"\xc3\x28")
    s.carry(s.outcome(publication_id(fx.NETWORK, early), 3, 3))
    for n, name in enumerate(_NO_TEXT):
        s.lock(_named(s.mirror(), n, name))
    s.lock(early)
    s.lock(early)
    s.do("multicall", (_lock(_named(s.mirror(), 7, b"\x80")), _lock(s.mirror())))
    carried = s.answer(publication_id(fx.NETWORK, _named(s.home(), 8, b"\xfe")), Kind.REFUSED)
    s.carry(carried, s.outcome(publication_id(fx.NETWORK, s.mirror()), 2), first=2)


def _lock(publication: Publication) -> bytes:
    signature = fx.PUBLISHER.sign(publication_id(fx.NETWORK, publication))
    return encode_call("lockModel", publication, signature)


def _zero_receipts(s: Script) -> None:
    i, mirrored = s.lock(s.home()), s.lock(s.mirror(nonce=seeded("mirrored")))

    def answered(subject: Bytes32, receipt: Bytes32, request: str = "request") -> Event:
        output = Cid(codec=0x55, digest=seeded("output"))
        body = encode_body(Kind.ANSWERED, seeded(request), receipt, output)
        return Event(schema=1, kind=Kind.ANSWERED, destinations=(s.own,), subject=subject, body=body)

    receipt = seeded("receipt")
    s.carry(answered(i, ZERO32), s.answer(i), answered(i, receipt), answered(i, ZERO32), answered(i, receipt))
    s.carry(answered(mirrored, ZERO32), answered(seeded("none"), ZERO32), answered(mirrored, receipt), first=6)
    s.carry(answered(i, receipt, "another"), answered(seeded("none"), receipt), first=9)


def _carried_inference(s: Script) -> None:
    # A model of which this registry is home: asked and answered here, and at its mirror.
    i = s.lock(s.home())
    s.carry(s.answer(i))
    request = _request(s, i)
    s.do("requestInference", request, fx.CONSUMER.sign(typed_digest(fx.NETWORK, request)))
    asked = encode_body(
        Kind.REQUESTED,
        seeded("elsewhere"),
        fx.CONSUMER.address,
        request.input,
        request.input_commitment,
        request.client_key,
        request.deadline,
    )
    event = Event(schema=1, kind=Kind.REQUESTED, destinations=(s.other,), subject=i, body=asked)
    answer = encode_body(Kind.ANSWERED, seeded("elsewhere"), seeded("receipt"), request.input)
    reply = dataclasses.replace(event, kind=Kind.ANSWERED, destinations=(s.own,), body=answer)
    s.carry(event, reply, dataclasses.replace(event, destinations=()), reply, first=2)
    s.carry(dataclasses.replace(reply, body=answer[:-1]), dataclasses.replace(reply, body=answer + bytes(32)), first=6)
    dirty = answer[:64] + b"\x01" + answer[65:]  # a codec beyond 8 bits
    items = (fx.item(1, dataclasses.replace(reply, body=dirty)),)
    s.do("applyRun", fx.certify(fx.checkpoint(fx.ELSEWHERE, items)), items, ())
    foreign = (fx.item(2, reply),)
    s.do("applyRun", fx.certify(fx.checkpoint(fx.ELSEWHERE, foreign)), foreign, ())


def _request(s: Script, publication: Bytes32) -> InferenceRequest:
    return InferenceRequest(
        at=s.own,
        publication=publication,
        consumer=fx.CONSUMER.address,
        input=Cid(codec=0x55, digest=seeded("input")),
        input_commitment=seeded("in"),
        client_key=seeded("client"),
        nonce=seeded("r"),
        deadline=DEADLINE,
    )


def _multicall_limits(s: Script) -> None:
    good, inner = _lock(s.home()), encode_call("multicall", ())
    s.do("multicall", ())
    s.do("multicall", (inner,))
    s.do("multicall", (good, inner))
    s.do("multicall", (good, inner[:4]))
    s.do("multicall", (encode_call("abort", PublicationId(seeded("nothing"))), inner))
    s.do("multicall", (good, b""))
    s.do("multicall", (good, good[:3]))
    s.do("multicall", (good, b"\x01\x02\x03\x04"))
    s.do("multicall", (good, good[:200]))
    s.do("multicall", (b"",) * 1001)
    s.do("multicall", (b"",) * 1000)
    s.do("multicall", (good,) * 3)


def _malformed(s: Script) -> None:
    withdrawal = Withdrawal(
        at=s.own,
        account=fx.PUBLISHER.address,
        recipient=fx.STRANGER.address,
        amount=1,
        nonce=seeded("w"),
        deadline=DEADLINE,
    )
    calls = {
        "lockModel": _lock(s.home()),
        "abort": encode_call("abort", PublicationId(seeded("nothing"))),
        "withdraw": encode_call("withdraw", withdrawal, fx.PUBLISHER.sign(typed_digest(fx.NETWORK, withdrawal))),
    }
    for short in (b"", b"\xbd", calls["lockModel"][:3], b"\x00" * 4, b"\xff" * 36):
        s.send("", short)
    for name, call in calls.items():
        for length in (4, 35, len(call) - 32):
            s.send(name, call[:length])
    # Format and amount beyond their types; an offset beyond the call.
    s.send("lockModel", calls["lockModel"][:68] + b"\x01" + calls["lockModel"][69:])
    s.send("lockModel", calls["lockModel"][:4] + b"\xff" * 32 + calls["lockModel"][36:])
    s.send("withdraw", calls["withdraw"][:132] + b"\x01" + calls["withdraw"][133:])
    s.send("lockModel", calls["lockModel"])


EDGE_SCENARIOS: list[tuple[str, Callable[[Script], None]]] = [
    ("names that are no text at home", _names_at_home),
    ("names that are no text at a mirror are answered with REFUSED and stop no run", _names_at_mirror),
    ("receipts of zero are refused where they are carried to", _zero_receipts),
    ("requests and answers that another registry tells of", _carried_inference),
    ("what a multicall may hold", _multicall_limits),
    ("calls that are none", _malformed),
]
"""For both ledgers, as `SCENARIOS` of the suite."""


def creation_suite() -> dict[str, Any]:
    """What a registry is created with, or refused."""
    edit = dataclasses.replace
    good, zero = fx.GENESIS, Address(bytes(20))
    some = [fx.Key(f"member {n}").address for n in range(65)]
    cases: list[tuple[str, Genesis, int, int]] = [
        ("four validators", good, 1, 0),
        ("the largest numbers", good, 2**128 - 1, 2**32 - 1),
        ("64 validators, 21 of them bad", edit(good, validators=tuple(some[:64]), f=21, t=43), 100, 30),
        ("no smallest deposit", good, 0, 30),
        ("a clock window of 33 bits", good, 100, 2**32),
        ("a clock window of 64 bits", good, 100, 2**64 - 1),
        ("the deposit is looked at before the window", good, 0, 2**32),
        ("the window is looked at before the quorum", edit(good, f=0), 100, 2**32),
        ("nobody may be bad", edit(good, f=0), 100, 30),
        ("three validators", edit(good, validators=good.validators[:3]), 100, 30),
        ("two of six are bad", edit(good, validators=tuple(some[:6]), f=2, t=3), 100, 30),
        ("t below f + 1", edit(good, t=1), 100, 30),
        ("t above n - f", edit(good, t=4), 100, 30),
        ("65 validators", edit(good, validators=tuple(some), f=21, t=33), 100, 30),
        ("the quorum is looked at before the accounts", edit(good, validators=(zero,) * 4, t=4), 100, 30),
        ("a validator twice", edit(good, validators=(*good.validators[:3], good.validators[0])), 100, 30),
        ("the account zero as a validator", edit(good, validators=(zero, *good.validators[1:])), 100, 30),
        ("no operator", edit(good, operators=()), 100, 30),
        ("an operator twice", edit(good, operators=good.operators * 2), 100, 30),
        ("the account zero as an operator", edit(good, operators=(*good.operators, zero)), 100, 30),
    ]
    limited: list[tuple[str, Genesis, int, int, Limits]] = [
        ("the widest limits", good, 100, 30, Limits(resume_delay=2**32 - 1, withdrawal_cap=2**128 - 1)),
        ("a resume delay of 33 bits", good, 100, 30, Limits(resume_delay=2**32)),
        ("a resume delay of 64 bits", good, 100, 30, Limits(resume_delay=2**64 - 1)),
        ("the window is looked at before the resume delay", good, 100, 2**33, Limits(resume_delay=2**32)),
        ("the resume delay is looked at before the quorum", edit(good, f=0), 100, 30, Limits(resume_delay=2**32)),
    ]
    every = [*((*case, Limits()) for case in cases), *limited]
    return {"cases": [_creation(n + 1, *case) for n, case in enumerate(every)]}


def _creation(number: int, comment: str, genesis: Genesis, deposit: int, window: int, limits: Limits) -> dict[str, Any]:
    case: dict[str, Any] = {
        "tcId": number,
        "comment": comment,
        "config": {
            "genesis": hexed(encode(genesis)),
            "minDeposit": str(deposit),
            "clockWindow": str(window),
            "resumeDelay": str(limits.resume_delay),
            "withdrawalCap": str(limits.withdrawal_cap),
            "root": hexed(encode(NOWHERE)),
        },
    }
    try:
        Registry.create(
            RegistryConfig(lane=fx.FABRIC, genesis=genesis, min_deposit=deposit, clock_window=window, limits=limits)
        )
    except Refusal as refusal:
        return case | refusal_fields(refusal)
    return case | {"network": hexed(network_id(genesis))}
