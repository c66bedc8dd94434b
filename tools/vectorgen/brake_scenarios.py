"""Suite registry: pause, resume and the cap on withdrawals (spec 35 §1, §2)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from caimi.protocol.registry_state import Limits
from caimi.types.primitives import Bytes32, Epoch, UnixSeconds
from caimi.types.records import Answer, Cid, HostKey, InferenceRequest, Kind, Pause, Resume, Revocation, Withdrawal
from caimi.wire.digests import publication_id, typed_digest
from caimi.wire.functions import encode_call
from vectorgen import fixtures as fx
from vectorgen.fixtures import Key, seeded
from vectorgen.script import DEADLINE, NOW, Script

__all__ = ["BRAKE_SCENARIOS"]

_DELAY = 100


def _begin(s: Script, cap: int = 0) -> None:
    s.configure(limits=Limits(resume_delay=_DELAY, withdrawal_cap=cap))


def _pause(s: Script, counter: int, *signers: int, **changes: Any) -> None:
    order = dataclasses.replace(Pause(at=s.own, epoch=Epoch(1), counter=counter), **changes)
    s.order("pause", order, signers or (1, 3))


def _resume(s: Script, counter: int, *signers: int, **changes: Any) -> None:
    order = dataclasses.replace(Resume(at=s.own, epoch=Epoch(1), counter=counter), **changes)
    s.order("resume", order, signers or (0, 1, 2))


def _withdrawal(s: Script, amount: int, label: str) -> tuple[Withdrawal, bytes]:
    withdrawal = Withdrawal(
        at=s.own,
        account=fx.PUBLISHER.address,
        recipient=fx.STRANGER.address,
        amount=amount,
        nonce=seeded(label),
        deadline=UnixSeconds(DEADLINE + 10_000),
    )
    return withdrawal, fx.PUBLISHER.sign(typed_digest(fx.NETWORK, withdrawal))


def _withdraw(s: Script, amount: int, label: str) -> None:
    s.do("withdraw", *_withdrawal(s, amount, label))


def _request(s: Script, publication: Bytes32, label: str) -> InferenceRequest:
    return InferenceRequest(
        at=s.own,
        publication=publication,
        consumer=fx.CONSUMER.address,
        input=Cid(codec=0x55, digest=seeded("input")),
        input_commitment=seeded("in"),
        client_key=seeded("client"),
        nonce=seeded(label),
        deadline=UnixSeconds(DEADLINE + 10_000),
    )


def _ask(s: Script, publication: Bytes32, label: str) -> None:
    request = _request(s, publication, label)
    s.do("requestInference", request, fx.CONSUMER.sign(typed_digest(fx.NETWORK, request)))


def _answer(s: Script, request: InferenceRequest) -> None:
    host = HostKey(
        sealing_key=seeded("sealing"), signing_key=fx.HOST.address, epoch=Epoch(1), until=UnixSeconds(DEADLINE + 10_000)
    )
    answer = Answer(
        at=s.own,
        request=typed_digest(fx.NETWORK, request),
        publication=request.publication,
        lease=seeded("lease"),
        output=Cid(codec=0x55, digest=seeded("output")),
        input_commitment=request.input_commitment,
        output_commitment=seeded("out"),
        receipt_hash=seeded("receipt"),
        answered_at=UnixSeconds(s.now),
    )
    signature = fx.HOST.sign(typed_digest(fx.NETWORK, answer))
    s.do("answerInference", answer, signature, host, fx.OPERATOR.sign(typed_digest(fx.NETWORK, host)))


def _revoke(s: Script, publication: Bytes32) -> None:
    revocation = Revocation(
        at=s.own,
        publication=publication,
        publisher=fx.PUBLISHER.address,
        reason=0,
        nonce=seeded("revocation"),
        deadline=UnixSeconds(DEADLINE + 10_000),
    )
    s.do("revoke", revocation, fx.PUBLISHER.sign(typed_digest(fx.NETWORK, revocation)))


def _nothing_begins(s: Script) -> None:
    _begin(s)
    i = s.lock(s.home())
    m = s.lock(s.mirror(nonce=seeded("m")))
    s.carry(s.outcome(m, 2))
    _ask(s, m, "asked")
    _withdraw(s, 1, "before")
    _pause(s, 1)
    s.lock(s.home())
    _ask(s, m, "asked")
    _withdraw(s, 1, "before")
    s.lock(s.home(version=2, nonce=seeded("new")))
    s.lock(s.mirror(nonce=seeded("new mirror")))
    s.lock(dataclasses.replace(s.mirror(nonce=seeded("unlawful")), version=0))
    s.lock(dataclasses.replace(s.home(version=3), deposit=1))
    _ask(s, m, "new")
    _ask(s, seeded("unknown"), "new")
    _withdraw(s, 1, "new")
    _withdraw(s, 0, "nothing")
    p = s.home(version=4, nonce=seeded("batch"))
    call = encode_call("lockModel", p, fx.PUBLISHER.sign(publication_id(fx.NETWORK, p)))
    s.do("multicall", (encode_call("abort", i), call))
    s.do("multicall", (call,))
    s.carry(s.answer(i), first=2)


def _what_began_goes_on(s: Script) -> None:
    _begin(s)
    i = s.lock(s.home())
    j = s.lock(s.home(version=2, nonce=seeded("j")))
    m = s.lock(s.mirror(nonce=seeded("m")))
    s.carry(s.outcome(m, 2))
    request = _request(s, m, "asked")
    _ask(s, m, "asked")
    _pause(s, 1)
    s.carry(s.answer(i), s.superseded(m, 2), first=2)
    _answer(s, request)
    _revoke(s, m)
    s.now = DEADLINE + 1
    s.do("abort", j)
    p = s.home(version=3, nonce=seeded("p"))
    s.do("abortUnlocked", p, fx.PUBLISHER.sign(publication_id(fx.NETWORK, p)))
    _resume(s, 2)
    p = dataclasses.replace(s.home(version=4, nonce=seeded("after")), deadline=UnixSeconds(DEADLINE + 5_000))
    s.lock(p)
    s.carry(s.answer(publication_id(fx.NETWORK, p), Kind.REFUSED), first=4)
    _withdraw(s, 900, "out")


def _delay(s: Script) -> None:
    _begin(s)
    _resume(s, 1)
    _pause(s, 1)
    _pause(s, 1, 0, 2)
    s.now = NOW + _DELAY - 1
    _resume(s, 2)
    # A second pause begins the delay anew, and what was signed for the first one is void.
    _pause(s, 2)
    s.now = NOW + _DELAY
    _resume(s, 2)
    _resume(s, 3)
    s.now = NOW + 2 * _DELAY - 1
    _resume(s, 3)
    _resume(s, 3)
    _pause(s, 2)
    _pause(s, 3)
    _resume(s, 4)
    s.lock(s.home())
    _pause(s, 4)
    s.lock(s.home(version=2, nonce=seeded("second")))


def _orders_refused(s: Script) -> None:
    _begin(s)
    _pause(s, 1, 0)
    _pause(s, 1, 1, 1)
    _pause(s, 1, 3, 1)
    _pause(s, 1, epoch=Epoch(2))
    _pause(s, 1, at=s.other)
    _pause(s, 0)
    _pause(s, 2)
    _pause(s, 2**64 - 1)
    order = Pause(at=s.own, epoch=Epoch(1), counter=1)
    digest = typed_digest(fx.NETWORK, order)
    good = tuple(fx.VALIDATORS[n].sign_as(n, digest) for n in range(2))
    s.do("pause", order, ())
    s.do("pause", order, (good[0], fx.STRANGER.sign_as(2, digest)))
    s.do("pause", order, (good[0], fx.VALIDATORS[1].sign_as(4, digest)))
    s.do("pause", order, (good[0], dataclasses.replace(good[1], v=0)))
    s.do("pause", order, (*good, fx.STRANGER.sign_as(3, digest)))
    s.do("pause", order, tuple(fx.VALIDATORS[n].sign_as(n, typed_digest(seeded("x"), order)) for n in range(2)))
    # One order is not the other, though they say the same.
    s.do("resume", Resume(at=s.own, epoch=Epoch(1), counter=1), (*good, fx.VALIDATORS[2].sign_as(2, digest)))
    s.do("pause", order, good)
    s.now = NOW + _DELAY
    _resume(s, 2, 0, 1)
    _resume(s, 2, 0, 1, 1)
    _resume(s, 2, epoch=Epoch(0))
    _resume(s, 2, at=s.other)
    _resume(s, 1)
    _resume(s, 3)
    _resume(s, 2, 0, 1, 2, 3)


def _cap(s: Script) -> None:
    _begin(s, cap=500)
    _withdraw(s, 501, "too much")
    _withdraw(s, 300, "first")
    _withdraw(s, 300, "first")
    _withdraw(s, 201, "too much")
    _withdraw(s, 0, "nothing")
    _withdraw(s, 2**128 - 1, "huge")
    call = encode_call("withdraw", *_withdrawal(s, 150, "batch"))
    s.do("multicall", (call, encode_call("withdraw", *_withdrawal(s, 51, "batch 2"))))
    s.do("multicall", (call, call))
    _withdraw(s, 50, "last")
    _withdraw(s, 1, "too much")
    s.lock(s.home())


def _cap_and_balance(s: Script) -> None:
    # What the account does not have counts for nothing.
    _begin(s, cap=2_000)
    _withdraw(s, 1_001, "low")
    _withdraw(s, 2_001, "both")
    _withdraw(s, 1_000, "all")
    _withdraw(s, 1, "low again")


def _stranger(s: Script) -> None:
    _begin(s)
    order = Pause(at=s.own, epoch=Epoch(1), counter=1)
    digest = typed_digest(fx.NETWORK, order)
    keys: tuple[Key, ...] = (fx.PUBLISHER, fx.OPERATOR)
    s.do("pause", order, tuple(key.sign_as(n, digest) for n, key in enumerate(keys)))


BRAKE_SCENARIOS: list[tuple[str, Callable[[Script], None]]] = [
    ("paused: nothing begins, and what was done before is still a repetition", _nothing_begins),
    ("paused: what has begun goes on, and all begins again once resumed", _what_began_goes_on),
    ("a pause lasts its delay; a second pause begins it anew", _delay),
    ("orders that are refused", _orders_refused),
    ("orders of others than validators", _stranger),
    ("withdrawals up to the cap of an epoch", _cap),
    ("the cap comes before the balance", _cap_and_balance),
]
"""For both ledgers."""
