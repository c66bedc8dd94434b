"""Suite registry: revocations, at the registry that takes the publisher's signature and at those that are told."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from caimi.types.primitives import ZERO32, Bytes32, PublicationId, UnixSeconds
from caimi.types.records import Cid, Event, InferenceRequest, Kind, Lane, Publication, Revocation
from caimi.wire.digests import publication_id, typed_digest
from caimi.wire.functions import encode_body, encode_call
from vectorgen import fixtures as fx
from vectorgen.fixtures import Key, certify, seeded
from vectorgen.script import DEADLINE, NOW, Script

__all__ = ["REVOCATION_SCENARIOS"]


def _revocation(s: Script, identifier: Bytes32, **changes: Any) -> Revocation:
    base = Revocation(
        at=s.own,
        publication=identifier,
        publisher=fx.PUBLISHER.address,
        reason=7,
        nonce=seeded("revocation"),
        deadline=UnixSeconds(DEADLINE + 10_000),
    )
    return dataclasses.replace(base, **changes)


def _revoke(s: Script, identifier: Bytes32, key: Key = fx.PUBLISHER, **changes: Any) -> None:
    revocation = _revocation(s, identifier, **changes)
    s.do("revoke", revocation, key.sign(typed_digest(fx.NETWORK, revocation)))


def _told(s: Script, identifier: Bytes32, at: Lane | None = None) -> Event:
    # What another registry tells all others.
    body = encode_body(Kind.REVOKED, 7, at or s.other)
    return Event(schema=1, kind=Kind.REVOKED, destinations=(s.own,), subject=identifier, body=body)


def _from_elsewhere(s: Script, *events: Event, first: int = 1) -> None:
    items = tuple(fx.item(first + i, e) for i, e in enumerate(events))
    s.do("applyRun", certify(fx.checkpoint(fx.ELSEWHERE, items)), items, ())


def _ask(s: Script, publication: Bytes32) -> None:
    request = InferenceRequest(
        at=s.own,
        publication=publication,
        consumer=fx.CONSUMER.address,
        input=Cid(codec=0x55, digest=seeded("input")),
        input_commitment=seeded("in"),
        client_key=seeded("client"),
        nonce=seeded(f"ask {publication.hex()}"),
        deadline=DEADLINE,
    )
    s.do("requestInference", request, fx.CONSUMER.sign(typed_digest(fx.NETWORK, request)))


def _wide(s: Script, home: Lane, **changes: Any) -> Publication:
    # On three registries, this one among them.
    mirrors = tuple(lane for lane in (s.own, s.other, fx.ELSEWHERE) if lane != home)
    return fx.publication(home, mirrors, deadline=DEADLINE, **changes)


def _committed_home(s: Script) -> None:
    i = s.lock(s.home())
    s.carry(s.answer(i))
    _ask(s, i)
    _revoke(s, i)
    _revoke(s, i)
    _revoke(s, i, nonce=seeded("again"))
    _revoke(s, i, nonce=seeded("again"), reason=8)
    s.carry(_told(s, i), first=2)
    _ask(s, i)
    s.now = DEADLINE + 1
    s.do("abort", i)


def _locked_home(s: Script) -> None:
    i = s.lock(_wide(s, s.own))
    _revoke(s, i)
    _revoke(s, i, nonce=seeded("again"))
    s.carry(s.answer(i), _told(s, i))
    _from_elsewhere(s, s.answer(i))


def _aborted_home(s: Script) -> None:
    i, j = s.lock(s.home()), s.lock(s.home(version=2, nonce=seeded("j")))
    _revoke(s, i)
    s.carry(s.answer(i, Kind.REFUSED), s.answer(j, Kind.REFUSED))
    _revoke(s, i)
    _revoke(s, i, nonce=seeded("again"))
    _revoke(s, j, nonce=seeded("again"))
    s.carry(_told(s, i), _told(s, j), first=3)


def _versions(s: Script) -> None:
    # Revoked before or after it is committed, a version does to its name what it would have done anyway.
    low, middle, high = (s.home(version=n, nonce=seeded(f"version {n}")) for n in (2, 4, 6))
    first, second, last = s.home(), s.home(version=3, nonce=seeded("3")), s.home(version=5, nonce=seeded("5"))
    ids = [s.lock(p) for p in (low, middle, high, first, second, last)]
    s.carry(s.answer(ids[0]))
    _revoke(s, ids[1])
    s.carry(s.answer(ids[1]), s.answer(ids[3]), first=2)
    s.carry(s.answer(ids[5]), first=4)
    _revoke(s, ids[5], nonce=seeded("r5"))
    _revoke(s, ids[0], nonce=seeded("r0"))
    s.carry(s.answer(ids[4]), first=5)
    s.carry(s.answer(ids[2]), first=6)
    _revoke(s, ids[4], nonce=seeded("r4"))


def _mirror(s: Script) -> None:
    p = _wide(s, s.other)
    q = _wide(s, s.other, version=2, nonce=seeded("q"))
    r = _wide(s, s.other, version=3, nonce=seeded("r"))
    i, j, k = (s.lock(x) for x in (p, q, r))
    _revoke(s, i)
    s.carry(s.outcome(i, 2), s.outcome(j, 2), s.superseded(k, 4))
    _ask(s, i)
    _revoke(s, j, nonce=seeded("j"))
    _revoke(s, k, nonce=seeded("k"))
    s.carry(s.outcome(i, 3), s.superseded(i, 9), s.outcome(j, 2), s.superseded(k, 4), s.outcome(k, 3), first=4)
    m = s.lock(_wide(s, s.other, version=5, nonce=seeded("m")))
    _revoke(s, m, nonce=seeded("m"))
    s.carry(s.outcome(m, 3, 1), s.outcome(m, 2), first=9)
    n = s.lock(_wide(s, s.other, version=6, nonce=seeded("n")))
    _revoke(s, n, nonce=seeded("n"))
    s.carry(s.superseded(n, 7), first=11)


def _carried(s: Script) -> None:
    i = s.lock(_wide(s, s.own))
    _from_elsewhere(s, _told(s, i, fx.ELSEWHERE), s.answer(i))
    s.carry(_told(s, i, fx.ELSEWHERE), s.answer(i), _told(s, i))
    j = s.lock(_wide(s, s.other, version=2, nonce=seeded("j")))
    s.carry(s.outcome(j, 2), first=4)
    _from_elsewhere(s, _told(s, j, fx.ELSEWHERE), first=3)
    s.carry(_told(s, j), first=5)
    narrow = s.lock(s.mirror(nonce=seeded("narrow")))
    _from_elsewhere(s, _told(s, narrow, fx.ELSEWHERE), first=4)
    s.carry(_told(s, narrow), s.outcome(narrow, 2), first=6)
    _revoke(s, narrow)


def _early(s: Script) -> None:
    home, mirror = _wide(s, s.own), _wide(s, s.other, version=2, nonce=seeded("early"))
    i, j = (publication_id(fx.NETWORK, p) for p in (home, mirror))
    _revoke(s, i)
    _from_elsewhere(s, _told(s, i, fx.ELSEWHERE), _told(s, j, fx.ELSEWHERE), s.answer(i))
    s.carry(s.answer(i), s.outcome(j, 2))
    s.lock(home)
    s.lock(mirror)
    # What a registry tells that is none of the publication's own is kept and never looked at.
    q = s.mirror(nonce=seeded("strange"))
    k = publication_id(fx.NETWORK, q)
    _from_elsewhere(s, _told(s, k, fx.ELSEWHERE), first=4)
    s.lock(q)
    s.carry(s.outcome(k, 2), first=3)
    r = s.mirror(nonce=seeded("superseded"))
    n = publication_id(fx.NETWORK, r)
    s.carry(_told(s, n), s.outcome(n, 2), s.superseded(n, 3), first=4)
    s.lock(r)
    t = s.mirror(nonce=seeded("aborted"))
    m = publication_id(fx.NETWORK, t)
    s.carry(_told(s, m), s.outcome(m, 3, 1), first=7)
    s.lock(t)


def _refused_mirror(s: Script) -> None:
    p = dataclasses.replace(s.mirror(nonce=seeded("unlawful")), version=0)
    i = publication_id(fx.NETWORK, p)
    s.carry(_told(s, i))
    s.lock(p)
    _revoke(s, i)
    s.carry(_told(s, i), first=2)


def _never_locked(s: Script) -> None:
    p = s.home()
    i = publication_id(fx.NETWORK, p)
    s.carry(_told(s, i))
    s.now = DEADLINE + 1
    s.do("abortUnlocked", p, fx.PUBLISHER.sign(i))
    s.carry(_told(s, i), first=2)
    _revoke(s, i)


def _refusals(s: Script) -> None:
    i = s.lock(s.home())
    _revoke(s, i, key=fx.STRANGER)
    _revoke(s, i, at=s.other)
    _revoke(s, i, deadline=UnixSeconds(NOW - 1))
    _revoke(s, PublicationId(seeded("nothing")))
    _revoke(s, i, key=fx.STRANGER, publisher=fx.STRANGER.address)
    _revoke(s, i, nonce=s.home().nonce)
    revocation = _revocation(s, i)
    signature = fx.PUBLISHER.sign(typed_digest(fx.NETWORK, revocation))
    s.do("revoke", revocation, signature[:-1])
    s.do("revoke", dataclasses.replace(revocation, reason=8), signature)
    _revoke(s, i, deadline=UnixSeconds(NOW))


def _bodies(s: Script) -> None:
    i = s.lock(s.home())
    good = _told(s, i)
    edit = dataclasses.replace
    odd = [
        edit(good, body=good.body[:-1]),
        edit(good, body=good.body + bytes(32)),
        edit(good, body=b"\x01" + good.body[1:]),
        edit(good, body=b""),
        edit(good, schema=2),
        edit(good, body=encode_body(Kind.REVOKED, 7, dataclasses.replace(s.other, registry=ZERO32))),
        edit(good, destinations=(s.other,)),
        edit(good, body=encode_body(Kind.REVOKED, 0xFFFF, s.other)),
    ]
    s.carry(*odd)
    s.carry(s.answer(i), first=9)


def _together(s: Script) -> None:
    # In one batch with what it takes back.
    p = s.mirror()
    i = publication_id(fx.NETWORK, p)
    revocation = _revocation(s, i)
    lock = encode_call("lockModel", p, fx.PUBLISHER.sign(i))
    revoke = encode_call("revoke", revocation, fx.PUBLISHER.sign(typed_digest(fx.NETWORK, revocation)))
    s.do("multicall", (revoke, lock))
    s.do("multicall", (lock, revoke, revoke))
    s.carry(s.outcome(i, 2))


REVOCATION_SCENARIOS: list[tuple[str, Callable[[Script], None]]] = [
    ("revoked at home once committed: the deposit goes back, once, and nothing more is asked", _committed_home),
    ("revoked at home while it waits: with COMMITTED at once", _locked_home),
    ("what was revoked and then aborts stays aborted", _aborted_home),
    ("a revoked version keeps its place among the versions of its name", _versions),
    ("revoked at a mirror in each of its states", _mirror),
    ("revocations that other registries tell of", _carried),
    ("revocations that come before the lock are kept", _early),
    ("a refused publication cannot be revoked", _refused_mirror),
    ("a publication that home never locked cannot be revoked", _never_locked),
    ("revocations that are refused", _refusals),
    ("odd bodies of REVOKED do not stop a run", _bodies),
    ("a revocation in a multicall", _together),
]
"""For both ledgers."""
