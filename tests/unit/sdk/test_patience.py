"""What does not answer for a while is asked again; what says no, or stays away, is not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from caimi.bundle.cid import RAW, cid_of
from caimi.bundle.unixfs import Block
from caimi.ports.chain import ChainUnavailable, SourcesDisagree
from caimi.ports.content import StoreFull, StoreUnavailable
from caimi.sdk.patience import Patience, PatientReader, PatientStore
from caimi.types.failure import CaimiError
from caimi.types.primitives import Address

ACCOUNT = Address(bytes(20))
BLOCK = Block(cid=cid_of(RAW, b"x"), data=b"x")


class Moody:
    """Fails as told before it answers."""

    lane = None
    name = "moody"

    def __init__(self, *failures: CaimiError) -> None:
        self.failures = list(failures)
        self.asked = 0

    async def balance(self, account: Address) -> int:
        self.asked += 1
        if self.failures:
            raise self.failures.pop(0)
        return 7

    async def get(self, *_: Any) -> Block:
        await self.balance(ACCOUNT)
        return BLOCK

    async def has(self, *_: Any) -> bool:
        return bool(await self.balance(ACCOUNT))

    async def put(self, *_: Any) -> None:
        await self.balance(ACCOUNT)

    async def missing(self, *_: Any) -> frozenset[Any]:
        await self.balance(ACCOUNT)
        return frozenset()


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Time that passes only while somebody sleeps: now, then each pause."""
    now = [0.0]

    async def sleep(seconds: float) -> None:
        now[0] += seconds
        now.append(seconds)

    monkeypatch.setattr("caimi.sdk.patience.time.monotonic", lambda: now[0])
    monkeypatch.setattr("caimi.sdk.patience.asyncio.sleep", sleep)
    return now


def ask(moody: Any, patience: Patience | None = None) -> int:
    return asyncio.run(PatientReader(moody, patience, name="the node of fabric").balance(ACCOUNT))


def test_asks_again() -> None:
    moody = Moody(ChainUnavailable("busy"))
    assert ask(moody) == 7
    assert moody.asked == 2


def test_pauses_grow_and_end() -> None:
    moody = Moody(*[ChainUnavailable("gone")] * 99)
    with pytest.raises(ChainUnavailable, match="gone"):
        ask(moody, Patience(20.0))
    # 0.2 0.4 0.8 1.6 3 3 3 3 3: another 3 would be too late.
    assert moody.asked == 10


def test_rejects_without_patience_at_once(clock: list[float]) -> None:
    moody = Moody(ChainUnavailable("gone"))
    with pytest.raises(ChainUnavailable, match="gone"):
        ask(moody, Patience())
    assert (moody.asked, clock[1:]) == (1, [])


def test_rejects_disagreement_at_once() -> None:
    moody = Moody(SourcesDisagree("two heads"))
    with pytest.raises(SourcesDisagree, match="two heads"):
        ask(moody)
    assert moody.asked == 1


def test_says_once_what_it_waits_for_and_that_it_is_back() -> None:
    told: list[str] = []
    patience = Patience(50.0, told.append)
    moody = Moody(*[ChainUnavailable("connection refused")] * 3)
    reader: Any = PatientReader(moody, patience, name="the node of fabric")  # type: ignore[arg-type]

    async def several() -> None:
        await asyncio.gather(*(reader.balance(ACCOUNT) for _ in range(3)))

    asyncio.run(several())
    assert told == [
        "waits for the node of fabric, which does not answer, at most 50 s: connection refused",
        "the node of fabric answers again",
    ]
    ask(moody, patience)
    assert len(told) == 2


_QUESTIONS: list[Callable[[PatientStore], Awaitable[Any]]] = [
    lambda store: store.get(BLOCK.cid),
    lambda store: store.missing([BLOCK.cid]),
    lambda store: store.has(BLOCK.cid),
]


@pytest.mark.parametrize("question", _QUESTIONS)
def test_a_content_store_is_asked_again(question: Callable[[PatientStore], Awaitable[Any]]) -> None:
    moody: Any = Moody(StoreUnavailable("away"), StoreUnavailable("away"))

    async def act() -> None:
        await question(PatientStore(moody, Patience(9.0)))

    asyncio.run(act())
    assert moody.asked == 3


def test_rejects_a_full_store_at_once() -> None:
    moody: Any = Moody(StoreFull("no room"))
    with pytest.raises(StoreFull):
        asyncio.run(PatientStore(moody, Patience(9.0)).put(BLOCK))
    assert moody.asked == 1


class Deaf:
    """A store that takes a block but whose first answer gets lost, or that does not even take it the first time."""

    name = "deaf"

    def __init__(self, *, takes_the_first: bool) -> None:
        self.puts = 0
        self._takes_the_first = takes_the_first

    async def put(self, *_: Any) -> None:
        self.puts += 1
        if self.puts == 1:
            raise StoreUnavailable("no answer in time")

    async def has(self, *_: Any) -> bool:
        return self.puts > 1 or self._takes_the_first


@pytest.mark.parametrize("takes_the_first", [True, False])
def test_a_block_is_sent_again_only_if_the_store_did_not_take_it(takes_the_first: bool) -> None:
    deaf: Any = Deaf(takes_the_first=takes_the_first)
    asyncio.run(PatientStore(deaf, Patience(9.0)).put(BLOCK))
    assert deaf.puts == (1 if takes_the_first else 2)


def test_rejects_a_store_that_stays_away_during_a_put() -> None:
    moody: Any = Moody(*[StoreUnavailable("away")] * 99)
    with pytest.raises(StoreUnavailable):
        asyncio.run(PatientStore(moody, Patience(9.0)).put(BLOCK))
