"""What a simulated ledger does to its readers: branches, lag, a lost pool. The rest is the conformance suite."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from caimi.ports.agreement import AgreeingReader
from caimi.ports.chain import Included, NotIncluded, SourcesDisagree
from caimi.protocol.registry_state import RegistryConfig
from caimi.simulators.chain import SimulatedChain, SimulatedNode
from caimi.simulators.ledger import SimulatedLedger, Slots
from caimi.types.primitives import Sequence, UnixSeconds
from caimi.types.records import Lane
from caimi.wire.chain_ids import chain_hash
from caimi.wire.digests import network_id
from tests.conformance.scenario import CLOCK_WINDOW, ELSEWHERE, MIN_DEPOSIT, Signer, genesis, key, word

_LANE = Lane(chain=chain_hash("caimi:simulated"), registry=word("registry"))
_GENESIS = genesis(word("simulated"))
_NOW = UnixSeconds(1_800_000_000)
_PUBLISHER = Signer(network=network_id(_GENESIS), key=key("publisher"), label="publisher")


def _ledger(depth: int = 2, slots: Slots = Slots.NUMBERED) -> SimulatedLedger:
    config = RegistryConfig(lane=_LANE, genesis=_GENESIS, min_deposit=MIN_DEPOSIT, clock_window=CLOCK_WINDOW)
    return SimulatedLedger(config, slots=slots, depth=depth, now=lambda: _NOW)


def _port(ledger: SimulatedLedger, behind: int = 0) -> SimulatedChain:
    node = SimulatedNode(ledger=ledger, behind=behind)
    return SimulatedChain(node, sender=key("sender").address, entropy=lambda length: bytes(length))


def _lock(tag: str) -> bytes:
    deadline = _NOW + 1_000
    return _PUBLISHER.lock(_PUBLISHER.publication(home=ELSEWHERE, mirror=_LANE, deadline=deadline, tag=tag))


def _play(ledger: SimulatedLedger, scene: Callable[[SimulatedChain], Awaitable[None]]) -> None:
    async def act() -> None:
        await scene(_port(ledger))

    asyncio.run(act())


def test_reorganisation_takes_transactions_back_into_the_pool() -> None:
    ledger = _ledger(depth=0)

    async def scene(port: SimulatedChain) -> None:
        prepared = await port.prepare(_lock("-1"), slot=None)
        await port.send(prepared)
        before = ledger.mine()
        assert await port.status(prepared) == Included(height=1, final=True)
        ledger.reorganise(1)
        assert await port.status(prepared) == NotIncluded()
        assert await port.events(Sequence(1), 9) == ()
        assert await port.block_hash(1) is None
        after = ledger.mine()
        assert after.hash != before.hash
        (event,) = await port.events(Sequence(1), 9)
        assert event.block_hash == after.hash

    _play(ledger, scene)


def test_block_zero_is_never_dropped() -> None:
    ledger = _ledger()
    zero = ledger.tip.hash
    ledger.mine()
    ledger.reorganise(99)
    assert [block.hash for block in ledger.blocks] == [zero]


def test_same_actions_give_the_same_hashes() -> None:
    def run() -> list[bytes]:
        ledger = _ledger()

        async def scene(port: SimulatedChain) -> None:
            await port.send(await port.prepare(_lock("-1"), slot=None))
            ledger.mine()
            ledger.mine()

        _play(ledger, scene)
        return [block.hash for block in ledger.blocks]

    assert run() == run()


def test_pool_that_is_lost_is_filled_by_sending_again() -> None:
    ledger = _ledger(depth=0)

    async def scene(port: SimulatedChain) -> None:
        prepared = await port.prepare(_lock("-1"), slot=None)
        await port.send(prepared)
        ledger.drop_pool()
        ledger.mine()
        assert await port.status(prepared) == NotIncluded()
        await port.send(prepared)
        ledger.mine()
        assert isinstance(await port.status(prepared), Included)

    _play(ledger, scene)


def test_node_that_lags_shows_less_and_contradicts_nobody() -> None:
    ledger = _ledger(depth=0)

    async def scene(port: SimulatedChain) -> None:
        for n in range(3):
            await port.send(await port.prepare(_lock(f"-{n}"), slot=None))
            ledger.mine()
        late = _port(ledger, behind=2)
        assert (await late.head()).height == 1
        assert len(await late.events(Sequence(1), 9)) == 1
        both = AgreeingReader([port, late])
        assert await both.events(Sequence(1), 9) == await late.events(Sequence(1), 9)
        assert await both.head() == await late.head()

    _play(ledger, scene)


def test_two_branches_of_one_chain_are_a_contradiction() -> None:
    one, other = _ledger(depth=0), _ledger(depth=0)

    async def scene(port: SimulatedChain) -> None:
        rival = _port(other)
        for ledger, chain, tag in ((one, port, "-1"), (other, rival, "-2")):
            await chain.send(await chain.prepare(_lock(tag), slot=None))
            ledger.mine()
        with pytest.raises(SourcesDisagree):
            await AgreeingReader([port, rival]).head()
        with pytest.raises(SourcesDisagree):
            await AgreeingReader([port, rival]).events(Sequence(1), 9)

    _play(one, scene)


def test_transactions_of_one_block_see_each_other() -> None:
    ledger = _ledger(depth=0, slots=Slots.NONE)

    async def scene(port: SimulatedChain) -> None:
        one = await port.prepare(_lock("-1"), slot=None)
        two = await _rival(ledger).prepare(_lock("-1"), slot=None)
        await port.send(one)
        await _rival(ledger).send(two)
        block = ledger.mine()
        assert len(block.transactions) == 2
        assert len(block.events) == 1

    _play(ledger, scene)


def _rival(ledger: SimulatedLedger) -> SimulatedChain:
    return SimulatedChain(
        SimulatedNode(ledger=ledger), sender=key("rival").address, entropy=lambda length: bytes(length)
    )
