"""What a reader asks when it looks again and again, and which branch it believes meanwhile."""

from __future__ import annotations

from typing import Any

import pytest

from caimi.chains.ethereum.errors import ChainMoved, MalformedAnswer, RpcFailure
from caimi.chains.ethereum.finality import DepthFinality, FinalizedTag
from caimi.chains.ethereum.reader import EthereumReader
from caimi.types.primitives import Sequence
from tests.unit.ethereum.event_scene import node_of, numbers, read
from tests.unit.ethereum.fake_node import FakeNode, RpcRefusal

Log = dict[str, Any]


def test_a_poll_without_a_new_block_is_one_question_and_a_new_block_costs_few() -> None:
    node = node_of(0, 2, 0, 1)

    async def scene(reader: EthereumReader) -> None:
        await reader.head()
        await reader.events(Sequence(1), 10)
        before = node.posts
        head = await reader.head()
        assert await reader.events(Sequence(4), 10) == ()
        # One for the latest block each time; the final one follows from it.
        assert node.posts - before == 2
        node.mine(1)
        before = node.posts
        found = await reader.head()
        assert (found.height, found.final_height) == (head.height + 1, head.final_height + 1)
        await reader.events(Sequence(1), 10)
        # Latest and final; latest again; the final block's logs. Its parent shows that it is on the known branch.
        assert node.posts - before == 4

    read(node, scene, finality=DepthFinality(1))


def _lost(node: FakeNode) -> None:
    # The newest block is on another branch as soon as its logs are asked for.
    logs = node.methods["eth_getLogs"]

    def answer(parameters: list[Any]) -> Any:
        node.methods["eth_getLogs"] = logs
        node.reorganise(1)
        node.mine(1)
        return logs(parameters)

    node.methods["eth_getLogs"] = answer


def test_events_of_one_block_are_asked_for_by_its_hash() -> None:
    node = node_of(1, 1)

    async def scene(reader: EthereumReader) -> None:
        await reader.events(Sequence(1), 9)
        node.mine(2)
        _lost(node)
        # What is at its height now is not taken for its events.
        with pytest.raises(RpcFailure, match="unknown block"):
            await reader.events(Sequence(1), 9)
        assert numbers(await reader.events(Sequence(1), 9)) == [1, 2, 3]

    read(node, scene)


def test_a_block_said_to_be_empty_on_a_lost_branch_is_read_again() -> None:
    node = node_of(1, 1)
    logs = node.methods["eth_getLogs"]

    def forgetful(parameters: list[Any]) -> Any:
        try:
            return logs(parameters)
        except RpcRefusal:
            return []

    async def scene(reader: EthereumReader) -> None:
        await reader.events(Sequence(1), 9)
        node.mine(1)
        node.methods["eth_getLogs"] = forgetful
        _lost(node)
        assert numbers(await reader.events(Sequence(1), 9)) == [1, 2]
        assert numbers(await reader.events(Sequence(1), 9)) == [1, 2, 3]

    read(node, scene)


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [("blockNumber", hex(2), MalformedAnswer), ("blockHash", "0x" + "11" * 32, ChainMoved)],
)
def test_rejects_logs_of_another_block_than_asked_for(field: str, value: str, error: type[Exception]) -> None:
    node = node_of(1, 1)

    async def scene(reader: EthereumReader) -> None:
        await reader.events(Sequence(1), 9)
        node.mine(1)
        true = node.blocks[3][0]
        node.blocks[3] = [true | {field: value}]
        with pytest.raises(error):
            await reader.events(Sequence(1), 9)
        node.blocks[3] = [true]
        assert numbers(await reader.events(Sequence(1), 9)) == [1, 2, 3]

    read(node, scene)


def test_what_is_final_by_its_tag_is_asked_for_each_time() -> None:
    # The tag may move while the latest block stands.
    node = node_of(0, 1, 0, 0)

    async def scene(reader: EthereumReader) -> None:
        assert (await reader.head()).final_height == 2
        node.methods["eth_getBlockByNumber"] = lambda parameters: node._block(
            [{"finalized": hex(3)}.get(parameters[0], parameters[0]), parameters[1]]
        )
        assert (await reader.head()).final_height == 3

    read(node, scene, finality=FinalizedTag())


def test_a_branch_of_equal_height_is_another_tip() -> None:
    node = node_of(0, 1, 1, 0, 0)

    async def scene(reader: EthereumReader) -> None:
        first = await reader.events(Sequence(1), 10)
        head = await reader.head()
        node.reorganise(4)
        for events in (1, 0, 1, 0):
            node.mine(events)
        again = await reader.head()
        assert (again.height, again.final_height) == (head.height, head.final_height)
        assert again.final_hash != head.final_hash
        second = await reader.events(Sequence(1), 10)
        assert numbers(first) == [1, 2] and numbers(second) == [1]
        assert first[0].block_hash != second[0].block_hash

    read(node, scene, finality=DepthFinality(2))


def test_a_new_final_block_of_another_branch_is_no_child_of_the_known_one() -> None:
    node = node_of(0, 1, 1, 0)

    async def scene(reader: EthereumReader) -> None:
        assert numbers(await reader.events(Sequence(1), 10)) == [1, 2]
        node.reorganise(3)
        for events in (0, 1, 0, 0):
            node.mine(events)
        events = await reader.events(Sequence(1), 10)
        assert [(event.item.sequence, event.height) for event in events] == [(1, 3)]

    read(node, scene, finality=DepthFinality(1))
