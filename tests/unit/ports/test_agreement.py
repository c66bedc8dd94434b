"""One reader over several sources: agreement, lag, contradiction."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from caimi.ports.agreement import AgreeingReader, SourcesApart
from caimi.ports.chain import (
    ChainReader,
    ChainUnavailable,
    FinalEvent,
    Head,
    SourcesDisagree,
    ValidatorSetView,
)
from caimi.types.errors import WrongRegistry
from caimi.types.primitives import Address, Bytes32, Epoch, Generation, PublicationId, Sequence, UnixSeconds
from caimi.types.records import Event, Item, Lane
from caimi.wire.keccak import keccak256

_LANE = Lane(chain=keccak256(b"chain"), registry=keccak256(b"registry"))
_SOMEBODY = Address(bytes(20))


def _hash(height: int) -> Bytes32:
    return keccak256(b"block %d" % height)


def _event(number: int) -> FinalEvent:
    event = Event(schema=1, kind=1, destinations=(), subject=_hash(number), body=b"")
    return FinalEvent(
        item=Item(sequence=Sequence(number), event=event),
        height=number,
        block_hash=_hash(number),
        transaction=f"transaction {number}",
        time=UnixSeconds(number),
    )


@dataclasses.dataclass(slots=True)
class _Source:
    """A chain of `height` blocks, final two below, an event in each."""

    height: int = 9
    lane: Lane = _LANE
    hashes: dict[int, Bytes32] = dataclasses.field(default_factory=dict[int, Bytes32])
    altered: dict[int, FinalEvent] = dataclasses.field(default_factory=dict[int, FinalEvent])
    answer: Any = 7
    is_down: bool = False

    def _check(self) -> None:
        if self.is_down:
            raise ChainUnavailable("down")

    async def head(self) -> Head:
        self._check()
        final = self.height - 2
        return Head(
            height=self.height,
            final_height=final,
            final_hash=self.hashes.get(final, _hash(final)),
            time=UnixSeconds(self.height),
        )

    async def events(self, first: Sequence, limit: int) -> tuple[FinalEvent, ...]:
        self._check()
        numbers = range(first, min(first + limit, self.height - 1))
        return tuple(self.altered.get(n, _event(n)) for n in numbers)

    async def block_hash(self, height: int) -> Bytes32 | None:
        self._check()
        return self.hashes.get(height, _hash(height)) if height <= self.height else None

    async def _tip(self, *question: object) -> Any:
        self._check()
        return self.answer

    publication = balance = tokens = receipt_of = is_marked = validator_set = _tip


def _reader(*sources: _Source) -> AgreeingReader:
    return AgreeingReader([cast("ChainReader", source) for source in sources])


_QUESTIONS: dict[str, Callable[[AgreeingReader], Awaitable[Any]]] = {
    "head": lambda reader: reader.head(),
    "events": lambda reader: reader.events(Sequence(1), 9),
    "block_hash": lambda reader: reader.block_hash(1),
    "publication": lambda reader: reader.publication(PublicationId(_hash(1))),
    "balance": lambda reader: reader.balance(_SOMEBODY),
    "tokens": lambda reader: reader.tokens(_SOMEBODY),
    "receipt_of": lambda reader: reader.receipt_of(_hash(1)),
    "is_marked": lambda reader: reader.is_marked(_LANE, Generation(1), Sequence(1)),
    "validator_set": lambda reader: reader.validator_set(),
}
_TIP_QUESTIONS = [name for name in _QUESTIONS if name not in ("head", "events", "block_hash")]


def _ask(question: str, *sources: _Source) -> Any:
    async def act() -> Any:
        return await _QUESTIONS[question](_reader(*sources))

    return asyncio.run(act())


@pytest.mark.parametrize("question", _QUESTIONS)
def test_one_source_speaks_for_itself(question: str) -> None:
    async def act() -> Any:
        return await getattr(_Source(), question)(*_ARGUMENTS.get(question, ()))

    assert _ask(question, _Source()) == asyncio.run(act())


_ARGUMENTS: dict[str, tuple[Any, ...]] = {"events": (Sequence(1), 9), "block_hash": (1,)}


@pytest.mark.parametrize("question", _QUESTIONS)
def test_equal_sources_speak_as_one(question: str) -> None:
    assert _ask(question, _Source(), _Source(), _Source()) == _ask(question, _Source())


@pytest.mark.parametrize("question", _QUESTIONS)
@pytest.mark.parametrize("down", [0, 1])
def test_source_that_is_down_silences_all(question: str, down: int) -> None:
    sources = [_Source(is_down=n == down) for n in range(2)]
    with pytest.raises(ChainUnavailable):
        _ask(question, *sources)


@pytest.mark.parametrize("order", [1, -1])
def test_source_that_lags_is_waited_for(order: int) -> None:
    sources = [_Source(height=9), _Source(height=6)][::order]
    head = _ask("head", *sources)
    assert (head.height, head.final_height, head.final_hash, head.time) == (6, 4, _hash(4), 6)
    assert _ask("events", *sources) == tuple(_event(n) for n in range(1, 5))


def test_block_that_one_source_lacks_is_no_block() -> None:
    async def act() -> Any:
        return await _reader(_Source(height=9), _Source(height=6)).block_hash(8)

    assert asyncio.run(act()) is None


_ALTERED: dict[str, FinalEvent] = {
    "item": dataclasses.replace(_event(3), item=_event(4).item),
    "height": dataclasses.replace(_event(3), height=4),
    "block": dataclasses.replace(_event(3), block_hash=_hash(99)),
    "transaction": dataclasses.replace(_event(3), transaction="another"),
    "time": dataclasses.replace(_event(3), time=UnixSeconds(99)),
}


@pytest.mark.parametrize("event", _ALTERED.values(), ids=_ALTERED)
@pytest.mark.parametrize("liar", [0, 1, 2])
def test_rejects_two_events_of_one_number(event: FinalEvent, liar: int) -> None:
    sources = [_Source(altered={3: event} if n == liar else {}) for n in range(3)]
    with pytest.raises(SourcesDisagree):
        _ask("events", *sources)


def test_lie_beyond_what_is_asked_for_changes_nothing() -> None:
    async def act() -> Any:
        return await _reader(_Source(altered={8: _event(9)}), _Source()).events(Sequence(1), 3)

    assert asyncio.run(act()) == tuple(_event(n) for n in (1, 2, 3))


@pytest.mark.parametrize("heights", [(9, 9), (9, 6), (6, 9)])
def test_rejects_two_final_blocks_of_one_height(heights: tuple[int, int]) -> None:
    final = min(heights) - 2
    with pytest.raises(SourcesDisagree):
        _ask("head", _Source(height=heights[0]), _Source(height=heights[1], hashes={final: _hash(99)}))


def test_rejects_a_final_source_without_the_block() -> None:
    class _Gap(_Source):
        async def block_hash(self, height: int) -> Bytes32 | None:
            return None

    with pytest.raises(SourcesDisagree):
        _ask("head", _Source(height=6), _Gap(height=9))


def test_rejects_two_blocks_of_one_height() -> None:
    with pytest.raises(SourcesDisagree):
        _ask("block_hash", _Source(), _Source(hashes={1: _hash(99)}))


@pytest.mark.parametrize("question", _TIP_QUESTIONS)
@pytest.mark.parametrize("answer", [8, None])
def test_rejects_different_answers_about_the_tip(question: str, answer: Any) -> None:
    with pytest.raises(SourcesApart):
        _ask(question, _Source(), _Source(answer=answer))


def test_none_is_an_answer_to_agree_on() -> None:
    assert _ask("publication", _Source(answer=None), _Source(answer=None)) is None


def test_rejects_sources_of_different_lanes() -> None:
    with pytest.raises(WrongRegistry):
        _reader(_Source(), _Source(lane=Lane(chain=_LANE.chain, registry=_hash(1))))


def test_rejects_no_sources() -> None:
    with pytest.raises(ValueError, match="at least one"):
        _reader()


def test_validator_sets_are_compared_whole() -> None:
    one = ValidatorSetView(epoch=Epoch(1), f=1, t=2, validators=(_SOMEBODY,))
    with pytest.raises(SourcesApart):
        _ask("validator_set", _Source(answer=one), _Source(answer=dataclasses.replace(one, epoch=Epoch(2))))


@dataclasses.dataclass(slots=True)
class _Keeps(_Source):
    """Goes on saying what its node once said, until it is told to forget."""

    forgotten: list[int] = dataclasses.field(default_factory=list[int])

    async def forget(self, first: Sequence) -> None:
        self.forgotten.append(first)
        self.altered.clear()


def test_sources_that_keep_a_contradiction_are_told_to_ask_again() -> None:
    lie = dataclasses.replace(_event(3), transaction="another")
    liar, honest, other = _Keeps(altered={3: lie}), _Keeps(), _Source()

    async def act() -> None:
        reader = _reader(liar, honest, other)
        with pytest.raises(SourcesDisagree):
            await reader.events(Sequence(1), 9)
        assert (liar.forgotten, honest.forgotten) == ([3], [3])
        assert len(await reader.events(Sequence(1), 9)) == 7

    asyncio.run(act())
