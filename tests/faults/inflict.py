"""Faults as context managers: inside the block the fault is there, after it everything is as it was before."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import resource
import signal
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx2
import pytest

from caimi.bundle.cid import RAW, cid_of
from caimi.bundle.unixfs import verify_block
from caimi.chains.ethereum.jsonrpc import RpcClient
from caimi.ports.content import StoreFull
from caimi.storage.content_client import HttpBlockStore
from tests.crash.devnet_fixture import Devnet, until
from tests.crash.lying_node import Lie, LyingNode

__all__ = [
    "anvil",
    "chain_clock_off",
    "clock_off",
    "dear",
    "disk_full",
    "dropped",
    "killed",
    "leader_killed",
    "leader_stopped",
    "node_that",
    "reorganised",
    "stopped",
    "torn",
]

_LEADER: Final = re.compile(r"^\w*view_leader_id(?:\{[^}]*\})? (\d+)", re.MULTILINE)
_UNLIMITED: Final = resource.RLIM_INFINITY
_DROP_S: Final = 0.2


async def anvil(devnet: Devnet, method: str, *parameters: Any) -> Any:
    """Ask the Ethereum node something that only a development node can do."""
    async with RpcClient(devnet.ledgers.ethereum_url, chain_id=devnet.ledgers.plan.chain_id) as rpc:
        return await rpc.call(method, *parameters)


# --- processes


@asynccontextmanager
async def killed(devnet: Devnet, *names: str) -> AsyncGenerator[None]:
    """SIGKILL; the supervisor starts them again."""
    pids = {name: devnet.process(name)["pid"] for name in names}
    for name in names:
        devnet.signal(name, signal.SIGKILL)
    yield
    for name in names:
        await devnet.until_up(name, but_not=pids[name])


@asynccontextmanager
async def stopped(devnet: Devnet, *names: str, seconds: float) -> AsyncGenerator[None]:
    """SIGSTOP for at least so long: connections to it stay open, and nothing comes back."""
    begin = time.monotonic()
    for name in names:
        devnet.signal(name, signal.SIGSTOP)
    try:
        yield
        await asyncio.sleep(max(0.0, begin + seconds - time.monotonic()))
    finally:
        for name in names:
            devnet.signal(name, signal.SIGCONT)


@asynccontextmanager
async def torn(devnet: Devnet) -> AsyncGenerator[None]:
    """The Ethereum node is killed in the middle of writing its state."""
    state = devnet.ledgers.plan.anvil(devnet.ledgers.folder).state
    pid = devnet.process("ethereum")["pid"]
    devnet.signal("ethereum", signal.SIGKILL)
    # Within the pause before the supervisor starts it again.
    content = state.read_bytes()
    state.write_bytes(content[: len(content) // 2])
    yield
    await devnet.until_up("ethereum", but_not=pid)


async def leader(devnet: Devnet) -> str:
    """The orderer that most orderers follow."""
    votes: Counter[int] = Counter()
    async with httpx2.AsyncClient(trust_env=False) as client:
        for node in devnet.ledgers.fabric.orderers:
            with contextlib.suppress(httpx2.HTTPError):
                text = (await client.get(f"http://127.0.0.1:{node.operations_port}/metrics")).text
                votes.update(int(number) for number in _LEADER.findall(text))
    assert votes, "no orderer names its leader"
    return f"fabric-orderer{votes.most_common(1)[0][0]}"


@asynccontextmanager
async def leader_killed(devnet: Devnet) -> AsyncGenerator[None]:
    """The leading orderer is killed."""
    async with killed(devnet, await leader(devnet)):
        yield


@asynccontextmanager
async def leader_stopped(devnet: Devnet, *, seconds: float) -> AsyncGenerator[None]:
    """The leading orderer is cut off."""
    async with stopped(devnet, await leader(devnet), seconds=seconds):
        yield


# --- disks and clocks


@asynccontextmanager
async def disk_full(devnet: Devnet, name: str, *, seconds: float) -> AsyncGenerator[None]:
    """No file of a process grows any more, however often it is started: it ends, or refuses what it cannot keep."""
    restarts = int(devnet.process(name)["restarts"])
    limiting = asyncio.create_task(_limit(devnet, name))
    try:
        yield
        await asyncio.sleep(seconds)
        if name == "content":
            await _refuses_blocks(devnet)
        else:
            await until(lambda: devnet.process(name)["restarts"] > restarts, what=f"{name} met its limit")
    finally:
        limiting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await limiting
        _set_limit(devnet, name, _UNLIMITED)


async def _limit(devnet: Devnet, name: str) -> None:
    while True:
        _set_limit(devnet, name, 0)
        await asyncio.sleep(0.02)


async def _refuses_blocks(devnet: Devnet) -> None:
    store = HttpBlockStore(devnet.network.content_url, token=devnet.ledgers.folder.token.read_text().strip())
    try:
        with pytest.raises(StoreFull):
            data = os.urandom(1 << 12)
            await store.put(verify_block(cid_of(RAW, data), data))
    finally:
        await store.close()


def _set_limit(devnet: Devnet, name: str, soft: int) -> None:
    pid = devnet.process(name)["pid"]
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard if soft == _UNLIMITED else soft, hard))


@asynccontextmanager
async def clock_off(devnet: Devnet, *names: str, by: int, seconds: float) -> AsyncGenerator[None]:
    """Processes of ours run with a clock that is `by` seconds ahead."""

    for name in names:
        await _restarted(devnet, name, clock_ahead_seconds=by)
    pids = {name: devnet.process(name)["pid"] for name in names}
    try:
        yield
        await asyncio.sleep(seconds)
        # A wrong clock ends nobody: it is told, and waited out.
        assert {name: devnet.process(name)["pid"] for name in names} == pids
    finally:
        for name in names:
            pid = await _restarted(devnet, name, clock_ahead_seconds=0)
            await devnet.until_up(name, but_not=pid)


async def _restarted(devnet: Devnet, name: str, *, clock_ahead_seconds: int) -> int:
    # Killed with another configuration, and started again; the number of the one that was killed.
    pid = int(devnet.process(name)["pid"])
    devnet.configure(name, lambda config: config.update(clock_ahead_seconds=clock_ahead_seconds))
    devnet.signal(name, signal.SIGKILL)
    await until(lambda: devnet.process(name)["pid"] not in (None, pid), what=f"{name} starts again")
    return pid


# --- the Ethereum node


@asynccontextmanager
async def dropped(devnet: Devnet, *, seconds: float) -> AsyncGenerator[None]:
    """For so long no transaction that waits there is ever included: it is forgotten."""
    dropping = asyncio.create_task(_again_and_again(devnet, "anvil_dropAllTransactions"))
    try:
        yield
        await asyncio.sleep(seconds)
    finally:
        dropping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await dropping


async def _again_and_again(devnet: Devnet, method: str) -> None:
    while True:
        await anvil(devnet, method)
        await asyncio.sleep(_DROP_S)


@asynccontextmanager
async def dear(devnet: Devnet, *, factor: int, blocks: int) -> AsyncGenerator[None]:
    """The base fee is so many times higher, block after block: what was signed before is underpriced."""
    before = int((await anvil(devnet, "eth_getBlockByNumber", "latest", False))["baseFeePerGas"], 16)
    for _ in range(blocks):
        await anvil(devnet, "anvil_setNextBlockBaseFeePerGas", hex(max(1, before) * factor))
        height = int(await anvil(devnet, "eth_blockNumber"), 16)
        await _until_height(devnet, height + 1)
    yield


@asynccontextmanager
async def reorganised(devnet: Devnet, *, times: int) -> AsyncGenerator[None]:
    """Again and again the last blocks that are not final are others."""
    for _ in range(times):
        await anvil(devnet, "anvil_reorg", devnet.ledgers.plan.finality_depth, [])
        await _until_height(devnet, int(await anvil(devnet, "eth_blockNumber"), 16) + 1)
    yield


@asynccontextmanager
async def chain_clock_off(devnet: Devnet, *, by: int) -> AsyncGenerator[None]:
    """The chain's clock is `by` seconds ahead."""
    await anvil(devnet, "evm_setTime", int(time.time()) + by)
    try:
        yield
    finally:
        await anvil(devnet, "evm_setTime", int(time.time()))


async def _until_height(devnet: Devnet, height: int) -> None:
    async def is_there() -> bool:
        return int(await anvil(devnet, "eth_blockNumber"), 16) >= height

    await until(is_there, what=f"block {height}")


@asynccontextmanager
async def node_that(devnet: Devnet, lie: Lie, *names: str, seconds: float) -> AsyncGenerator[None]:
    """Between processes and the Ethereum node stands one that changes answers for a while."""
    with LyingNode(devnet.ledgers.ethereum_url) as node:
        # From the start on: then it is asked for all events at once.
        node.lie = lie
        await _read_from(devnet, names, node.url)
        try:
            yield
            await until(lambda: node.told > 0, what="the node lied")
            await asyncio.sleep(seconds)
        finally:
            node.lie = Lie.NONE
            await _read_from(devnet, names, devnet.ledgers.ethereum_url)


async def _read_from(devnet: Devnet, names: Sequence[str], url: str) -> None:
    def through(config: dict[str, Any]) -> None:
        for lane in config["lanes"]:
            if lane["kind"] == "ethereum":
                lane["endpoints"] = [url] * len(lane["endpoints"])

    change: Callable[[dict[str, Any]], None] = through
    for name in names:
        devnet.configure(name, change)
    await asyncio.gather(*(devnet.restart(name) for name in names))
