"""The queue in front of a model: bounds, turns, batches."""

from __future__ import annotations

from typing import Any

import pytest

from caimi.host.fair_queue import Entry, FairQueue, Pace, QueueFull, QueueLimits
from caimi.types.primitives import Address

ANNA, BERT, CARL = (Address(bytes([i]) * 20) for i in (1, 2, 3))


def entry(consumer: Address = ANNA, name: str = "", **fields: Any) -> Entry[str]:
    values: dict[str, Any] = {"group": "g", "rows": 1, "size": 10, "queued": 0.0, "until": 100.0, **fields}
    return Entry(consumer=consumer, item=name, **values)


def queue(**limits: int) -> FairQueue[str]:
    return FairQueue(QueueLimits(**limits))


def names(entries: list[Entry[str]]) -> str:
    return "".join(one.item for one in entries)


def taken(waiting: FairQueue[str], most_rows: int = 1, now: float = 0.0) -> str:
    # Everything, batch by batch.
    batches: list[str] = []
    while len(waiting):
        batch, _ = waiting.take(most_rows=most_rows, now=now)
        batches.append(names(batch))
    return " ".join(batches)


def test_consumers_take_turns_whatever_one_of_them_sends() -> None:
    waiting = queue()
    for name in "abcdef":
        waiting.add(entry(ANNA, name))
    waiting.add(entry(BERT, "x"))
    waiting.add(entry(CARL, "y"))
    assert (len(waiting), waiting.rows) == (8, 8)
    assert taken(waiting) == "a x y b c d e f"
    assert (len(waiting), waiting.rows, waiting.head()) == (0, 0, None)


def test_turns_are_counted_in_rows() -> None:
    waiting = queue()
    for name in "AB":
        waiting.add(entry(ANNA, name, rows=4))
    for name in "stuvwx":
        waiting.add(entry(BERT, name))
    assert taken(waiting) == "A s t u v B w x"


def test_who_waited_for_nothing_gains_nothing() -> None:
    waiting = queue()
    for name in "abc":
        waiting.add(entry(ANNA, name))
    waiting.take(most_rows=1, now=0.0)
    waiting.take(most_rows=1, now=0.0)
    # Bert comes late: he gets his turns from now on, none for the past.
    for name in "xyz":
        waiting.add(entry(BERT, name))
    for name in "de":
        waiting.add(entry(ANNA, name))
    assert taken(waiting) == "x c y z d e"


def test_a_batch_holds_one_group_and_so_many_rows() -> None:
    waiting = queue()
    for name, group, rows in (("a", 1, 2), ("b", 2, 1), ("c", 1, 2), ("d", 1, 2), ("e", 2, 1)):
        waiting.add(entry(ANNA, name, group=group, rows=rows))
    assert taken(waiting, most_rows=4) == "ac be d"
    big = queue()
    big.add(entry(ANNA, "big", rows=9))
    big.add(entry(ANNA, "s"))
    assert taken(big, most_rows=4) == "big s"
    alone = queue()
    for name in "ab":
        alone.add(entry(ANNA, name))
    assert taken(alone, most_rows=0) == "a b"


def test_calls_whose_time_has_passed_are_told_and_not_run() -> None:
    waiting = queue()
    for name, until in (("a", 1.0), ("b", 9.0), ("c", 1.0), ("d", 9.0)):
        waiting.add(entry(ANNA, name, until=until))
    batch, late = waiting.take(most_rows=8, now=1.0)
    assert (names(batch), names(late)) == ("bd", "ac")
    waiting.add(entry(ANNA, "e", until=1.0))
    assert [names(part) for part in waiting.take(most_rows=8, now=2.0)] == ["", "e"]
    assert len(waiting) == 0


def test_a_call_that_was_given_up_leaves_its_place() -> None:
    waiting = queue(calls=2)
    first, second = entry(ANNA, "a"), entry(ANNA, "b")
    waiting.add(first)
    waiting.add(second)
    waiting.remove(first)
    waiting.remove(first)
    assert (len(waiting), waiting.rows) == (1, 1)
    waiting.add(entry(ANNA, "c"))
    assert taken(waiting) == "b c"


def test_rejects_what_has_no_room() -> None:
    waiting = queue(calls=2, bytes=25)
    waiting.add(entry(ANNA, "a"))
    for size in (16, 26):
        with pytest.raises(QueueFull):
            waiting.add(entry(ANNA, "b", size=size))
    waiting.add(entry(ANNA, "c", size=15))
    for consumer in (ANNA, BERT):
        refused = entry(consumer, "d", size=0)
        if consumer is ANNA:
            with pytest.raises(QueueFull):
                waiting.add(refused)
        else:
            # Anna has two, Bert none: her newest makes room.
            pushed = waiting.add(refused)
            assert pushed is not None
            assert pushed.item == "c"
    with pytest.raises(QueueFull):
        waiting.add(entry(CARL, "e"))
    assert taken(waiting) == "a d"


def test_a_large_call_pushes_nobody_out_in_vain() -> None:
    waiting = queue(calls=9, bytes=30)
    for name in "abc":
        waiting.add(entry(ANNA, name))
    with pytest.raises(QueueFull):
        waiting.add(entry(BERT, "x", size=11))
    assert (len(waiting), waiting.rows) == (3, 3)
    assert taken(waiting) == "a b c"


def test_consumers_who_left_are_forgotten() -> None:
    waiting = queue(calls=4)
    waiting.add(entry(ANNA, "first"))
    for number in range(100):
        waiting.add(entry(Address(number.to_bytes(20, "big")), "n"))
        waiting.take(most_rows=1, now=0.0)
        assert len(waiting) == 1
        assert len(waiting._accounts) <= 2 * 4 + 2


def test_the_pace_follows_what_was_measured() -> None:
    pace = Pace()
    assert pace.seconds_for(100) == 0.0
    pace.observe(10, 1.0)
    assert pace.seconds_for(20) == pytest.approx(2.0)
    for _ in range(50):
        pace.observe(1, 0.2)
    assert pace.seconds_a_row == pytest.approx(0.2, rel=0.01)
