"""What is remembered of direct requests, and for how long."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from caimi.host.call_errors import AlreadyAnswered, HostBusy, NotYetAnswered
from caimi.host.replays import ReplayLimits, Replays
from caimi.types.errors import Expired, NonceUsed
from caimi.types.primitives import Address, Bytes32, UnixSeconds
from caimi.types.records import DirectRequest


def word(number: int) -> Bytes32:
    return Bytes32(number.to_bytes(32, "big"))


RECORD = DirectRequest(
    publication=word(1),
    consumer=Address(bytes(20)),
    host=Address(bytes(20)),
    session=word(2),
    input_commitment=word(3),
    nonce=word(4),
    deadline=UnixSeconds(100),
)


def record(**fields: Any) -> DirectRequest:
    return dataclasses.replace(RECORD, **fields)


def at(seconds: int) -> UnixSeconds:
    return UnixSeconds(seconds)


def test_the_same_request_gets_the_same_reply_until_its_deadline() -> None:
    known = Replays(ReplayLimits())
    assert known.begin(RECORD, word(7), now=at(90)) is None
    with pytest.raises(NotYetAnswered):
        known.begin(RECORD, word(7), now=at(90))
    known.finish(RECORD, b"reply")
    assert known.begin(RECORD, word(7), now=at(100)) == b"reply"
    with pytest.raises(Expired):
        known.begin(RECORD, word(7), now=at(101))
    # The clock was set back: what was forgotten is not taken again.
    with pytest.raises(Expired):
        known.begin(RECORD, word(7), now=at(50))
    assert known.begin(record(deadline=101, nonce=word(5)), word(8), now=at(50)) is None


def test_rejects_a_nonce_that_another_request_used() -> None:
    known = Replays(ReplayLimits())
    known.begin(RECORD, word(7), now=at(90))
    for other in (record(input_commitment=word(9)), record(deadline=101)):
        with pytest.raises(NonceUsed):
            known.begin(other, word(8), now=at(90))
    assert known.begin(record(consumer=Address(bytes([1]) * 20)), word(8), now=at(90)) is None


def test_a_request_that_was_given_up_may_come_again() -> None:
    known = Replays(ReplayLimits())
    known.begin(RECORD, word(7), now=at(90))
    known.give_up(RECORD)
    # Another request of that nonce, with a later deadline: it is remembered until its own.
    later = record(deadline=120)
    assert known.begin(later, word(8), now=at(90)) is None
    known.finish(later, b"later")
    assert known.begin(later, word(8), now=at(110)) == b"later"
    with pytest.raises(NonceUsed):
        known.begin(record(deadline=121), word(9), now=at(110))


def test_rejects_more_than_is_remembered() -> None:
    known = Replays(ReplayLimits(requests=3))
    for number in range(3):
        known.begin(record(nonce=word(number)), word(number), now=at(90))
    known.give_up(record(nonce=word(0)))
    with pytest.raises(HostBusy) as caught:
        known.begin(record(nonce=word(9)), word(9), now=at(90))
    assert caught.value.seconds == 10
    assert known.begin(record(nonce=word(9), deadline=200), word(9), now=at(101)) is None


def test_replies_are_kept_within_bounds() -> None:
    known = Replays(ReplayLimits(reply_bytes=10))
    for number in range(3):
        one = record(nonce=word(number))
        known.begin(one, word(number), now=at(90))
        known.finish(one, bytes(4))
    with pytest.raises(AlreadyAnswered):
        known.begin(record(nonce=word(0)), word(0), now=at(90))
    for number in (1, 2):
        assert known.begin(record(nonce=word(number)), word(number), now=at(90)) == bytes(4)
    one = record(nonce=word(3))
    known.begin(one, word(3), now=at(90))
    known.finish(one, bytes(11))
    for number in range(4):
        with pytest.raises(AlreadyAnswered):
            known.begin(record(nonce=word(number)), word(number), now=at(90))


def test_a_reply_that_comes_after_its_deadline_is_not_kept() -> None:
    known = Replays(ReplayLimits())
    known.begin(RECORD, word(7), now=at(90))
    known.begin(record(nonce=word(5), deadline=300), word(8), now=at(200))
    known.finish(RECORD, b"late")
    assert not known._replies
    assert len(known._known) == 1
