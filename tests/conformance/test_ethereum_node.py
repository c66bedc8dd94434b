"""What a real Anvil can do to the adapter that a ledger should not: restart, reorganise, lie, run out of gas."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Awaitable, Callable, Generator
from typing import Any

import httpx2
import pytest

from caimi.chains.ethereum.errors import EventGap
from caimi.chains.ethereum.finality import FinalizedTag
from caimi.chains.ethereum.jsonrpc import RpcClient
from caimi.chains.ethereum.reader import EthereumReader
from caimi.chains.ethereum.registry import EthereumRegistry
from caimi.ports.agreement import AgreeingReader
from caimi.ports.call_errors import CallTooLarge, FeeTooLow, SenderUnfunded
from caimi.ports.chain import Included, Lost, NotIncluded, Reverted, SourcesDisagree, StatusUnknown
from caimi.types.primitives import Sequence
from caimi.wire.functions import encode_call, event_topic
from tests.conformance.anvil_node import AnvilNode, running_anvil
from tests.conformance.chain_world import World, all_events
from tests.conformance.scenario import key
from tests.conformance.test_ethereum_chain import DEPLOYER, RIVAL, SENDER, ethereum_world

pytestmark = [pytest.mark.devnet, pytest.mark.timeout(120)]


@pytest.fixture
def anvil(tmp_path_factory: pytest.TempPathFactory) -> Generator[AnvilNode]:
    """An Anvil of its own for each test."""
    with running_anvil(tmp_path_factory.mktemp("anvil"), (DEPLOYER, SENDER, RIVAL)) as node:
        yield node


def _play(anvil: AnvilNode, scene: Callable[[World, EthereumRegistry], Awaitable[None]]) -> None:
    async def act() -> None:
        async with ethereum_world(anvil, "node") as world:
            assert isinstance(world.port, EthereumRegistry)
            await scene(world, world.port)

    asyncio.run(act())


async def _lock(world: World, tag: str) -> bytes:
    publisher = world.person("publisher")
    return publisher.lock(await world.mirrored(publisher, tag))


def test_restart_after_a_hard_kill_loses_nothing_for_good(anvil: AnvilNode) -> None:
    async def scene(world: World, port: EthereumRegistry) -> None:
        await world.do(await _lock(world, "-1"))
        await asyncio.sleep(1.5)  # Anvil writes its state once a second.
        prepared = await port.prepare(await _lock(world, "-2"), slot=await port.next_slot())
        assert isinstance(await world.settle(port, prepared), Included)
        assert len(await all_events(port)) == 2
        anvil.kill()
        assert isinstance(await port.status(prepared), StatusUnknown)
        anvil.start()
        await anvil.ready(port.rpc)
        await port.rpc.call("evm_setAutomine", False)
        status = await port.status(prepared)
        assert isinstance(status, (Included, NotIncluded, StatusUnknown)), status
        assert isinstance(await world.settle(port, prepared), Included)
        events = await all_events(port)
        assert [event.item.sequence for event in events] == [1, 2]
        assert events[1].transaction == prepared.transaction
        assert await all_events(world.reader()) == events

    _play(anvil, scene)


def test_reorganisation_moves_events_to_other_blocks(anvil: AnvilNode) -> None:
    async def scene(world: World, port: EthereumRegistry) -> None:
        await world.do(await _lock(world, "-1"))
        prepared = await port.prepare(await _lock(world, "-2"), slot=await port.next_slot())
        await world.settle(port, prepared)
        before = await all_events(port)
        assert len(before) == 2
        await port.rpc.call("anvil_reorg", 3, [])
        status = await world.settle(port, prepared)
        after = await all_events(port)
        assert isinstance(status, Included)
        assert after[0] == before[0]
        assert after[1].item == before[1].item
        assert after[1].block_hash != before[1].block_hash
        assert await all_events(world.reader()) == after

    _play(anvil, scene)


def test_rejects_a_batch_beyond_the_gas_of_one_transaction(anvil: AnvilNode) -> None:
    async def scene(world: World, port: EthereumRegistry) -> None:
        publisher = await world.publisher(10_000)
        calls = [publisher.lock(await world.at_home(publisher, f"-{n}")) for n in range(136)]
        with pytest.raises(CallTooLarge):
            await port.prepare(encode_call("multicall", tuple(calls)), slot=None)
        half = encode_call("multicall", tuple(calls[:20]))
        assert isinstance(await world.do(half), Included)
        assert len(await all_events(port)) == 20

    _play(anvil, scene)


def test_rejects_a_sender_without_money(anvil: AnvilNode) -> None:
    async def scene(world: World, port: EthereumRegistry) -> None:
        poor = EthereumRegistry(port.rpc, port.site, sender=key("poor"))
        with pytest.raises(SenderUnfunded):
            await poor.prepare(await _lock(world, ""), slot=None)

    _play(anvil, scene)


def test_replacement_in_the_pool_needs_a_higher_fee(anvil: AnvilNode) -> None:
    async def scene(world: World, port: EthereumRegistry) -> None:
        slot = await port.next_slot()
        one = await port.prepare(await _lock(world, "-1"), slot=slot)
        cheap = await port.prepare(await _lock(world, "-2"), slot=slot)
        await port.send(one)
        with pytest.raises(FeeTooLow):
            await port.send(cheap)
        dear = await port.reprice(cheap)
        await port.send(dear)
        assert isinstance(await world.settle(port, dear), Included)
        assert await port.status(one) == Lost()

    _play(anvil, scene)


def test_reverted_call_names_its_refusal(anvil: AnvilNode) -> None:
    async def scene(world: World, port: EthereumRegistry) -> None:
        publisher = await world.publisher()
        one = await world.at_home(publisher, "-one")
        other = dataclasses.replace(await world.at_home(publisher, "-other"), nonce=one.nonce)
        slot = await port.next_slot()
        assert slot is not None
        first = await port.prepare(publisher.lock(one), slot=slot)
        second = await port.prepare(publisher.lock(other), slot=slot + 1)
        await port.send(first)
        status = await world.settle(port, second)
        assert isinstance(status, Reverted)
        assert status.cause.startswith("NonceUsed")

    _play(anvil, scene)


Logs = list[dict[str, Any]]
Lie = Callable[[Logs], Logs]


class _Liar(httpx2.AsyncBaseTransport):
    """Passes everything on to the real node and changes the logs on their way back."""

    def __init__(self, lie: Lie) -> None:
        self._real = httpx2.AsyncHTTPTransport()
        self._lie = lie

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await self._real.handle_async_request(request)
        answers = json.loads(await response.aread())
        for answer in answers:
            # Of all that is asked here, only logs are a list.
            if isinstance(answer.get("result"), list):
                answer["result"] = self._lie(answer["result"])
        return httpx2.Response(200, json=answers)

    async def aclose(self) -> None:
        await self._real.aclose()


def _with_subject(logs: Logs) -> Logs:
    assert all(log["topics"][0] == "0x" + event_topic().hex() for log in logs)
    return [log | {"topics": [*log["topics"][:3], "0x" + "77" * 32]} for log in logs]


def _without_first(logs: Logs) -> Logs:
    return logs[1:]


@pytest.mark.parametrize(
    ("lie", "expected"), [(_with_subject, SourcesDisagree), (_without_first, EventGap)], ids=["forges", "hides"]
)
def test_source_that_lies_makes_the_reader_abstain(
    anvil: AnvilNode,
    lie: Lie,
    expected: type[Exception],
) -> None:
    async def scene(world: World, port: EthereumRegistry) -> None:
        calls = [await _lock(world, f"-{n}") for n in range(3)]
        await world.do(encode_call("multicall", tuple(calls)))
        async with RpcClient(anvil.plan.url, chain_id=port.site.chain_id, transport=_Liar(lie)) as rpc:
            honest = AgreeingReader([port, world.reader()])
            assert len(await honest.events(Sequence(1), 10)) == 3
            with pytest.raises(expected):
                await AgreeingReader([port, EthereumReader(rpc, port.site)]).events(Sequence(1), 10)

    _play(anvil, scene)


def test_tag_of_the_node_names_the_final_block(anvil: AnvilNode) -> None:
    async def scene(world: World, port: EthereumRegistry) -> None:
        reader = EthereumReader(port.rpc, dataclasses.replace(port.site, finality=FinalizedTag()))
        head = await reader.head()
        assert head.final_height <= head.height
        assert await reader.block_hash(head.final_height) == head.final_hash

    _play(anvil, scene)


def test_nobody_else_has_money_or_keys_in_the_node(anvil: AnvilNode) -> None:
    async def scene(world: World, port: EthereumRegistry) -> None:
        assert await port.rpc.call("eth_accounts") == []
        well_known = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266"
        assert await port.rpc.call("eth_getBalance", well_known, "latest") == "0x0"

    _play(anvil, scene)
