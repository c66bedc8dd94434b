"""Suite registry: change of the validator set, at the root and where it is told (spec 42)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Final

from caimi.crypto.quorum import quorum_size
from caimi.protocol.registry_state import Limits
from caimi.types.primitives import ZERO32, Address, Bytes32, Epoch, Generation, UnixSeconds
from caimi.types.records import (
    Answer,
    Cid,
    EpochSet,
    Event,
    Governance,
    GovernanceAction,
    HostKey,
    InferenceRequest,
    Kind,
    Lane,
    Pause,
    Resume,
    SetChange,
    Signature,
    Withdrawal,
)
from caimi.wire.codec import Record, struct_hash
from caimi.wire.digests import typed_digest
from caimi.wire.functions import encode_body
from vectorgen import fixtures as fx
from vectorgen.fixtures import Key, certify, seeded
from vectorgen.script import DEADLINE, NOW, Script

__all__ = ["EPOCH_SCENARIOS", "SECOND", "THIRD", "epoch_set"]

_FRESH: Final = tuple(Key(f"fresh validator {i}") for i in range(8))
SECOND: Final = (fx.VALIDATORS[3], *_FRESH[:5], fx.VALIDATORS[0])
"""Seven with f 2: two stay, in other seats."""
THIRD: Final = _FRESH[4:]
"""Four with f 1: one stays."""
_KEYS: Final = {1: fx.VALIDATORS, 2: SECOND, 3: THIRD, 9: THIRD}
_F: Final = {1: 1, 2: 2, 3: 1, 9: 1}


def epoch_set(number: int, **changes: Any) -> EpochSet:
    """The set of an epoch, changed as asked."""
    base = EpochSet(
        epoch=Epoch(number),
        validators=tuple(k.address for k in _KEYS[number]),
        f=_F[number],
        t=_F[number] + 1,
        transcript=seeded(f"transcript {number}"),
    )
    return dataclasses.replace(base, **changes)


def _signed(epoch: int, record: Record, count: int | None = None) -> tuple[Signature, ...]:
    # A quorum of the epoch's set, or as many as asked: the first of them.
    keys, digest = _KEYS[epoch], typed_digest(fx.NETWORK, record)
    many = quorum_size(len(keys), _F[epoch]) if count is None else count
    return tuple(keys[n].sign_as(n, digest) for n in range(many))


def _change(s: Script, ends: int = 1, begins: int = 2, **changes: Any) -> SetChange:
    lanes = tuple(sorted((s.other, fx.ELSEWHERE)))
    base = SetChange(at=s.own, epoch=Epoch(ends), next=epoch_set(begins), lanes=lanes)
    return dataclasses.replace(base, **changes)


def _hand_over(s: Script, ends: int = 1, begins: int = 2, **changes: Any) -> SetChange:
    order = _change(s, ends, begins, **changes)
    s.do("changeSet", order, _signed(ends, order), _signed(begins, order))
    return order


def _carry(
    s: Script, *events: Event, by: int = 1, source: Lane | None = None, first: int = 1, generation: int = 1
) -> None:
    # certified by a quorum of that epoch's set
    items = tuple(fx.item(first + i, e) for i, e in enumerate(events))
    point = fx.checkpoint(source or s.other, items, epoch=Epoch(by), generation=Generation(generation))
    signers = tuple(range(quorum_size(len(_KEYS[by]), _F[by])))
    s.do("applyRun", certify(point, signers, keys=_KEYS[by]), items, ())


def _told(kind: Kind, subject: Bytes32, *numbers: int, to: tuple[Lane, ...] = ()) -> Event:
    return Event(schema=1, kind=kind, destinations=to, subject=subject, body=encode_body(kind, *numbers))


def _hash(number: int, **changes: Any) -> Bytes32:
    return struct_hash(epoch_set(number, **changes))


def _announced(ends: int = 1, begins: int = 2, **changes: Any) -> Event:
    return _told(Kind.SET_CHANGE, _hash(begins, **changes), ends, begins)


def _entered(s: Script, epoch: int = 2) -> Event:
    return _told(Kind.SET_ENTERED, _hash(epoch), epoch, to=(s.own,))


def _retired(epoch: int = 1, present: int = 2) -> Event:
    return _told(Kind.SET_RETIRED, _hash(present), epoch)


def _acknowledge(s: Script, epoch: int = 2, first: int = 1) -> None:
    for source in (s.other, fx.ELSEWHERE):
        _carry(s, _entered(s, epoch), by=epoch, source=source, first=first)


# --- at the root


def _at_the_root(s: Script) -> None:
    i, j = s.lock(s.home()), s.lock(s.home(version=2, nonce=seeded("j")))
    order = _hand_over(s)
    _hand_over(s)
    s.carry(s.answer(i))
    _carry(s, s.answer(j), by=2, first=2)
    s.do("retireSet")
    _carry(s, _entered(s), by=1, first=3)
    s.do("retireSet")
    _carry(s, _entered(s), by=2, first=3)
    s.do("retireSet")
    _carry(s, _entered(s), by=2, source=fx.ELSEWHERE)
    s.do("retireSet")
    s.do("retireSet")
    s.carry(s.answer(j), first=4)
    _carry(s, s.answer(j), by=2, first=4)
    s.do("changeSet", order, (), ())
    s.do("changeSet", dataclasses.replace(order, lanes=()), _signed(1, order), _signed(2, order))


def _who_counts(s: Script) -> None:
    # Orders and certificates after a change: each under its own epoch's set and numbers.
    _hand_over(s)
    i = s.lock(s.home())
    items = (fx.item(1, s.answer(i)),)
    for epoch, keys, count in (
        (2, fx.VALIDATORS, 4),
        (2, SECOND, 4),
        (1, SECOND, 4),
        (1, fx.VALIDATORS, 2),
        (3, THIRD, 3),
    ):
        point = fx.checkpoint(s.other, items, epoch=Epoch(epoch))
        s.do("applyRun", certify(point, tuple(range(count)), keys=keys), items, ())
    for epoch, by, count in ((1, 1, 2), (2, 1, 3), (2, 2, 2), (2, 2, 3)):
        pause = Pause(at=s.own, epoch=Epoch(epoch), counter=1)
        s.do("pause", pause, _signed(by, pause, count))
    for epoch, by, count in ((1, 1, 3), (2, 2, 4), (2, 2, 5)):
        resume = Resume(at=s.own, epoch=Epoch(epoch), counter=2)
        s.do("resume", resume, _signed(by, resume, count))
    _carry(s, s.answer(i), by=2)


def _bad_changes(s: Script) -> None:
    good = _change(s)
    zero = Address(bytes(20))
    accounts = good.next.validators
    changed: list[dict[str, Any]] = [
        {"epoch": Epoch(2)},
        {"epoch": Epoch(0)},
        {"at": s.other},
        {"next": epoch_set(2, f=0)},
        {"next": epoch_set(2, f=3, t=4)},
        {"next": epoch_set(2, t=2)},
        {"next": epoch_set(2, t=6)},
        {"next": epoch_set(2, validators=accounts[:6])},
        {"next": epoch_set(2, validators=())},
        {"next": epoch_set(2, validators=(*accounts[:6], accounts[0]))},
        {"next": epoch_set(2, validators=(*accounts[:6], zero))},
        {"next": epoch_set(2, epoch=Epoch(1))},
        {"next": epoch_set(2, epoch=Epoch(0))},
        {"next": epoch_set(2, transcript=ZERO32)},
        {"lanes": good.lanes[::-1]},
        {"lanes": (good.lanes[0], good.lanes[0])},
        {"lanes": tuple(sorted((*good.lanes, s.own)))},
        {"lanes": tuple(Lane(chain=seeded("many"), registry=Bytes32(n.to_bytes(32, "big"))) for n in range(65))},
    ]
    for changes in changed:
        order = dataclasses.replace(good, **changes)
        s.do("changeSet", order, _signed(1, order), _signed(2, order))
    _bad_signatures(s, good)
    s.do("changeSet", good, _signed(1, good, 4), _signed(2, good, 7))


def _bad_signatures(s: Script, good: SetChange) -> None:
    old, new = _signed(1, good), _signed(2, good)
    other = _change(s, lanes=())
    for first, second in [
        ((), new),
        (old[:2], new),
        (old, ()),
        (old, new[:4]),
        (new[:3], new),
        (old, _signed(1, good, 4)),
        (old, (*new[:4], new[3])),
        (old, (new[1], new[0], *new[2:])),
        (old, (*new[:4], dataclasses.replace(new[4], signer=7))),
        (_signed(1, other), new),
        (old, _signed(2, other)),
        (old, (*new[:4], fx.STRANGER.sign_as(4, typed_digest(fx.NETWORK, good)))),
    ]:
        s.do("changeSet", good, first, second)


def _one_after_the_other(s: Script) -> None:
    _hand_over(s)
    _hand_over(s, 2, 9)
    _acknowledge(s)
    s.do("retireSet")
    _hand_over(s, 1, 3)
    _hand_over(s, 2, 9)
    _hand_over(s)
    _acknowledge(s, 2, first=2)
    s.do("retireSet")
    _acknowledge(s, 9, first=3)
    s.do("retireSet")


def _dropped_lane(s: Script) -> None:
    _hand_over(s)
    _carry(s, _entered(s), by=2, source=fx.ELSEWHERE)
    s.do("retireSet")
    drop = Governance(
        at=s.own,
        epoch=Epoch(2),
        action=GovernanceAction.DROP_LANE,
        lane=s.other,
        version=1,
        generation=Generation(1),
        height=0,
        block_hash=ZERO32,
    )
    s.do("govern", dataclasses.replace(drop, epoch=Epoch(1)), _signed(1, dataclasses.replace(drop, epoch=Epoch(1))))
    s.do("govern", drop, _signed(2, drop))
    s.do("retireSet")


def _alone(s: Script) -> None:
    _hand_over(s, lanes=())
    _carry(s, _entered(s), by=2)
    s.do("retireSet")
    _hand_over(s, 2, 3, lanes=(s.other,))
    s.do("retireSet")


def _odd_entries(s: Script) -> None:
    _carry(s, _entered(s), by=1)
    _hand_over(s, lanes=(s.other,))
    good = _entered(s)
    edit = dataclasses.replace
    odd = [edit(good, body=b) for b in (b"", good.body[:-1], good.body + bytes(32), b"\x01" + good.body[1:])]
    odd += [
        edit(good, subject=seeded("another set")),
        _told(Kind.SET_ENTERED, good.subject, 3, to=(s.own,)),
        _told(Kind.SET_ENTERED, good.subject, 1, to=(s.own,)),
        edit(good, schema=2),
        edit(good, destinations=(fx.ELSEWHERE,)),
    ]
    _carry(s, *odd, by=2, first=2)
    _carry(s, good, by=2, source=fx.ELSEWHERE)
    _carry(s, good, by=1, source=fx.ELSEWHERE, first=2)
    _carry(s, _announced(), _retired(), by=2, first=11)
    s.do("retireSet")
    _carry(s, good, good, by=2, first=13)
    s.do("retireSet")


def _while_paused(s: Script) -> None:
    s.configure(limits=Limits(resume_delay=10))
    pause = Pause(at=s.own, epoch=Epoch(1), counter=1)
    s.do("pause", pause, _signed(1, pause, 2))
    _hand_over(s, lanes=())
    s.do("retireSet")
    s.now = NOW + 10
    for epoch in (1, 2):
        resume = Resume(at=s.own, epoch=Epoch(epoch), counter=2)
        s.do("resume", resume, _signed(epoch, resume))


def _caps(s: Script) -> None:
    s.configure(limits=Limits(withdrawal_cap=300))
    _withdraw(s, 300, "a")
    _withdraw(s, 1, "b")
    _hand_over(s)
    _withdraw(s, 200, "c")
    _withdraw(s, 101, "d")


def _withdraw(s: Script, amount: int, label: str) -> None:
    withdrawal = Withdrawal(
        at=s.own,
        account=fx.PUBLISHER.address,
        recipient=fx.STRANGER.address,
        amount=amount,
        nonce=seeded(label),
        deadline=DEADLINE,
    )
    s.do("withdraw", withdrawal, fx.PUBLISHER.sign(typed_digest(fx.NETWORK, withdrawal)))


def _answers(s: Script) -> None:
    # What was asked before a change is answered after it, by the host key of then, until its epoch is retired.
    i = s.lock(s.home())
    s.carry(s.answer(i))
    asked = [_ask(s, i, f"ask {n}") for n in range(4)]
    _answer(s, i, asked[0], 2)
    _hand_over(s, lanes=())
    _answer(s, i, asked[0], 1)
    _answer(s, i, asked[1], 2)
    _answer(s, i, asked[2], 3)
    s.do("retireSet")
    _answer(s, i, asked[2], 1)
    _answer(s, i, asked[2], 2)


def _ask(s: Script, publication: Bytes32, label: str) -> Bytes32:
    request = InferenceRequest(
        at=s.own,
        publication=publication,
        consumer=fx.CONSUMER.address,
        input=Cid(codec=0x55, digest=seeded("input")),
        input_commitment=seeded("in"),
        client_key=seeded("client"),
        nonce=seeded(label),
        deadline=DEADLINE,
    )
    digest = typed_digest(fx.NETWORK, request)
    s.do("requestInference", request, fx.CONSUMER.sign(digest))
    return digest


def _answer(s: Script, publication: Bytes32, request: Bytes32, epoch: int) -> None:
    host = HostKey(
        sealing_key=seeded("sealing"), signing_key=fx.HOST.address, epoch=Epoch(epoch), until=UnixSeconds(DEADLINE)
    )
    answer = Answer(
        at=s.own,
        request=request,
        publication=publication,
        lease=seeded("lease"),
        output=Cid(codec=0x55, digest=seeded("output")),
        input_commitment=seeded("in"),
        output_commitment=seeded("out"),
        receipt_hash=seeded("receipt"),
        answered_at=UnixSeconds(NOW),
    )
    signature = fx.HOST.sign(typed_digest(fx.NETWORK, answer))
    s.do("answerInference", answer, signature, host, fx.OPERATOR.sign(typed_digest(fx.NETWORK, host)))


# --- where the root is elsewhere


def _follows(s: Script) -> None:
    s.configure(root=s.other)
    i, j = s.lock(s.mirror()), s.lock(s.mirror(version=2, nonce=seeded("j")))
    s.do("enterSet", epoch_set(2))
    _carry(s, s.outcome(i, 2), by=2)
    _carry(s, _announced())
    s.do("enterSet", epoch_set(2, t=4))
    s.do("enterSet", epoch_set(3))
    s.do("enterSet", epoch_set(2))
    s.do("enterSet", epoch_set(2))
    _carry(s, s.outcome(i, 2), by=1, first=2)
    _carry(s, _retired(), s.outcome(j, 2), by=1, first=3)
    _carry(s, s.superseded(i, 2), by=1, first=5)
    _carry(s, _retired(), by=2, first=3)
    _carry(s, s.outcome(j, 2), by=1, first=6)
    _carry(s, s.superseded(j, 3), by=2, first=6)
    s.do("enterSet", epoch_set(2))


def _only_the_root_leads(s: Script) -> None:
    s.configure(root=fx.ELSEWHERE)
    _carry(s, _announced(), _retired(), _entered(s))
    _carry(s, _told(Kind.SET_CHANGE, _hash(3), 2, 3), _told(Kind.SET_RETIRED, _hash(2), 5), first=4)
    s.do("enterSet", epoch_set(2))
    order = _hand_over(s)
    s.do("changeSet", order, _signed(1, order, 2), _signed(2, order))
    s.do("retireSet")


def _before_its_time(s: Script) -> None:
    s.configure(root=s.other)
    _carry(s, _announced(2, 3), _retired(1), _retired(4))
    _carry(s, _announced(1, 2), first=4)
    s.do("enterSet", epoch_set(3))
    s.do("enterSet", epoch_set(2))
    _carry(s, _announced(2, 3), by=1)
    s.do("enterSet", epoch_set(3))
    _carry(s, _retired(1, 2), by=3, first=2)
    _carry(s, _retired(2, 3), by=2, first=6)
    _carry(s, _retired(2, 3), by=3, first=6)


def _replayed(s: Script) -> None:
    s.configure(root=s.other)
    _carry(s, _announced())
    s.do("enterSet", epoch_set(2))
    _carry(s, _announced())
    _carry(s, _announced(), _announced(1, 3), by=1, first=2)
    _carry(s, _retired(), by=2, first=4)
    _carry(s, _retired(), _announced(), by=2, first=5)
    _carry(s, _announced(), by=1, first=9)
    s.do("enterSet", epoch_set(3))


def _announced_anew(s: Script) -> None:
    s.configure(root=s.other)
    _carry(s, _announced(1, 3), _announced(1, 2), _announced(1, 3, t=3))
    s.do("enterSet", epoch_set(2))
    _carry(s, _announced(1, 9), first=4)
    s.do("enterSet", epoch_set(3))
    s.do("enterSet", epoch_set(9))


def _odd_announcements(s: Script) -> None:
    s.configure(root=s.other)
    edit = dataclasses.replace
    bodies: list[Event] = []
    for good in (_announced(), _retired()):
        bodies += [edit(good, body=b) for b in (b"", good.body[:-1], good.body + bytes(32), b"\x01" + good.body[1:])]
    bodies += [
        edit(_announced(), body=_announced().body[:32] + b"\x01" + _announced().body[33:]),
        _told(Kind.SET_CHANGE, _hash(2), 1, 1),
        _told(Kind.SET_CHANGE, _hash(2), 2, 1),
        _told(Kind.SET_CHANGE, _hash(2), 1, 0),
        _told(Kind.SET_RETIRED, _hash(2), 0),
        edit(_announced(), schema=2),
        edit(_announced(), destinations=(fx.ELSEWHERE,)),
    ]
    _carry(s, *bodies)
    for odd in (epoch_set(2, f=0), epoch_set(2, validators=epoch_set(2).validators[:4]), epoch_set(1)):
        s.do("enterSet", odd)


def _out_of_bounds(s: Script) -> None:
    # What no root announces, certified all the same.
    s.configure(root=s.other)
    small: dict[str, Any] = {"validators": epoch_set(2).validators[:6]}
    _carry(s, _announced(**small))
    s.do("enterSet", epoch_set(2, **small))
    twice: dict[str, Any] = {"validators": (*epoch_set(3).validators[:3], epoch_set(3).validators[0])}
    _carry(s, _announced(1, 3, **twice), first=2)
    s.do("enterSet", epoch_set(3, **twice))
    misnamed: dict[str, Any] = {"epoch": Epoch(8)}
    _carry(s, _announced(1, 9, **misnamed), first=3)
    s.do("enterSet", epoch_set(9, **misnamed))


EPOCH_SCENARIOS: list[tuple[str, Callable[[Script], None]]] = [
    ("the root changes the set: both count, then all lanes entered, then only the new one", _at_the_root),
    ("who counts after a change: each epoch's own set, with its own numbers", _who_counts),
    ("changes that the root refuses", _bad_changes),
    ("one change after the other, and a number left out", _one_after_the_other),
    ("a dropped lane holds nobody up", _dropped_lane),
    ("a root without other registries", _alone),
    ("odd words about entering do not stop a run", _odd_entries),
    ("a change goes on while the registry is paused; orders of the epoch that ended are void", _while_paused),
    ("what may be withdrawn is counted anew", _caps),
    ("host keys count as long as their epoch's certificates", _answers),
    ("a registry follows: announced, entered, the old set retired by the new one's word", _follows),
    ("nobody but the root leads to another set", _only_the_root_leads),
    ("what comes before its time is passed over and counts later", _before_its_time),
    ("replayed words lead nowhere", _replayed),
    ("a higher announcement replaces one that nobody entered", _announced_anew),
    ("odd announcements do not stop a run", _odd_announcements),
    ("a set outside the bounds is not entered", _out_of_bounds),
]
"""For every ledger that has spec 42."""
