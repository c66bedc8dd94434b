"""Suite registry: batches at home and at a mirror (spec 37)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from caimi.protocol.batches import batch_root
from caimi.types.primitives import ZERO32, Bytes32, Epoch, PublicationId, UnixSeconds
from caimi.types.records import BatchProof, Cid, Event, InferenceRequest, Kind, Lane, Pause, Publication, Revocation
from caimi.wire.digests import batch_leaf, publication_id, typed_digest
from caimi.wire.functions import encode_body, encode_call
from caimi.wire.merkle import merkle_multiproof
from vectorgen import fixtures as fx
from vectorgen.fixtures import Key, certify, seeded
from vectorgen.script import DEADLINE, NOW, Script

__all__ = ["BATCH_SCENARIOS"]


def _many(make: Callable[..., Publication], count: int, **changes: Any) -> list[Publication]:
    return [make(name=f"model-{i}", nonce=seeded(f"batch {i}"), **changes) for i in range(count)]


def _ids(publications: Sequence[Publication]) -> tuple[PublicationId, ...]:
    return tuple(publication_id(fx.NETWORK, p) for p in publications)


def _root(publications: Sequence[Publication]) -> Bytes32:
    return batch_root(_ids(publications))


def _proof(publications: Sequence[Publication], place: int, /, **changes: Any) -> BatchProof:
    leaves = [batch_leaf(i, identifier) for i, identifier in enumerate(_ids(publications))]
    proof = BatchProof(
        home=publications[0].home,
        root=_root(publications),
        index=place,
        siblings=merkle_multiproof(leaves, [place]),
    )
    return dataclasses.replace(proof, **changes)


def _signed(publication: Publication, key: Key = fx.PUBLISHER) -> bytes:
    return key.sign(publication_id(fx.NETWORK, publication))


def _lock(s: Script, publications: Sequence[Publication]) -> Bytes32:
    s.do("lockBatch", tuple(publications), tuple(_signed(p) for p in publications))
    return _root(publications)


def _take(s: Script, publications: Sequence[Publication], place: int, /, **changes: Any) -> None:
    p = publications[place]
    s.do("takeOut", p, _signed(p), dataclasses.replace(_proof(publications, place), **changes))


def _look(s: Script, publications: Sequence[Publication]) -> None:
    for index, identifier in enumerate(_ids(publications)):
        s.look(identifier, _proof(publications, index))


def _answered(s: Script, root: Bytes32, version: int = 1, home: Lane | None = None) -> Event:
    body = encode_body(Kind.BATCH_ANSWERED, version, home or s.own)
    return Event(schema=1, kind=Kind.BATCH_ANSWERED, destinations=(s.own,), subject=root, body=body)


def _outcome(s: Script, root: Bytes32, state: int, count: int, taken: int = 0, reason: int = 0) -> Event:
    body = encode_body(Kind.BATCH_OUTCOME, state, reason, count, taken)
    return Event(schema=1, kind=Kind.BATCH_OUTCOME, destinations=(s.own,), subject=root, body=body)


def _revoked(s: Script, identifier: PublicationId) -> Event:
    body = encode_body(Kind.REVOKED, 7, s.other)
    return Event(schema=1, kind=Kind.REVOKED, destinations=(s.own,), subject=identifier, body=body)


# --- at home


def _commit(s: Script) -> None:
    batch = _many(s.home, 5)
    root = _lock(s, batch)
    _lock(s, batch)
    s.lock(batch[1])
    s.do("abort", _ids(batch)[1])
    s.carry(_answered(s, root))
    s.carry(_answered(s, root))
    s.do("abortBatch", root)
    for index in (0, 4, 2, 4):
        _take(s, batch, index)
    _lock(s, batch)
    _look(s, batch)


def _alone(s: Script) -> None:
    batch = _many(s.home, 1)
    root = _lock(s, batch)
    s.carry(_answered(s, root))
    _take(s, batch, 0)
    _look(s, batch)


def _two_mirrors(s: Script) -> None:
    batch = [
        fx.publication(s.own, (s.other, fx.ELSEWHERE), name=f"model-{i}", nonce=seeded(f"batch {i}"), deadline=DEADLINE)
        for i in range(3)
    ]
    root = _lock(s, batch)
    s.carry(_answered(s, root))
    s.carry(_answered(s, root), first=2)
    items = (fx.item(1, _answered(s, root)),)
    s.do("applyRun", certify(fx.checkpoint(fx.ELSEWHERE, items)), items, ())
    _look(s, batch)


def _early_answer(s: Script) -> None:
    batch = _many(s.home, 2)
    s.carry(_answered(s, _root(batch)))
    s.carry(_answered(s, _root(batch), 2), first=2)
    _lock(s, batch)
    _look(s, batch)


def _other_rules(s: Script) -> None:
    early, late = _many(s.home, 2), [s.home(name="late", nonce=seeded("late"))]
    s.carry(_answered(s, _root(early), 2))
    _lock(s, early)
    root = _lock(s, late)
    s.carry(_answered(s, root, 2), first=2)
    _take(s, early, 1)
    _take(s, late, 0)
    _look(s, early)
    _look(s, late)


def _deadlines(s: Script) -> None:
    ends = (DEADLINE, DEADLINE + 10, DEADLINE + 20, DEADLINE + 20)
    batch = [dataclasses.replace(p, deadline=UnixSeconds(e)) for p, e in zip(_many(s.home, 4), ends, strict=True)]
    root = _lock(s, batch)
    s.now = DEADLINE
    _take(s, batch, 1)
    s.now = DEADLINE + 1
    s.carry(_answered(s, root))
    _take(s, batch, 0)
    _take(s, batch, 1)
    s.carry(s.answer(_ids(batch)[1]), first=2)
    s.now = DEADLINE + 20
    s.do("abortBatch", root)
    s.now = DEADLINE + 21
    s.do("abortBatch", root)
    s.do("abortBatch", root)
    _take(s, batch, 2)
    s.carry(_answered(s, root), first=3)
    _look(s, batch)


def _last_second(s: Script) -> None:
    batch = _many(s.home, 2)
    root = _lock(s, batch)
    s.now = DEADLINE
    s.carry(_answered(s, root))


def _backwards(s: Script) -> None:
    batch = _many(s.home, 3)
    batch[0] = dataclasses.replace(batch[0], deadline=UnixSeconds(DEADLINE + 50))
    root = _lock(s, batch)
    s.now = DEADLINE + 1
    _take(s, batch, 0)
    s.now = DEADLINE
    s.carry(_answered(s, root))
    _take(s, batch, 1)
    s.now = DEADLINE + 51
    s.do("abort", _ids(batch)[0])
    _look(s, batch)


def _early_word_of_one(s: Script) -> None:
    # What mirrors told of a publication alone counts once it stands alone.
    ends = (DEADLINE, DEADLINE + 10, DEADLINE + 10)
    batch = [dataclasses.replace(p, deadline=UnixSeconds(e)) for p, e in zip(_many(s.home, 3), ends, strict=True)]
    ids = _ids(batch)
    s.carry(s.answer(ids[0]), s.answer(ids[1]), s.answer(ids[2], Kind.REFUSED))
    root = _lock(s, batch)
    s.now = DEADLINE + 1
    for index in range(3):
        _take(s, batch, index)
    s.now = DEADLINE
    s.carry(_answered(s, root), first=4)
    _look(s, batch)


def _lock_refusals(s: Script) -> None:
    good = _many(s.home, 3)
    edit = dataclasses.replace

    def with_last(p: Publication, key: Key = fx.PUBLISHER) -> None:
        both = (good[0], p)
        s.do("lockBatch", both, (_signed(good[0]), _signed(p, key)))

    s.do("lockBatch", (), ())
    s.do("lockBatch", (good[0], good[1]), (_signed(good[0]),))
    with_last(good[1], fx.STRANGER)
    s.do("lockBatch", (good[0], good[1]), (_signed(good[0]), _signed(good[1])[:64]))
    with_last(s.mirror(nonce=seeded("m")))
    with_last(fx.publication(s.own, (s.other, fx.ELSEWHERE), nonce=seeded("w"), deadline=DEADLINE))
    with_last(good[0])
    with_last(edit(good[1], nonce=good[0].nonce))
    with_last(edit(good[1], name=good[0].name))
    with_last(edit(good[1], deposit=901))
    with_last(edit(good[1], deposit=99))
    with_last(edit(good[1], format=2))
    with_last(edit(good[1], version=0))
    with_last(edit(good[1], name="Bad Name"))
    with_last(edit(good[1], extension_hash=seeded("extension")))
    with_last(edit(good[1], deadline=UnixSeconds(NOW - 1)))
    with_last(edit(good[1], deadline=UnixSeconds(NOW + 2 * s.window - 1)))
    with_last(edit(good[1], publisher=fx.CONSUMER.address), fx.CONSUMER)
    s.lock(good[2])
    with_last(good[2])
    s.now = DEADLINE + 1
    unlocked = edit(good[1], deadline=DEADLINE)
    s.do("abortUnlocked", unlocked, _signed(unlocked))
    s.now = NOW
    with_last(unlocked)


def _home_refusals(s: Script) -> None:
    batch = _many(s.home, 3)
    s.do("abortBatch", seeded("none"))
    _take(s, batch, 0)
    root = _lock(s, batch)
    s.do("abortBatch", root)
    s.do("abortUnlocked", batch[0], _signed(batch[0]))
    s.do("answerBatch", s.own, root)
    s.now = DEADLINE + 1
    s.do("abortUnlocked", batch[0], _signed(batch[0]))
    s.do("takeOut", batch[0], _signed(batch[0], fx.STRANGER), _proof(batch, 0))
    _take(s, batch, 0, home=s.other)
    _take(s, batch, 0, root=seeded("none"))
    _take(s, batch, 0, index=1)
    _take(s, batch, 0, index=3)
    _take(s, batch, 0, siblings=())
    _take(s, batch, 0, siblings=(*_proof(batch, 0).siblings, ZERO32))
    foreign = fx.publication(s.other, (fx.ELSEWHERE,), deadline=DEADLINE)
    s.do("takeOut", foreign, _signed(foreign), _proof(batch, 0))
    outside = s.home(name="outside", nonce=seeded("outside"))
    s.do("takeOut", outside, _signed(outside), _proof(batch, 0))
    s.look(_ids(batch)[0], _proof(batch, 0, root=seeded("none")))
    s.look(_ids(batch)[0], _proof(batch, 1))
    s.look(_ids(batch)[0], _proof(batch, 0, index=3))
    s.look(_ids(batch)[0], _proof(batch, 0, siblings=()))


def _versions(s: Script) -> None:
    first = s.lock(s.home())
    s.carry(s.answer(first))
    batch = [s.home(version=v, nonce=seeded(f"v{v}")) for v in (3, 2)]
    root = _lock(s, batch)
    s.carry(_answered(s, root), first=2)
    _take(s, batch, 0)
    _look(s, batch)
    _take(s, batch, 1)
    _look(s, batch)


def _revoked_at_home(s: Script) -> None:
    batch = _many(s.home, 3)
    ids = _ids(batch)
    root = _lock(s, batch)
    s.carry(_answered(s, root), _revoked(s, ids[1]))
    _look(s, batch)
    _take(s, batch, 1)
    _take(s, batch, 2)
    _revoke(s, ids[2])
    s.do("multicall", (_take_call(batch, 0), _revoke_call(s, ids[0], "second")))
    _look(s, batch)


def _revoke_call(s: Script, publication: PublicationId, label: str) -> bytes:
    revocation = Revocation(
        at=s.own,
        publication=publication,
        publisher=fx.PUBLISHER.address,
        reason=0,
        nonce=seeded("revocation " + label),
        deadline=UnixSeconds(DEADLINE + 10_000),
    )
    return encode_call("revoke", revocation, fx.PUBLISHER.sign(typed_digest(fx.NETWORK, revocation)))


def _revoke(s: Script, publication: PublicationId) -> None:
    s.send("revoke", _revoke_call(s, publication, "first"))


def _take_call(publications: Sequence[Publication], index: int) -> bytes:
    p = publications[index]
    return encode_call("takeOut", p, _signed(p), _proof(publications, index))


def _pause(s: Script) -> None:
    s.order("pause", Pause(at=s.own, epoch=Epoch(1), counter=1), (1, 3))


def _paused(s: Script) -> None:
    locked, late = _many(s.home, 2), [s.home(name="late", nonce=seeded("late"))]
    mirrored = _many(s.mirror, 2)
    root = _lock(s, locked)
    s.do("answerBatch", s.other, _root(mirrored))
    _pause(s)
    _lock(s, locked)
    _lock(s, late)
    s.do("answerBatch", s.other, _root(mirrored))
    s.do("answerBatch", s.other, seeded("another root"))
    s.carry(_answered(s, root), _outcome(s, _root(mirrored), 2, 2))
    _take(s, locked, 0)
    _take(s, mirrored, 1)
    _look(s, locked)
    _look(s, mirrored)


def _answers(s: Script) -> None:
    batch, other = _many(s.home, 2), [s.home(name="other", nonce=seeded("other"))]
    root, second = _lock(s, batch), _lock(s, other)
    answered = _answered(s, root)
    locked = Event(
        schema=1, kind=Kind.BATCH_LOCKED, destinations=(s.own,), subject=root, body=encode_body(Kind.BATCH_LOCKED, 2)
    )
    s.carry(
        _answered(s, root, home=s.other),
        locked,
        dataclasses.replace(answered, body=answered.body[:-1]),
        dataclasses.replace(answered, schema=2),
        _answered(s, seeded("unknown")),
        answered,
        answered,
        _answered(s, root, 9),
    )
    items = (fx.item(1, _answered(s, second)),)
    s.do("applyRun", certify(fx.checkpoint(fx.ELSEWHERE, items)), items, ())
    s.now = DEADLINE + 1
    s.carry(_answered(s, second), first=9)
    s.do("abortBatch", second)
    s.carry(_answered(s, second), first=10)


def _two_batches(s: Script) -> None:
    first, second = _many(s.home, 3), [s.home(name="other", nonce=seeded("other"))]
    calls = tuple(encode_call("lockBatch", tuple(b), tuple(_signed(p) for p in b)) for b in (first, second))
    s.do("multicall", (*calls, encode_call("abortBatch", seeded("none"))))
    s.do("multicall", calls)
    s.carry(_answered(s, _root(first)), _answered(s, _root(second)))
    _look(s, first)
    _look(s, second)


# --- at a mirror


def _follow(s: Script) -> None:
    batch = _many(s.mirror, 9)
    root = _root(batch)
    s.do("answerBatch", s.own, root)
    s.do("answerBatch", s.other, ZERO32)
    s.do("answerBatch", s.other, root)
    s.do("answerBatch", s.other, root)
    _take(s, batch, 8)
    s.look(_ids(batch)[8], _proof(batch, 8))
    _ask(s, _ids(batch)[8])
    s.carry(_outcome(s, root, 2, 9))
    s.carry(_outcome(s, root, 2, 9), first=2)
    s.carry(_outcome(s, root, 3, 9), first=3)
    _ask(s, _ids(batch)[8])
    _take(s, batch, 8)
    _take(s, batch, 8)
    _take(s, batch, 3)
    _ask(s, _ids(batch)[8])
    _look(s, batch)


def _ask(s: Script, publication: Bytes32) -> None:
    request = InferenceRequest(
        at=s.own,
        publication=publication,
        consumer=fx.CONSUMER.address,
        input=Cid(codec=0x55, digest=seeded("input")),
        input_commitment=seeded("in"),
        client_key=seeded("client"),
        nonce=seeded("asked"),
        deadline=UnixSeconds(DEADLINE + 10_000),
    )
    s.do("requestInference", request, fx.CONSUMER.sign(typed_digest(fx.NETWORK, request)))


def _waiting(s: Script) -> None:
    batch = _many(s.mirror, 2)
    s.do("answerBatch", s.other, _root(batch))
    _look(s, batch)
    s.look(_ids(batch)[0], _proof(batch, 0, siblings=()))


def _mirror_refusals(s: Script) -> None:
    batch = _many(s.mirror, 3)
    root = _root(batch)
    _take(s, batch, 0)
    s.do("answerBatch", s.other, root)
    _take(s, batch, 0)
    s.carry(_outcome(s, root, 2, 3))
    s.do("takeOut", batch[0], _signed(batch[0], fx.STRANGER), _proof(batch, 0))
    _take(s, batch, 0, home=fx.ELSEWHERE)
    _take(s, batch, 0, root=seeded("none"))
    _take(s, batch, 0, index=2)
    _take(s, batch, 0, index=3)
    _take(s, batch, 2, siblings=())
    _take(s, batch, 2, siblings=(*_proof(batch, 2).siblings, ZERO32))
    foreign = fx.publication(s.other, (fx.ELSEWHERE,), deadline=DEADLINE)
    s.do("takeOut", foreign, _signed(foreign), _proof(batch, 0))


def _early_outcome(s: Script) -> None:
    kept, dropped = _many(s.mirror, 2), [s.mirror(name="dropped", nonce=seeded("dropped"))]
    good = _outcome(s, _root(kept), 2, 2)
    s.carry(
        _outcome(s, _root(kept), 5, 2),
        _outcome(s, _root(kept), 2, 0),
        _outcome(s, _root(kept), 2, 257),
        _outcome(s, _root(kept), 3, 2, reason=4),
        dataclasses.replace(good, body=good.body[:-32]),
        dataclasses.replace(good, schema=2),
        good,
        _outcome(s, _root(dropped), 3, 1, reason=1),
    )
    s.do("answerBatch", s.other, _root(kept))
    _take(s, kept, 1)
    _take(s, dropped, 0)
    _look(s, kept)
    _look(s, dropped)


def _taken_elsewhere(s: Script) -> None:
    batch = _many(s.mirror, 3)
    ids, root = _ids(batch), _root(batch)
    s.do("answerBatch", s.other, root)
    s.carry(_outcome(s, root, 2, 3, taken=0b101))
    _take(s, batch, 0)
    _take(s, batch, 1)
    s.lock(batch[0])
    _take(s, batch, 0)
    s.carry(s.outcome(ids[0], 3, 1), first=2)
    _look(s, batch)


def _locked_alone(s: Script) -> None:
    batch = _many(s.mirror, 4)
    ids, root = _ids(batch), _root(batch)
    for p in batch[:3]:
        s.lock(p)
    s.carry(_revoked(s, ids[1]))
    s.carry(_outcome(s, root, 2, 4), first=2)
    _take(s, batch, 0)
    _take(s, batch, 1)
    _look(s, batch)


def _late_words(s: Script) -> None:
    batch = _many(s.mirror, 4)
    ids, root = _ids(batch), _root(batch)
    s.carry(_outcome(s, root, 2, 4), s.superseded(ids[0], 9), _revoked(s, ids[1]), s.superseded(ids[2], 9))
    s.carry(_revoked(s, ids[2]), first=5)
    _take(s, batch, 0)
    _take(s, batch, 1)
    _look(s, batch)


BATCH_SCENARIOS: list[tuple[str, Callable[[Script], None]]] = [
    ("a batch commits with one answer; ids are taken out of it", _commit),
    ("a batch of one", _alone),
    ("two mirrors: only the last answer commits a batch", _two_mirrors),
    ("the mirror's answer comes before home's lock of the batch, the first answer stays", _early_answer),
    ("a mirror with other rules: the batch aborts, deposits go back one by one", _other_rules),
    ("between the earliest and the latest deadline ids are taken out one by one", _deadlines),
    ("an answer in the last second of the earliest deadline commits", _last_second),
    ("an id that was taken out is not in the commit, though the clock ran backwards", _backwards),
    ("what was told of an id alone counts once it is taken out", _early_word_of_one),
    ("batches that home refuses, with the item that is to blame", _lock_refusals),
    ("aborts and take-outs that home refuses", _home_refusals),
    ("versions meet when they are taken out", _versions),
    ("revocations of ids of a batch at home", _revoked_at_home),
    ("a pause refuses new batches and answers; decisions and take-outs go on", _paused),
    ("answers to batches whose source has no say, or that come too late", _answers),
    ("two batches in one call, all or nothing", _two_batches),
    ("a mirror answers and follows a batch", _follow),
    ("a mirror that has answered waits for home", _waiting),
    ("take-outs that a mirror refuses", _mirror_refusals),
    ("outcomes that come before the answer are kept; odd ones are not", _early_outcome),
    ("ids that home took out are locked alone", _taken_elsewhere),
    ("a publication that a mirror has locked alone follows its batch", _locked_alone),
    ("SUPERSEDED and REVOKED that wait for a take-out are shown", _late_words),
]
"""At home first, then at a mirror."""
