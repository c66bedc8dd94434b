"""Which events are held, and in which blocks the others are."""

from __future__ import annotations

import pytest

from caimi.ports.chain import FinalEvent
from caimi.ports.numbered_events import NumberedEvents
from caimi.types.primitives import Sequence, UnixSeconds, bytes32
from caimi.types.records import Event, Item

_HEIGHTS = (4, 4, 7, 9, 9, 9, 30)  # of events 1 to 7


def _event(number: int, height: int) -> FinalEvent:
    event = Event(schema=1, kind=1, destinations=(), subject=bytes32(bytes(32)), body=b"")
    item = Item(sequence=Sequence(number), event=event)
    return FinalEvent(item=item, height=height, block_hash=bytes32(bytes(32)), transaction="", time=UnixSeconds(0))


def _events(kept: int = 3) -> NumberedEvents:
    events = NumberedEvents(kept=kept)
    for number, height in enumerate(_HEIGHTS, start=1):
        events.append(_event(number, height))
    return events


def _is_held(events: NumberedEvents, first: int, last: int) -> bool:
    held = events.held(first, last)
    assert held is None or [event.item.sequence for event in held] == list(range(first, last + 1))
    return held is not None


def test_the_newest_are_held() -> None:
    events = _events()
    assert events.count == 7
    assert [_is_held(events, n, n) for n in range(1, 9)] == [False] * 4 + [True] * 3 + [False]
    assert _is_held(events, 5, 7)
    assert not _is_held(events, 4, 7)


def test_one_read_again_is_held_instead_of_the_oldest() -> None:
    events = _events()
    events.keep(_event(5, 9))
    events.keep(_event(1, 4))
    assert [_is_held(events, n, n) for n in range(1, 8)] == [True, False, False, False, True, False, True]


def test_heights_of_all_are_known() -> None:
    events = _events(kept=0)
    assert tuple(events.height_of(Sequence(n)) for n in range(1, 8)) == _HEIGHTS
    assert [events.count_below(height) for height in (0, 4, 5, 7, 8, 9, 10, 30, 31)] == [0, 0, 2, 2, 3, 3, 6, 6, 7]


@pytest.mark.parametrize(
    ("first", "last", "blocks", "expected"),
    [
        (1, 7, 100, [(4, 30)]),
        (1, 7, 6, [(4, 9), (30, 30)]),
        (1, 7, 5, [(4, 7), (9, 9), (30, 30)]),
        (2, 3, 1, [(4, 4), (7, 7)]),
        (5, 5, 100, [(9, 9)]),
    ],
)
def test_stretches_pass_over_blocks_without_events(
    first: int, last: int, blocks: int, expected: list[tuple[int, int]]
) -> None:
    assert list(_events().ranges(first, last, blocks=blocks)) == expected


@pytest.mark.parametrize("count", range(9))
def test_forgetting_is_as_if_never_read(count: int) -> None:
    events = _events(kept=9)
    events.forget_above(count)
    known = min(count, 7)
    assert events.count == known
    assert [_is_held(events, n, n) for n in range(1, 8)] == [n <= known for n in range(1, 8)]
    for number in range(known + 1, 8):
        events.append(_event(number, _HEIGHTS[number - 1]))
    assert tuple(events.height_of(Sequence(n)) for n in range(1, 8)) == _HEIGHTS


@pytest.mark.parametrize(("number", "height"), [(7, 30), (9, 31), (8, 29)])
def test_rejects_what_is_not_the_next(number: int, height: int) -> None:
    events = _events()
    with pytest.raises(ValueError, match=f"event {number} of block {height} after event 7"):
        events.append(_event(number, height))
    assert events.count == 7
