"""Final events by number: cheap again, right after a reorganisation, and nothing from a node that lies."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from caimi.chains.ethereum.errors import AnswerTooLarge, ChainMoved, EventGap, MalformedAnswer, RpcFailure
from caimi.chains.ethereum.event_index import ScanLimits
from caimi.chains.ethereum.finality import DepthFinality, Finality, FinalizedTag
from caimi.chains.ethereum.jsonrpc import RpcLimits
from caimi.chains.ethereum.reader import EthereumReader
from caimi.ports.chain import ChainUnavailable, FinalEvent
from caimi.types.errors import OutOfRange
from caimi.types.primitives import Sequence
from caimi.wire.codec import encode_values
from tests.unit.ethereum.fake_node import FakeNode, RpcRefusal, item, site

Log = dict[str, Any]


def _read(
    node: FakeNode,
    scene: Callable[[EthereumReader], Awaitable[None]],
    *,
    finality: Finality | None = None,
    limits: ScanLimits | None = None,
    rpc_limits: RpcLimits | None = None,
) -> None:
    async def act() -> None:
        async with node.client(limits=rpc_limits) as rpc:
            await scene(EthereumReader(rpc, site(finality), limits=limits))

    asyncio.run(act())


def _node(*blocks: int) -> FakeNode:
    node = FakeNode()
    for events in blocks:
        node.mine(events)
    return node


def _numbers(events: tuple[FinalEvent, ...]) -> list[int]:
    assert [event.item for event in events] == [item(event.item.sequence) for event in events]
    return [event.item.sequence for event in events]


def test_events_carry_their_block() -> None:
    node = _node(0, 2, 0, 1)

    async def scene(reader: EthereumReader) -> None:
        events = await reader.events(Sequence(1), 10)
        assert _numbers(events) == [1, 2, 3]
        assert [event.height for event in events] == [2, 2, 4]
        assert ["0x" + event.block_hash.hex() for event in events] == [node.hash(2), node.hash(2), node.hash(4)]
        assert events[2].time == 1_800_000_000 + 48
        assert await reader.events(Sequence(2), 1) == events[1:2]
        assert await reader.events(Sequence(4), 1) == ()

    _read(node, scene)


@pytest.mark.parametrize(
    ("finality", "expected"), [(DepthFinality(0), 4), (DepthFinality(1), 3), (DepthFinality(9), 0), (FinalizedTag(), 2)]
)
def test_only_final_events_are_given(finality: Finality, expected: int) -> None:
    async def scene(reader: EthereumReader) -> None:
        assert _numbers(await reader.events(Sequence(1), 10)) == list(range(1, expected + 1))

    _read(_node(1, 1, 1, 1), scene, finality=finality)


def test_repeated_reading_asks_for_no_logs() -> None:
    node = _node(3, 2)

    async def scene(reader: EthereumReader) -> None:
        await reader.events(Sequence(1), 10)
        asked = node.asked.count("eth_getLogs")
        await reader.events(Sequence(2), 3)
        await reader.events(Sequence(6), 3)
        assert node.asked.count("eth_getLogs") == asked
        node.mine(1)
        assert _numbers(await reader.events(Sequence(1), 10)) == [1, 2, 3, 4, 5, 6]
        assert node.asked.count("eth_getLogs") == asked + 1

    _read(node, scene)


def test_old_events_are_read_again_from_their_blocks_only() -> None:
    node = _node(*([3, 0, 0, 0] * 10))
    asked: list[tuple[int, int]] = []
    logs = node.methods["eth_getLogs"]

    def record(parameters: list[Any]) -> Any:
        (question,) = parameters
        asked.append((int(question["fromBlock"], 16), int(question["toBlock"], 16)))
        return logs(parameters)

    node.methods["eth_getLogs"] = record

    async def scene(reader: EthereumReader) -> None:
        assert _numbers(await reader.events(Sequence(1), 4)) == [1, 2, 3, 4]
        asked.clear()
        assert _numbers(await reader.events(Sequence(5), 4)) == [5, 6, 7, 8]
        assert asked == [(5, 9)]

    _read(node, scene, limits=ScanLimits(kept=0, answer=4, blocks=7))


def test_long_ranges_are_scanned_in_chunks() -> None:
    node = _node(*([1] * 10))

    async def scene(reader: EthereumReader) -> None:
        assert _numbers(await reader.events(Sequence(1), 20)) == list(range(1, 11))

    _read(node, scene, limits=ScanLimits(blocks=3))
    assert node.asked.count("eth_getLogs") == 4


def test_answer_has_a_limit_of_its_own() -> None:
    async def scene(reader: EthereumReader) -> None:
        assert _numbers(await reader.events(Sequence(2), 10**9)) == [2, 3, 4]

    _read(_node(9), scene, limits=ScanLimits(answer=3))


@pytest.mark.parametrize("message", ["query returned more than 2 results", "block range too large", "limit exceeded"])
def test_range_that_a_node_finds_too_wide_is_halved(message: str) -> None:
    node = _node(1, 1, 1, 1, 1)
    logs = node.methods["eth_getLogs"]

    def narrow(parameters: list[Any]) -> Any:
        (question,) = parameters
        if int(question["toBlock"], 16) - int(question["fromBlock"], 16) > 1:
            raise RpcRefusal(-32000, message)
        return logs(parameters)

    node.methods["eth_getLogs"] = narrow

    async def scene(reader: EthereumReader) -> None:
        assert _numbers(await reader.events(Sequence(1), 20)) == [1, 2, 3, 4, 5]

    _read(node, scene)


def test_range_whose_answer_is_too_long_is_halved_down_to_one_block() -> None:
    async def scene(reader: EthereumReader) -> None:
        assert _numbers(await reader.events(Sequence(1), 20)) == [1, 2, 3, 4, 5]

    _read(_node(1, 1, 1, 1, 1), scene, rpc_limits=RpcLimits(answer_bytes=3_000))

    async def hopeless(reader: EthereumReader) -> None:
        with pytest.raises(AnswerTooLarge):
            await reader.events(Sequence(1), 20)

    _read(_node(40), hopeless, rpc_limits=RpcLimits(answer_bytes=3_000))


def test_other_failures_of_the_node_are_told() -> None:
    node = _node(1)

    def fail(parameters: list[Any]) -> Any:
        raise RpcRefusal(-32000, "database is broken")

    node.methods["eth_getLogs"] = fail

    async def scene(reader: EthereumReader) -> None:
        with pytest.raises(RpcFailure):
            await reader.events(Sequence(1), 1)

    _read(node, scene)


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_reorganisation_is_followed(depth: int) -> None:
    node = _node(1, 1, 1, 1)

    async def scene(reader: EthereumReader) -> None:
        before = await reader.events(Sequence(1), 10)
        node.reorganise(depth)
        for _ in range(depth + 1):
            node.mine(2)
        after = await reader.events(Sequence(1), 20)
        assert _numbers(after) == list(range(1, 4 - depth + 2 * (depth + 1) + 1))
        assert after[: 4 - depth] == before[: 4 - depth]
        assert after[4 - depth].block_hash != before[4 - depth].block_hash
        assert await EthereumReader(reader.rpc, reader.site).events(Sequence(1), 20) == after

    _read(node, scene, limits=ScanLimits(blocks=1))


def test_old_events_are_found_after_a_reorganisation() -> None:
    node = _node(1, 1, 1, 1)

    async def scene(reader: EthereumReader) -> None:
        await reader.events(Sequence(1), 10)
        node.reorganise(3)
        for events in (0, 3, 0, 2):
            node.mine(events)
        for number in range(1, 7):
            (event,) = await reader.events(Sequence(number), 1)
            assert (event.item.sequence, event.height) == (number, {1: 1, 5: 5, 6: 5}.get(number, 3))

    _read(node, scene, limits=ScanLimits(kept=0, answer=1, blocks=1))


def test_rejects_a_branch_that_changes_while_it_is_read() -> None:
    node = _node(1, 1)
    truth = node.methods["eth_getLogs"]

    def reorganised(parameters: list[Any]) -> Any:
        node.methods["eth_getLogs"] = truth
        node.reorganise(1)
        node.mine(1)
        return truth(parameters)

    async def scene(reader: EthereumReader) -> None:
        node.methods["eth_getLogs"] = reorganised
        with pytest.raises(ChainMoved):
            await reader.events(Sequence(1), 10)
        assert _numbers(await reader.events(Sequence(1), 10)) == [1, 2]

    _read(node, scene)


def test_rejects_a_hole_between_two_halves_of_a_range() -> None:
    node = _node(1, 1, 1, 1)
    logs = node.methods["eth_getLogs"]

    def narrow(parameters: list[Any]) -> Any:
        (question,) = parameters
        if int(question["toBlock"], 16) - int(question["fromBlock"], 16) > 1:
            raise RpcRefusal(-32000, "block range too large")
        return [log for log in logs(parameters) if log["blockNumber"] != "0x2"]

    node.methods["eth_getLogs"] = narrow

    async def scene(reader: EthereumReader) -> None:
        with pytest.raises(EventGap):
            await reader.events(Sequence(1), 10)
        # Nothing of the range was taken.
        node.methods["eth_getLogs"] = logs
        assert _numbers(await reader.events(Sequence(1), 10)) == [1, 2, 3, 4]

    _read(node, scene)


def test_chain_that_became_shorter_is_read_again() -> None:
    node = _node(1, 1, 1, 1)

    async def scene(reader: EthereumReader) -> None:
        await reader.events(Sequence(1), 10)
        node.reorganise(3)
        assert _numbers(await reader.events(Sequence(1), 10)) == [1]
        node.mine(1)
        assert _numbers(await reader.events(Sequence(1), 10)) == [1, 2]

    _read(node, scene)


def test_rejects_event_number_zero() -> None:
    async def scene(reader: EthereumReader) -> None:
        with pytest.raises(OutOfRange):
            await reader.events(Sequence(0), 1)

    _read(_node(1), scene)


def _change(place: int, **changes: Any) -> Callable[[list[Log]], list[Log]]:
    return lambda logs: [log | changes if n == place else log for n, log in enumerate(logs)]


def _topic(place: int, topic: str) -> Callable[[list[Log]], list[Log]]:
    def lie(logs: list[Log]) -> list[Log]:
        topics = list(logs[0]["topics"])
        topics[place] = topic
        return [logs[0] | {"topics": topics}, *logs[1:]]

    return lie


def _swapped_blocks(logs: list[Log]) -> list[Log]:
    # Events in order, but the first of them in the later block.
    place = ("blockNumber", "blockHash")
    first, last = ({name: log[name] for name in place} for log in (logs[0], logs[-1]))
    return [logs[0] | last, *logs[1:-1], logs[-1] | first]


def _long_body(logs: list[Log]) -> list[Log]:
    data = encode_values(("uint16", "Lane[]", "bytes"), (1, (), bytes(1_025)))
    return [logs[0] | {"data": "0x" + data.hex()}, *logs[1:]]


_ONES = "0x" + "11" * 32

_LIES: dict[str, tuple[Callable[[list[Log]], Any], type[Exception]]] = {
    "hole": (lambda logs: [logs[0], *logs[2:]], EventGap),
    "first missing": (lambda logs: logs[1:], EventGap),
    "repetition": (lambda logs: [logs[0], logs[0], *logs[1:]], EventGap),
    "order": (lambda logs: logs[::-1], EventGap),
    "another contract": (_change(0, address="0x" + "22" * 20), MalformedAnswer),
    "another event": (_topic(0, _ONES), MalformedAnswer),
    "number": (_topic(1, "0x" + "00" * 24 + "ff" * 8), EventGap),
    "number beyond 64 bits": (_topic(1, _ONES), MalformedAnswer),
    "kind beyond 16 bits": (_topic(2, _ONES), MalformedAnswer),
    "topic that is no hash": (_topic(3, "0x11"), MalformedAnswer),
    "too few topics": (lambda logs: [logs[0] | {"topics": logs[0]["topics"][:3]}], MalformedAnswer),
    "too many topics": (lambda logs: [logs[0] | {"topics": logs[0]["topics"] + [_ONES]}], MalformedAnswer),
    "removed": (_change(0, removed=True), MalformedAnswer),
    "block out of range": (_change(2, blockNumber="0x99"), MalformedAnswer),
    "later block first": (_swapped_blocks, EventGap),
    "long body": (_long_body, MalformedAnswer),
    "another branch": (_change(0, blockHash=_ONES), ChainMoved),
    "block as a number": (_change(0, blockNumber=1), MalformedAnswer),
    "trailing byte": (lambda logs: [logs[0] | {"data": logs[0]["data"] + "00"}], MalformedAnswer),
    "cut data": (lambda logs: [logs[0] | {"data": logs[0]["data"][:-2]}], MalformedAnswer),
    "odd data": (lambda logs: [logs[0] | {"data": logs[0]["data"][:-1]}], MalformedAnswer),
    "long data": (lambda logs: [logs[0] | {"data": "0x" + "00" * 20_000}], MalformedAnswer),
    "no list": (lambda logs: {"logs": logs}, MalformedAnswer),
    "no log": (lambda logs: [None], MalformedAnswer),
}


@pytest.mark.parametrize(("lie", "expected"), _LIES.values(), ids=_LIES)
def test_rejects_a_lying_node_and_recovers(lie: Callable[[list[Log]], Any], expected: type[Exception]) -> None:
    node = _node(2, 1)
    truth = node.methods["eth_getLogs"]

    async def scene(reader: EthereumReader) -> None:
        node.methods["eth_getLogs"] = lambda parameters: lie(truth(parameters))
        for _ in range(2):
            with pytest.raises(expected) as caught:
                await reader.events(Sequence(1), 10)
            assert type(caught.value) is expected
        node.methods["eth_getLogs"] = truth
        assert _numbers(await reader.events(Sequence(1), 10)) == [1, 2, 3]

    _read(node, scene)


def test_a_lie_that_nothing_here_can_tell_is_kept_until_it_is_to_be_forgotten() -> None:
    node = _node(1, 0, 2, 1)
    truth = node.methods["eth_getLogs"]

    def lie(parameters: list[Any]) -> list[Log]:
        logs = truth(parameters)
        return [*logs[:2], logs[2] | {"topics": [*logs[2]["topics"][:3], _ONES]}, *logs[3:]]

    async def scene(reader: EthereumReader) -> None:
        node.methods["eth_getLogs"] = lie
        told = await reader.events(Sequence(1), 10)
        assert told[2].item != item(3)
        node.methods["eth_getLogs"] = truth
        assert await reader.events(Sequence(1), 10) == told
        await reader.forget(Sequence(4))
        node.mine(1)
        assert len(await reader.events(Sequence(1), 10)) == 5
        await reader.forget(Sequence(3))
        assert _numbers(await reader.events(Sequence(1), 10)) == [1, 2, 3, 4, 5]

    _read(node, scene)


def test_rejects_events_that_vanish_from_where_they_were() -> None:
    node = _node(1, 1, 1)

    async def scene(reader: EthereumReader) -> None:
        assert _numbers(await reader.events(Sequence(1), 1)) == [1]
        node.methods["eth_getLogs"] = lambda _: []
        with pytest.raises(EventGap):
            await reader.events(Sequence(2), 1)

    _read(node, scene, limits=ScanLimits(kept=0, answer=1))


_BLOCK_LIES: dict[str, tuple[Callable[[Log], Any], type[Exception]]] = {
    "no block": (lambda block: None, ChainUnavailable),
    "another number": (lambda block: block | {"number": "0x0"}, MalformedAnswer),
    "no hash": (lambda block: block | {"hash": "0x12"}, MalformedAnswer),
    "no time": (lambda block: block | {"timestamp": "0x" + "f" * 17}, MalformedAnswer),
    "no object": (lambda block: [], MalformedAnswer),
}


@pytest.mark.parametrize(("lie", "expected"), _BLOCK_LIES.values(), ids=_BLOCK_LIES)
def test_rejects_lies_about_blocks(lie: Callable[[Log], Any], expected: type[Exception]) -> None:
    node = _node(1, 1)
    truth = node.methods["eth_getBlockByNumber"]
    node.methods["eth_getBlockByNumber"] = lambda asked: truth(asked) if asked[0] == "latest" else lie(truth(asked))

    async def scene(reader: EthereumReader) -> None:
        with pytest.raises(expected):
            await reader.events(Sequence(1), 10)

    _read(node, scene, finality=DepthFinality(1))


def test_rejects_a_final_block_above_the_tip() -> None:
    node = _node(1, 1)
    truth = node.methods["eth_getBlockByNumber"]
    node.methods["eth_getBlockByNumber"] = lambda asked: (
        truth(asked) if asked[0] != "finalized" else truth(["latest", False]) | {"number": "0x9"}
    )

    async def scene(reader: EthereumReader) -> None:
        with pytest.raises(MalformedAnswer):
            await reader.head()

    _read(node, scene, finality=FinalizedTag())


def test_rejects_a_negative_depth() -> None:
    with pytest.raises(ValueError, match="0 or more"):
        DepthFinality(-1)


def test_a_poll_without_a_new_block_is_one_question_and_a_new_block_costs_few() -> None:
    node = _node(0, 2, 0, 1)

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

    _read(node, scene, finality=DepthFinality(1))


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
    node = _node(1, 1)

    async def scene(reader: EthereumReader) -> None:
        await reader.events(Sequence(1), 9)
        node.mine(2)
        _lost(node)
        # What is at its height now is not taken for its events.
        with pytest.raises(RpcFailure, match="unknown block"):
            await reader.events(Sequence(1), 9)
        assert _numbers(await reader.events(Sequence(1), 9)) == [1, 2, 3]

    _read(node, scene)


def test_a_block_said_to_be_empty_on_a_lost_branch_is_read_again() -> None:
    node = _node(1, 1)
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
        assert _numbers(await reader.events(Sequence(1), 9)) == [1, 2]
        assert _numbers(await reader.events(Sequence(1), 9)) == [1, 2, 3]

    _read(node, scene)


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [("blockNumber", hex(2), MalformedAnswer), ("blockHash", "0x" + "11" * 32, ChainMoved)],
)
def test_rejects_logs_of_another_block_than_asked_for(field: str, value: str, error: type[Exception]) -> None:
    node = _node(1, 1)

    async def scene(reader: EthereumReader) -> None:
        await reader.events(Sequence(1), 9)
        node.mine(1)
        true = node.blocks[3][0]
        node.blocks[3] = [true | {field: value}]
        with pytest.raises(error):
            await reader.events(Sequence(1), 9)
        node.blocks[3] = [true]
        assert _numbers(await reader.events(Sequence(1), 9)) == [1, 2, 3]

    _read(node, scene)


def test_what_is_final_by_its_tag_is_asked_for_each_time() -> None:
    # The tag may move while the latest block stands.
    node = _node(0, 1, 0, 0)

    async def scene(reader: EthereumReader) -> None:
        assert (await reader.head()).final_height == 2
        node.methods["eth_getBlockByNumber"] = lambda parameters: node._block(
            [{"finalized": hex(3)}.get(parameters[0], parameters[0]), parameters[1]]
        )
        assert (await reader.head()).final_height == 3

    _read(node, scene, finality=FinalizedTag())


def test_a_branch_of_equal_height_is_another_tip() -> None:
    node = _node(0, 1, 1, 0, 0)

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
        assert _numbers(first) == [1, 2] and _numbers(second) == [1]
        assert first[0].block_hash != second[0].block_hash

    _read(node, scene, finality=DepthFinality(2))


def test_a_new_final_block_of_another_branch_is_no_child_of_the_known_one() -> None:
    node = _node(0, 1, 1, 0)

    async def scene(reader: EthereumReader) -> None:
        assert _numbers(await reader.events(Sequence(1), 10)) == [1, 2]
        node.reorganise(3)
        for events in (0, 1, 0, 0):
            node.mine(events)
        events = await reader.events(Sequence(1), 10)
        assert [(event.item.sequence, event.height) for event in events] == [(1, 3)]

    _read(node, scene, finality=DepthFinality(1))
