"""Suite registry: scenarios run on the reference model, call by call."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from caimi.types.primitives import ZERO32, Bytes32, Epoch, Generation, PublicationId, Sequence, UnixSeconds
from caimi.types.records import (
    Answer,
    Certificate,
    Cid,
    Event,
    HostKey,
    InferenceRequest,
    Item,
    Kind,
    Lane,
    Publication,
    Terms,
    Withdrawal,
)
from caimi.wire.digests import publication_id, typed_digest
from caimi.wire.functions import encode_body, encode_call
from vectorgen import fixtures as fx
from vectorgen.edge_scenarios import EDGE_SCENARIOS
from vectorgen.fixtures import Key, certify, hexed, seeded
from vectorgen.script import DEADLINE, NOW, Script

__all__ = ["SCENARIOS", "registry_suite"]


def _commit(s: Script) -> None:
    p = s.home()
    i = s.lock(p)
    s.lock(p)
    s.carry(s.answer(i))
    s.carry(s.answer(i))
    s.do("abort", i)


def _early_answer(s: Script) -> None:
    p = s.home()
    s.carry(s.answer(publication_id(fx.NETWORK, p)))
    s.lock(p)


def _early_refusal(s: Script) -> None:
    p = s.home()
    s.carry(s.answer(publication_id(fx.NETWORK, p), Kind.REFUSED))
    s.lock(p)


def _mirror_refused(s: Script) -> None:
    i = s.lock(s.home())
    s.carry(s.answer(i, Kind.REFUSED))
    s.carry(s.answer(i), first=2)


def _two_mirrors(s: Script) -> None:
    p = fx.publication(s.own, (s.other, fx.ELSEWHERE), deadline=DEADLINE)
    i = s.lock(p)
    s.carry(s.answer(i))
    s.carry(s.answer(i), first=2)
    items = (fx.item(1, s.answer(i)),)
    s.do("applyRun", certify(fx.checkpoint(fx.ELSEWHERE, items)), items, ())


def _deadline(s: Script) -> None:
    i = s.lock(s.home())
    s.now = DEADLINE
    s.do("abort", i)
    s.now = DEADLINE + 1
    s.carry(s.answer(i))
    s.do("abort", i)
    s.do("abort", i)
    s.carry(s.answer(i), first=2)


def _last_second(s: Script) -> None:
    i = s.lock(s.home())
    s.now = DEADLINE
    s.carry(s.answer(i))


def _never_locked(s: Script) -> None:
    p = s.home()
    signature = fx.PUBLISHER.sign(publication_id(fx.NETWORK, p))
    s.do("abortUnlocked", p, signature)
    s.now = DEADLINE + 1
    s.do("abortUnlocked", p, fx.STRANGER.sign(publication_id(fx.NETWORK, p)))
    s.do("abortUnlocked", p, signature)
    s.do("abortUnlocked", p, signature)
    s.lock(p)
    m = s.mirror()
    s.do("abortUnlocked", m, fx.PUBLISHER.sign(publication_id(fx.NETWORK, m)))


def _abort_refusals(s: Script) -> None:
    s.do("abort", PublicationId(seeded("nothing")))
    s.do("abort", s.lock(s.mirror()))


def _lock_refusals(s: Script) -> None:
    s.lock(s.home(), fx.STRANGER)
    s.do("lockModel", s.home(), b"\x00" * 64)
    s.do("lockModel", s.home(), b"\x01" * 64 + b"\x02")
    s.lock(fx.publication(s.other, (fx.ELSEWHERE,)))
    s.lock(dataclasses.replace(s.home(), deadline=UnixSeconds(NOW - 1)))
    s.lock(dataclasses.replace(s.home(), deadline=UnixSeconds(NOW + 2 * s.window - 1)))
    s.lock(s.home(deposit=99))
    s.lock(s.home(deposit=1001))
    s.lock(s.home())
    s.lock(s.home(version=2))
    s.lock(s.home(nonce=seeded("second")))


def _permanent(p: Callable[..., Publication], own: Lane, other: Lane) -> list[Publication]:
    fresh = [seeded(f"permanent {i}") for i in range(20)]
    changes: list[dict[str, Any]] = [
        {"format": 2},
        {"kind": 0},
        {"kind": 3},
        {"name": ""},
        {"name": "Upper"},
        {"name": ".dot"},
        {"name": "a" * 65},
        {"version": 0},
        {"ciphertext": Cid(codec=0x71, digest=seeded("c"))},
        {"ciphertext": Cid(codec=0x55, digest=ZERO32)},
        {"policy_hash": ZERO32},
        {"terms": Terms(currency=ZERO32, unit=0, price=1)},
        {"extension_hash": seeded("extension")},
        {"mirrors": tuple(sorted((other, own, fx.ELSEWHERE), reverse=True))},
        {"mirrors": tuple(sorted((own, other)))},
    ]
    return [dataclasses.replace(p(), nonce=n, **c) for n, c in zip(fresh, changes, strict=False)]


def _permanent_home(s: Script) -> None:
    for p in _permanent(s.home, s.own, s.other):
        s.lock(p)
    s.lock(dataclasses.replace(s.home(), mirrors=()))


def _permanent_mirror(s: Script) -> None:
    refused = [p for p in _permanent(s.mirror, s.own, s.other) if s.own in p.mirrors]
    for p in refused:
        s.lock(p)
        s.lock(p)
    s.carry(s.outcome(publication_id(fx.NETWORK, refused[-1]), 3, 2))


def _mirror_commit(s: Script) -> None:
    p = s.mirror()
    i = s.lock(p)
    s.carry(s.outcome(i, 2))
    s.carry(s.outcome(i, 3), first=2)
    s.carry(s.superseded(i, 2), first=3)
    s.carry(s.outcome(i, 2), first=4)


def _mirror_abort(s: Script) -> None:
    i = s.lock(s.mirror())
    s.now = DEADLINE + 10_000
    s.carry(s.outcome(i, 3, 1))
    s.carry(s.outcome(i, 2), first=2)


def _late_lock(s: Script) -> None:
    p = s.mirror()
    i = publication_id(fx.NETWORK, p)
    s.carry(s.outcome(i, 3, 1))
    s.lock(p)
    q = s.mirror(version=2, nonce=seeded("q"))
    j = publication_id(fx.NETWORK, q)
    s.carry(s.outcome(j, 2), s.superseded(j, 3), first=2)
    s.lock(q)


def _authority(s: Script) -> None:
    i = s.lock(s.home())
    m = s.lock(s.mirror(nonce=seeded("m")))
    stranger = (fx.item(1, s.answer(i)), fx.item(2, s.outcome(m, 2)))
    s.do("applyRun", certify(fx.checkpoint(fx.ELSEWHERE, stranger)), stranger, ())
    s.carry(s.outcome(i, 3), s.answer(m), s.answer(i, home=s.other))


def _totality(s: Script) -> None:
    i = s.lock(s.home())
    good = s.answer(i)
    odd = [
        dataclasses.replace(good, body=good.body[:-1]),
        dataclasses.replace(good, body=good.body + bytes(32)),
        dataclasses.replace(good, body=b"\x01" + good.body[1:]),
        dataclasses.replace(good, body=b""),
        dataclasses.replace(good, kind=99),
        dataclasses.replace(good, schema=2),
        dataclasses.replace(good, kind=Kind.GRANT),
        dataclasses.replace(good, destinations=(s.other,)),
        dataclasses.replace(good, body=encode_body(Kind.LOCKED, 1, s.own)),
        s.outcome(seeded("x"), 4),
        dataclasses.replace(good, destinations=()),
    ]
    s.carry(*odd)


def _run_refusals(s: Script) -> None:
    i = s.lock(s.home())
    items = tuple(fx.item(n + 1, s.answer(i)) for n in range(3))
    point = fx.checkpoint(s.other, items)
    good = certify(point)
    own = fx.checkpoint(s.own, items)
    for certificate, some, proof in _bad_runs(good, items, own):
        s.do("applyRun", certificate, some, proof)


def _bad_runs(good: Certificate, items: tuple[Item, ...], own: Any) -> list[tuple[Any, Any, Any]]:
    point = good.checkpoint
    edit = dataclasses.replace
    return [
        (edit(good, signatures=good.signatures[:2]), items, ()),
        (certify(edit(point, epoch=Epoch(2))), items, ()),
        (certify(own), items, ()),
        (certify(edit(point, generation=Generation(2))), items, ()),
        (certify(edit(point, root=ZERO32)), items, ()),
        (certify(edit(point, first_sequence=Sequence(0))), items, ()),
        (certify(edit(point, last_sequence=Sequence(0))), items, ()),
        (good, (), ()),
        (certify(edit(point, last_sequence=Sequence(1025))), items, ()),
        (good, (items[1], items[0], items[2]), ()),
        (good, (items[0], items[0], items[1]), ()),
        (good, (*items, fx.item(4, items[0].event)), ()),
        (good, items[:2], ()),
        (good, items, (seeded("more"),)),
        (good, items[:2], (seeded("wrong"),)),
        (good, (edit(items[0], event=edit(items[0].event, kind=2)), *items[1:]), ()),
        (certify(point, network=seeded("another network")), items, ()),
    ]


def _multiproof(s: Script) -> None:
    ids = [s.lock(s.home(nonce=seeded(f"n{n}"), version=n + 1)) for n in range(5)]
    s.carry(*(s.answer(i) for i in ids), pick=(1, 3))
    s.carry(*(s.answer(i) for i in ids), pick=(0, 1, 4))


def _supersede(s: Script) -> None:
    low, high = s.home(), s.home(version=3, nonce=seeded("high"))
    late = s.home(version=2, nonce=seeded("late"))
    for n, p in enumerate((low, high, late)):
        s.carry(s.answer(s.lock(p)), first=n + 1)


def _withdraw(s: Script) -> None:
    base = Withdrawal(
        at=s.own,
        account=fx.PUBLISHER.address,
        recipient=fx.STRANGER.address,
        amount=400,
        nonce=seeded("w"),
        deadline=DEADLINE,
    )
    edit = dataclasses.replace
    wrong = [
        (base, fx.STRANGER),
        (edit(base, at=s.other), fx.PUBLISHER),
        (edit(base, amount=0), fx.PUBLISHER),
        (edit(base, deadline=UnixSeconds(NOW - 1)), fx.PUBLISHER),
        (edit(base, amount=1001), fx.PUBLISHER),
        (base, fx.PUBLISHER),
        (base, fx.PUBLISHER),
        (edit(base, amount=1), fx.PUBLISHER),
        (edit(base, nonce=seeded("w2"), amount=601), fx.PUBLISHER),
        (edit(base, nonce=seeded("w2"), amount=600), fx.PUBLISHER),
    ]
    for w, key in wrong:
        s.do("withdraw", w, key.sign(typed_digest(fx.NETWORK, w)))


def _inference(s: Script) -> None:
    i = s.lock(s.mirror())
    edit = dataclasses.replace
    request = InferenceRequest(
        at=s.own,
        publication=i,
        consumer=fx.CONSUMER.address,
        input=Cid(codec=0x55, digest=seeded("input")),
        input_commitment=seeded("in"),
        client_key=seeded("client"),
        nonce=seeded("r"),
        deadline=DEADLINE,
    )

    def ask(r: InferenceRequest, key: Key = fx.CONSUMER) -> Bytes32:
        s.do("requestInference", r, key.sign(typed_digest(fx.NETWORK, r)))
        return typed_digest(fx.NETWORK, r)

    ask(request)
    s.carry(s.outcome(i, 2))
    for bad, key in [
        (request, fx.STRANGER),
        (edit(request, at=s.other), fx.CONSUMER),
        (edit(request, deadline=UnixSeconds(NOW - 1)), fx.CONSUMER),
        (edit(request, publication=seeded("none")), fx.CONSUMER),
        (edit(request, input=Cid(codec=1, digest=seeded("input"))), fx.CONSUMER),
    ]:
        ask(bad, key)
    asked = ask(request)
    ask(request)
    ask(edit(request, client_key=seeded("other")))
    _answers(s, i, asked)


def _answers(s: Script, i: Bytes32, asked: Bytes32) -> None:
    edit = dataclasses.replace
    host = HostKey(
        sealing_key=seeded("sealing"), signing_key=fx.HOST.address, epoch=Epoch(1), until=UnixSeconds(DEADLINE + 500)
    )
    answer = Answer(
        at=s.own,
        request=asked,
        publication=i,
        lease=seeded("lease"),
        output=Cid(codec=0x55, digest=seeded("output")),
        input_commitment=seeded("in"),
        output_commitment=seeded("out"),
        receipt_hash=seeded("receipt"),
        answered_at=UnixSeconds(NOW),
    )

    def give(a: Answer, h: HostKey = host, by: Key = fx.HOST, operator: Key = fx.OPERATOR) -> None:
        s.do(
            "answerInference",
            a,
            by.sign(typed_digest(fx.NETWORK, a)),
            h,
            operator.sign(typed_digest(fx.NETWORK, h)),
        )

    give(answer, operator=fx.STRANGER)
    give(answer, by=fx.STRANGER)
    give(edit(answer, at=s.other))
    give(edit(answer, request=seeded("none")))
    give(answer, edit(host, epoch=Epoch(2)))
    give(answer, edit(host, until=UnixSeconds(NOW - 1)))
    give(edit(answer, publication=seeded("other")))
    give(edit(answer, input_commitment=seeded("other")))
    give(edit(answer, receipt_hash=ZERO32))
    give(edit(answer, output=Cid(codec=0x55, digest=ZERO32)))
    s.now = DEADLINE + 1
    give(answer)
    s.now = DEADLINE
    give(answer)
    give(edit(answer, receipt_hash=seeded("second")))


def _receipt_home(s: Script) -> None:
    i = s.lock(s.home())
    body = encode_body(Kind.ANSWERED, seeded("request"), seeded("receipt"), Cid(codec=0x55, digest=seeded("output")))
    event = Event(schema=1, kind=Kind.ANSWERED, destinations=(s.own,), subject=i, body=body)
    s.carry(s.answer(i), event, event, dataclasses.replace(event, subject=seeded("none")))


def _multicall(s: Script) -> None:
    p = s.home()
    q = s.home(version=2, nonce=seeded("q"))
    calls = [encode_call("lockModel", x, fx.PUBLISHER.sign(publication_id(fx.NETWORK, x))) for x in (p, q)]
    bad = encode_call("abort", PublicationId(seeded("nothing")))
    s.do("multicall", (calls[0], bad))
    s.do("multicall", tuple(calls))
    s.do("multicall", tuple(calls))


SCENARIOS: list[tuple[str, Callable[[Script], None]]] = [
    ("lock at home, the mirror's LOCKED commits, repeats do nothing", _commit),
    ("the mirror's LOCKED comes before home's lock", _early_answer),
    ("the mirror's REFUSED comes before home's lock", _early_refusal),
    ("a mirror's REFUSED aborts and refunds; its later LOCKED is ignored", _mirror_refused),
    ("two mirrors: only the last LOCKED commits", _two_mirrors),
    ("abort one second after the deadline, LOCKED after it is refused", _deadline),
    ("LOCKED in the last second commits", _last_second),
    ("abort of bytes that home never locked", _never_locked),
    ("aborts that are refused", _abort_refusals),
    ("locks that home refuses", _lock_refusals),
    ("permanent reasons at home", _permanent_home),
    ("permanent reasons at a mirror are answered with REFUSED", _permanent_mirror),
    ("a mirror follows: COMMITTED, no abort after it, SUPERSEDED", _mirror_commit),
    ("a mirror follows an abort and looks at no clock", _mirror_abort),
    ("outcomes that come before the lock are kept", _late_lock),
    ("events whose source has no say", _authority),
    ("odd events do not stop a run", _totality),
    ("runs that are refused", _run_refusals),
    ("events picked by multiproof, each applied once", _multiproof),
    ("a higher version supersedes, a lower one is superseded at once", _supersede),
    ("withdrawals", _withdraw),
    ("inference at a mirror: requests and answers", _inference),
    ("a mirror's ANSWERED at home", _receipt_home),
    ("multicall is all or nothing", _multicall),
    *EDGE_SCENARIOS,
]
"""Publications, money and inference."""


def registry_suite(scenarios: list[tuple[str, Callable[[Script], None]]], own: Lane, other: Lane) -> dict[str, Any]:
    """The scenarios for one registry."""
    cases: list[dict[str, Any]] = []
    for number, (comment, play) in enumerate(scenarios):
        script = Script(number + 1, comment, own, other)
        play(script)
        cases.append(script.written())
    return {"network": hexed(fx.NETWORK), "cases": cases}
