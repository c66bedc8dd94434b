"""A reader of a node in memory, and what it is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from caimi.chains.ethereum.event_index import ScanLimits
from caimi.chains.ethereum.finality import Finality
from caimi.chains.ethereum.jsonrpc import RpcLimits
from caimi.chains.ethereum.reader import EthereumReader
from caimi.ports.chain import FinalEvent
from tests.unit.ethereum.fake_node import FakeNode, item, site

__all__ = ["node_of", "numbers", "read"]


def read(
    node: FakeNode,
    scene: Callable[[EthereumReader], Awaitable[None]],
    *,
    finality: Finality | None = None,
    limits: ScanLimits | None = None,
    rpc_limits: RpcLimits | None = None,
) -> None:
    """Play a scene on a reader of the node."""

    async def act() -> None:
        async with node.client(limits=rpc_limits) as rpc:
            await scene(EthereumReader(rpc, site(finality), limits=limits))

    asyncio.run(act())


def node_of(*blocks: int) -> FakeNode:
    """A node with so many events in each block."""
    node = FakeNode()
    for events in blocks:
        node.mine(events)
    return node


def numbers(events: tuple[FinalEvent, ...]) -> list[int]:
    """The numbers of events that are those of the node."""
    assert [event.item for event in events] == [item(event.item.sequence) for event in events]
    return [event.item.sequence for event in events]
