"""Suite registry: governance of lanes, at the root and where it is told (spec 35 §3)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from caimi.types.primitives import ZERO32, Epoch, Generation
from caimi.types.records import Event, Governance, GovernanceAction, Kind, Lane
from caimi.wire.digests import lane_hash, typed_digest
from caimi.wire.functions import encode_body
from vectorgen import fixtures as fx
from vectorgen.fixtures import certify, seeded
from vectorgen.script import DEADLINE, Script

__all__ = ["GOVERNANCE_SCENARIOS"]

_RESUME, _DROP = GovernanceAction.RESUME_LANE, GovernanceAction.DROP_LANE


def _order(s: Script, action: int = _RESUME, version: int = 1, generation: int = 2, **changes: Any) -> Governance:
    resumes = action == _RESUME
    base = Governance(
        at=s.own,
        epoch=Epoch(1),
        action=action,
        lane=s.other,
        version=version,
        generation=Generation(generation),
        height=77 if resumes else 0,
        block_hash=seeded("kept") if resumes else ZERO32,
    )
    return dataclasses.replace(base, **changes)


def _govern(s: Script, *signers: int, action: int = _RESUME, version: int = 1, generation: int = 2, **c: Any) -> None:
    s.order("govern", _order(s, action, version, generation, **c), signers or (0, 2, 3))


def _told(
    s: Script, lane: Lane, action: int = _RESUME, version: int = 1, generation: int = 2, to: tuple[Lane, ...] = ()
) -> Event:
    # What the root tells all registries.
    kept = (77, seeded("kept")) if action == _RESUME else (0, ZERO32)
    body = encode_body(Kind.GOVERNANCE, action, lane, version, generation, *kept)
    return Event(schema=1, kind=Kind.GOVERNANCE, destinations=to, subject=lane_hash(lane), body=body)


def _carry(s: Script, source: Lane, *events: Event, first: int = 1, generation: int = 1) -> None:
    items = tuple(fx.item(first + i, e) for i, e in enumerate(events))
    point = fx.checkpoint(source, items, generation=Generation(generation))
    s.do("applyRun", certify(point), items, ())


def _resumed(s: Script) -> None:
    i, j = s.lock(s.home()), s.lock(s.home(version=2, nonce=seeded("j")))
    s.carry(s.answer(i))
    _govern(s)
    _govern(s)
    _govern(s, 0, 1, 2, 3)
    s.carry(s.answer(j), first=2)
    _carry(s, s.other, s.answer(j), first=2, generation=3)
    # What was kept is carried again under the new generation, and does nothing.
    _carry(s, s.other, s.answer(i), s.answer(j), generation=2)
    _carry(s, s.other, s.answer(i), s.answer(j), generation=2)
    _govern(s, version=2, generation=3, height=90)
    _carry(s, s.other, s.answer(j), first=2, generation=2)
    _carry(s, s.other, s.answer(j), first=2, generation=3)
    _carry(s, fx.ELSEWHERE, s.answer(j))


def _dropped(s: Script) -> None:
    i = s.lock(s.home())
    m = s.lock(s.mirror(nonce=seeded("m")))
    _govern(s, action=_DROP, generation=1)
    _govern(s, action=_DROP, generation=1)
    s.carry(s.answer(i), s.outcome(m, 2))
    _carry(s, s.other, s.answer(i), generation=2)
    _govern(s, version=2)
    _govern(s, action=_DROP, version=2, generation=1)
    s.now = DEADLINE + 1
    s.do("abort", i)


def _dropped_later(s: Script) -> None:
    _govern(s)
    _govern(s, action=_DROP, version=2, generation=2)
    _carry(s, s.other, s.answer(seeded("x")), generation=2)
    _govern(s, lane=fx.ELSEWHERE, action=_DROP, generation=1)
    _carry(s, fx.ELSEWHERE, s.answer(seeded("x")))


def _refused_at_root(s: Script) -> None:
    _govern(s, 0, 1)
    _govern(s, 0, 1, 1)
    _govern(s, 0, 2, 1)
    _govern(s, epoch=Epoch(2))
    _govern(s, at=s.other)
    for version in (0, 2, 2**64 - 1):
        _govern(s, version=version)
    for generation in (0, 1, 3):
        _govern(s, generation=generation)
    _govern(s, block_hash=ZERO32)
    for action in (0, 3, 255):
        _govern(s, action=action, generation=2)
    _govern(s, action=_DROP, generation=2)
    _govern(s, action=_DROP, generation=1, height=1)
    _govern(s, action=_DROP, generation=1, block_hash=seeded("kept"))
    _govern(s, lane=s.own)
    _govern(s, lane=s.own, action=_DROP, generation=1)
    order = _order(s)
    digest = typed_digest(fx.NETWORK, order)
    good = tuple(fx.VALIDATORS[n].sign_as(n, digest) for n in range(2))
    s.do("govern", order, (*good, fx.STRANGER.sign_as(2, digest)))
    s.do("govern", dataclasses.replace(order, height=78), (*good, fx.VALIDATORS[2].sign_as(2, digest)))
    _govern(s)
    _govern(s, height=78)
    _govern(s, version=1, generation=3)
    _govern(s, version=2, generation=2)


def _not_the_root(s: Script) -> None:
    s.configure(root=s.other)
    _govern(s, 0, 1)
    _govern(s, at=s.other)
    _govern(s)
    _govern(s, lane=fx.ELSEWHERE)
    _govern(s, lane=s.own, action=_DROP, generation=1)
    _govern(s, action=9, version=7)


def _told_by_the_root(s: Script) -> None:
    s.configure(root=s.other)
    p = fx.publication(s.own, (s.other, fx.ELSEWHERE), deadline=DEADLINE)
    i = s.lock(p)
    s.carry(_told(s, fx.ELSEWHERE, version=2, generation=3), _told(s, fx.ELSEWHERE), s.answer(i))
    _carry(s, fx.ELSEWHERE, s.answer(i))
    _carry(s, fx.ELSEWHERE, s.answer(i), generation=2)
    _carry(s, fx.ELSEWHERE, s.answer(i), generation=3)
    s.carry(_told(s, fx.ELSEWHERE, version=2, generation=9), _told(s, s.own, to=(s.own,)), first=4)
    s.carry(_told(s, fx.ELSEWHERE, version=5, generation=4, to=(s.other,)), first=6)
    s.carry(_told(s, fx.ELSEWHERE, version=4, generation=4), first=7)
    _carry(s, fx.ELSEWHERE, s.answer(i), first=2, generation=4)


def _told_that_it_is_dropped(s: Script) -> None:
    s.configure(root=s.other)
    p = fx.publication(s.own, (s.other, fx.ELSEWHERE), deadline=DEADLINE)
    i = s.lock(p)
    m = s.lock(fx.publication(fx.ELSEWHERE, (s.own,), deadline=DEADLINE, nonce=seeded("m")))
    s.carry(s.answer(i), _told(s, fx.ELSEWHERE, _DROP, generation=1), _told(s, fx.ELSEWHERE, version=3, generation=2))
    _carry(s, fx.ELSEWHERE, s.answer(i), s.outcome(m, 2))
    _carry(s, fx.ELSEWHERE, s.answer(i), generation=2)
    s.now = DEADLINE + 1
    s.do("abort", i)


def _told_by_others(s: Script) -> None:
    s.configure(root=fx.ELSEWHERE)
    s.carry(_told(s, s.other), _told(s, fx.ELSEWHERE, _DROP, generation=1), _told(s, s.own))
    i = s.lock(s.home())
    s.carry(s.answer(i), first=4)


def _bodies(s: Script) -> None:
    s.configure(root=s.other)
    good = _told(s, fx.ELSEWHERE)
    edit = dataclasses.replace
    odd = [edit(good, body=b) for b in (b"", good.body[:-1], good.body + bytes(32))]
    odd += [edit(good, body=good.body[: 32 * n] + b"\x01" + good.body[32 * n + 1 :]) for n in (0, 3, 4, 5)]
    odd += [
        _told(s, fx.ELSEWHERE, generation=0),
        _told(s, fx.ELSEWHERE, action=0),
        _told(s, fx.ELSEWHERE, action=255),
        _told(s, fx.ELSEWHERE, version=0),
        edit(good, schema=2),
    ]
    s.carry(*odd)
    _carry(s, fx.ELSEWHERE, s.answer(seeded("x")))


GOVERNANCE_SCENARIOS: list[tuple[str, Callable[[Script], None]]] = [
    ("the root resumes a lane: its next generation counts, and nothing counts twice", _resumed),
    ("the root drops a lane: nothing it says is taken, and its publications end by their deadline", _dropped),
    ("a lane is dropped after it was resumed", _dropped_later),
    ("decisions that the root refuses", _refused_at_root),
    ("lanes are governed at the root only", _not_the_root),
    ("a registry follows what the root tells", _told_by_the_root),
    ("a registry is told that a lane is dropped, for good", _told_that_it_is_dropped),
    ("nobody but the root tells decisions about lanes", _told_by_others),
    ("odd bodies of GOVERNANCE do not stop a run", _bodies),
]
"""For both ledgers."""
