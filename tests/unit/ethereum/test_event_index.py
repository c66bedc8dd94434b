"""Final events by number: cheap again, right after a reorganisation, and nothing from a node that lies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from caimi.chains.ethereum.errors import AnswerTooLarge, ChainMoved, EventGap, MalformedAnswer, RpcFailure
from caimi.chains.ethereum.event_index import ScanLimits
from caimi.chains.ethereum.finality import DepthFinality, Finality, FinalizedTag
from caimi.chains.ethereum.jsonrpc import RpcLimits
from caimi.chains.ethereum.reader import EthereumReader
from caimi.ports.chain import ChainUnavailable
from caimi.types.errors import OutOfRange
from caimi.types.primitives import Sequence
from caimi.wire.codec import encode_values
from tests.unit.ethereum.event_scene import node_of, numbers, read
from tests.unit.ethereum.fake_node import RpcRefusal, item

Log = dict[str, Any]


def test_events_carry_their_block() -> None:
    node = node_of(0, 2, 0, 1)

    async def scene(reader: EthereumReader) -> None:
        events = await reader.events(Sequence(1), 10)
        assert numbers(events) == [1, 2, 3]
        assert [event.height for event in events] == [2, 2, 4]
        assert ["0x" + event.block_hash.hex() for event in events] == [node.hash(2), node.hash(2), node.hash(4)]
        assert events[2].time == 1_800_000_000 + 48
        assert await reader.events(Sequence(2), 1) == events[1:2]
        assert await reader.events(Sequence(4), 1) == ()

    read(node, scene)


@pytest.mark.parametrize(
    ("finality", "expected"), [(DepthFinality(0), 4), (DepthFinality(1), 3), (DepthFinality(9), 0), (FinalizedTag(), 2)]
)
def test_only_final_events_are_given(finality: Finality, expected: int) -> None:
    async def scene(reader: EthereumReader) -> None:
        assert numbers(await reader.events(Sequence(1), 10)) == list(range(1, expected + 1))

    read(node_of(1, 1, 1, 1), scene, finality=finality)


def test_repeated_reading_asks_for_no_logs() -> None:
    node = node_of(3, 2)

    async def scene(reader: EthereumReader) -> None:
        await reader.events(Sequence(1), 10)
        asked = node.asked.count("eth_getLogs")
        await reader.events(Sequence(2), 3)
        await reader.events(Sequence(6), 3)
        assert node.asked.count("eth_getLogs") == asked
        node.mine(1)
        assert numbers(await reader.events(Sequence(1), 10)) == [1, 2, 3, 4, 5, 6]
        assert node.asked.count("eth_getLogs") == asked + 1

    read(node, scene)


def test_old_events_are_read_again_from_their_blocks_only() -> None:
    node = node_of(*([3, 0, 0, 0] * 10))
    asked: list[tuple[int, int]] = []
    logs = node.methods["eth_getLogs"]

    def record(parameters: list[Any]) -> Any:
        (question,) = parameters
        asked.append((int(question["fromBlock"], 16), int(question["toBlock"], 16)))
        return logs(parameters)

    node.methods["eth_getLogs"] = record

    async def scene(reader: EthereumReader) -> None:
        assert numbers(await reader.events(Sequence(1), 4)) == [1, 2, 3, 4]
        asked.clear()
        assert numbers(await reader.events(Sequence(5), 4)) == [5, 6, 7, 8]
        assert asked == [(5, 9)]

    read(node, scene, limits=ScanLimits(kept=0, answer=4, blocks=7))


def test_long_ranges_are_scanned_in_chunks() -> None:
    node = node_of(*([1] * 10))

    async def scene(reader: EthereumReader) -> None:
        assert numbers(await reader.events(Sequence(1), 20)) == list(range(1, 11))

    read(node, scene, limits=ScanLimits(blocks=3))
    assert node.asked.count("eth_getLogs") == 4


def test_answer_has_a_limit_of_its_own() -> None:
    async def scene(reader: EthereumReader) -> None:
        assert numbers(await reader.events(Sequence(2), 10**9)) == [2, 3, 4]

    read(node_of(9), scene, limits=ScanLimits(answer=3))


@pytest.mark.parametrize("message", ["query returned more than 2 results", "block range too large", "limit exceeded"])
def test_range_that_a_node_finds_too_wide_is_halved(message: str) -> None:
    node = node_of(1, 1, 1, 1, 1)
    logs = node.methods["eth_getLogs"]

    def narrow(parameters: list[Any]) -> Any:
        (question,) = parameters
        if int(question["toBlock"], 16) - int(question["fromBlock"], 16) > 1:
            raise RpcRefusal(-32000, message)
        return logs(parameters)

    node.methods["eth_getLogs"] = narrow

    async def scene(reader: EthereumReader) -> None:
        assert numbers(await reader.events(Sequence(1), 20)) == [1, 2, 3, 4, 5]

    read(node, scene)


def test_range_whose_answer_is_too_long_is_halved_down_to_one_block() -> None:
    async def scene(reader: EthereumReader) -> None:
        assert numbers(await reader.events(Sequence(1), 20)) == [1, 2, 3, 4, 5]

    read(node_of(1, 1, 1, 1, 1), scene, rpc_limits=RpcLimits(answer_bytes=3_000))

    async def hopeless(reader: EthereumReader) -> None:
        with pytest.raises(AnswerTooLarge):
            await reader.events(Sequence(1), 20)

    read(node_of(40), hopeless, rpc_limits=RpcLimits(answer_bytes=3_000))


def test_other_failures_of_the_node_are_told() -> None:
    node = node_of(1)

    def fail(parameters: list[Any]) -> Any:
        raise RpcRefusal(-32000, "database is broken")

    node.methods["eth_getLogs"] = fail

    async def scene(reader: EthereumReader) -> None:
        with pytest.raises(RpcFailure):
            await reader.events(Sequence(1), 1)

    read(node, scene)


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_reorganisation_is_followed(depth: int) -> None:
    node = node_of(1, 1, 1, 1)

    async def scene(reader: EthereumReader) -> None:
        before = await reader.events(Sequence(1), 10)
        node.reorganise(depth)
        for _ in range(depth + 1):
            node.mine(2)
        after = await reader.events(Sequence(1), 20)
        assert numbers(after) == list(range(1, 4 - depth + 2 * (depth + 1) + 1))
        assert after[: 4 - depth] == before[: 4 - depth]
        assert after[4 - depth].block_hash != before[4 - depth].block_hash
        assert await EthereumReader(reader.rpc, reader.site).events(Sequence(1), 20) == after

    read(node, scene, limits=ScanLimits(blocks=1))


def test_old_events_are_found_after_a_reorganisation() -> None:
    node = node_of(1, 1, 1, 1)

    async def scene(reader: EthereumReader) -> None:
        await reader.events(Sequence(1), 10)
        node.reorganise(3)
        for events in (0, 3, 0, 2):
            node.mine(events)
        for number in range(1, 7):
            (event,) = await reader.events(Sequence(number), 1)
            assert (event.item.sequence, event.height) == (number, {1: 1, 5: 5, 6: 5}.get(number, 3))

    read(node, scene, limits=ScanLimits(kept=0, answer=1, blocks=1))


def test_rejects_a_branch_that_changes_while_it_is_read() -> None:
    node = node_of(1, 1)
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
        assert numbers(await reader.events(Sequence(1), 10)) == [1, 2]

    read(node, scene)


def test_rejects_a_hole_between_two_halves_of_a_range() -> None:
    node = node_of(1, 1, 1, 1)
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
        assert numbers(await reader.events(Sequence(1), 10)) == [1, 2, 3, 4]

    read(node, scene)


def test_chain_that_became_shorter_is_read_again() -> None:
    node = node_of(1, 1, 1, 1)

    async def scene(reader: EthereumReader) -> None:
        await reader.events(Sequence(1), 10)
        node.reorganise(3)
        assert numbers(await reader.events(Sequence(1), 10)) == [1]
        node.mine(1)
        assert numbers(await reader.events(Sequence(1), 10)) == [1, 2]

    read(node, scene)


def test_rejects_event_number_zero() -> None:
    async def scene(reader: EthereumReader) -> None:
        with pytest.raises(OutOfRange):
            await reader.events(Sequence(0), 1)

    read(node_of(1), scene)


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
    node = node_of(2, 1)
    truth = node.methods["eth_getLogs"]

    async def scene(reader: EthereumReader) -> None:
        node.methods["eth_getLogs"] = lambda parameters: lie(truth(parameters))
        for _ in range(2):
            with pytest.raises(expected) as caught:
                await reader.events(Sequence(1), 10)
            assert type(caught.value) is expected
        node.methods["eth_getLogs"] = truth
        assert numbers(await reader.events(Sequence(1), 10)) == [1, 2, 3]

    read(node, scene)


def test_a_lie_that_nothing_here_can_tell_is_kept_until_it_is_to_be_forgotten() -> None:
    node = node_of(1, 0, 2, 1)
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
        assert numbers(await reader.events(Sequence(1), 10)) == [1, 2, 3, 4, 5]

    read(node, scene)


def test_rejects_events_that_vanish_from_where_they_were() -> None:
    node = node_of(1, 1, 1)

    async def scene(reader: EthereumReader) -> None:
        assert numbers(await reader.events(Sequence(1), 1)) == [1]
        node.methods["eth_getLogs"] = lambda _: []
        with pytest.raises(EventGap):
            await reader.events(Sequence(2), 1)

    read(node, scene, limits=ScanLimits(kept=0, answer=1))


_BLOCK_LIES: dict[str, tuple[Callable[[Log], Any], type[Exception]]] = {
    "no block": (lambda block: None, ChainUnavailable),
    "another number": (lambda block: block | {"number": "0x0"}, MalformedAnswer),
    "no hash": (lambda block: block | {"hash": "0x12"}, MalformedAnswer),
    "no time": (lambda block: block | {"timestamp": "0x" + "f" * 17}, MalformedAnswer),
    "no object": (lambda block: [], MalformedAnswer),
}


@pytest.mark.parametrize(("lie", "expected"), _BLOCK_LIES.values(), ids=_BLOCK_LIES)
def test_rejects_lies_about_blocks(lie: Callable[[Log], Any], expected: type[Exception]) -> None:
    node = node_of(1, 1)
    truth = node.methods["eth_getBlockByNumber"]
    node.methods["eth_getBlockByNumber"] = lambda asked: truth(asked) if asked[0] == "latest" else lie(truth(asked))

    async def scene(reader: EthereumReader) -> None:
        with pytest.raises(expected):
            await reader.events(Sequence(1), 10)

    read(node, scene, finality=DepthFinality(1))


def test_rejects_a_final_block_above_the_tip() -> None:
    node = node_of(1, 1)
    truth = node.methods["eth_getBlockByNumber"]
    node.methods["eth_getBlockByNumber"] = lambda asked: (
        truth(asked) if asked[0] != "finalized" else truth(["latest", False]) | {"number": "0x9"}
    )

    async def scene(reader: EthereumReader) -> None:
        with pytest.raises(MalformedAnswer):
            await reader.head()

    read(node, scene, finality=FinalizedTag())


def test_rejects_a_negative_depth() -> None:
    with pytest.raises(ValueError, match="0 or more"):
        DepthFinality(-1)
