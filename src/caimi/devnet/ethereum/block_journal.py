"""Keeps what Anvil's blocks were made of, so that a killed node is brought back to its last block.

Anvil keeps its chain in memory and writes all of it each time, which takes longer the longer the chain is. So it writes
seldom, and what it made since then is journaled here: the same transactions at the same times give the same blocks, to
the hash. Only a block that was made since the last look is lost, and the finality depth covers that.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import time
from collections import deque
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, cast

from caimi.devnet.ethereum.anvil import HOST, AnvilPlan, replaying_arguments
from caimi.devnet.ethereum.node_rpc import NodeFailed, NodeRpc

__all__ = ["BlockJournal", "JournaledBlock", "read_journal", "replay", "write_genesis"]

_POLL_S: Final = 0.1
_KEPT_STATES: Final = 6
"""How many intervals between two states are journaled: a torn state and two older copies of it, and as much again."""
_LOOK_BACK: Final = 64
_AT_ONCE: Final = 64
_START_S: Final = 30.0
_STOP_S: Final = 60.0
_WAIT_S: Final = 0.02
# Ends with its supervisor, however that ends; only when it is told to it writes what it has.
_RUN: Final = (
    '"$@" </dev/null & node=$!; read -r word; '
    'if [ "$word" = keep ]; then kill "$node"; else kill -9 "$node"; fi; wait "$node"'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class JournaledBlock:
    """What makes a block again."""

    number: int
    hash: str
    parent: str
    time: int
    """Unix seconds."""
    base_fee: int
    """Wei per gas."""
    raw: tuple[str, ...]
    """Signed transactions in order, hexadecimal."""


class BlockJournal:
    """Of one Anvil, in the supervisor's process."""

    def __init__(self, plan: AnvilPlan) -> None:
        self._plan = plan
        self._path = _path(plan)
        self._blocks = deque(read_journal(plan))
        self._written = 0
        # A kill or a full disk leaves half a line, behind which nothing would be read.
        self._is_whole = False

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Journal each block while the block runs."""
        following = asyncio.create_task(self._run())
        try:
            yield
        finally:
            following.cancel()

    async def _run(self) -> None:
        with NodeRpc(self._plan.url) as node:
            while True:
                # Neither a node that is down nor a full disk is a reason to stop looking.
                with contextlib.suppress(NodeFailed, OSError):
                    await asyncio.to_thread(self.look, node)
                await asyncio.sleep(_POLL_S)

    def look(self, node: NodeRpc) -> None:
        """Journal the blocks that are new.

        Raises:
            NodeFailed: The node does not answer.
            OSError: There is no room.
        """
        tip = int(node.ask("eth_blockNumber"), 16)
        self._return_to_branch(node, tip)
        first = self._blocks[-1].number + 1 if self._blocks else max(1, tip - _AT_ONCE + 1)
        for number in range(first, tip + 1):
            block = _ask_block(node, number)
            if self._blocks and block.parent != self._blocks[-1].hash:
                return
            self._append(block)
        self._trim()

    def _return_to_branch(self, node: NodeRpc, tip: int) -> None:
        # A later line of the same number takes the place of an earlier one and of all above it.
        for _ in range(_LOOK_BACK):
            newest = self._blocks[-1] if self._blocks else None
            if newest is None:
                return
            if newest.number <= tip:
                there = node.ask("eth_getBlockByNumber", hex(newest.number), False)
                if there is not None and there["hash"] == newest.hash:
                    return
            self._blocks.pop()
        self._blocks.clear()

    def _append(self, block: JournaledBlock) -> None:
        if not self._is_whole:
            self._rewrite()
        self._is_whole = False
        with self._path.open("a", encoding="ascii") as file:
            file.write(_line(block))
        self._is_whole = True
        self._blocks.append(block)
        self._written += 1

    def _trim(self) -> None:
        oldest = self._blocks[-1].time - _KEPT_STATES * self._plan.state_interval_s if self._blocks else 0
        while self._blocks and self._blocks[0].time < oldest:
            self._blocks.popleft()
        if self._written > 2 * len(self._blocks) + _AT_ONCE:
            self._rewrite()

    def _rewrite(self) -> None:
        fresh = self._path.with_suffix(".new")
        fresh.write_text("".join(map(_line, self._blocks)), encoding="ascii")
        fresh.replace(self._path)
        self._written, self._is_whole = len(self._blocks), True


def read_journal(plan: AnvilPlan) -> list[JournaledBlock]:
    """The blocks that are known, each the child of the one before; empty if there is no journal.

    A line that was torn by a kill ends it.
    """
    blocks: list[JournaledBlock] = []
    try:
        lines = _path(plan).read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return blocks
    for line in lines:
        try:
            fields = cast("dict[str, Any]", json.loads(line))
            fields["raw"] = tuple(fields["raw"])
            block = JournaledBlock(**fields)
            while blocks and blocks[-1].number >= block.number:
                blocks.pop()
        except (ValueError, TypeError, KeyError):
            break
        if blocks and blocks[-1].hash != block.parent:
            blocks.clear()
        blocks.append(block)
    return blocks


def replay(plan: AnvilPlan, blocks: Sequence[JournaledBlock], *, anvil: Path, log: Path, port: int) -> int:
    """Bring the state that lies in the folder forward by the blocks that follow it; how many it took.

    Where a block comes out otherwise than it was, because somebody had changed the node by hand, those before it count.

    Arguments:
        port: a free one, for a node of our own that nobody else knows.
    """
    for _ in range(2):
        with _private_node(plan, anvil=anvil, log=log, port=port) as node:
            made = _make_again(node.rpc, blocks)
            node.is_kept = made.is_same and bool(made.blocks)
        if made.is_same:
            return len(made.blocks)
        # The last one is another: the whole again without it.
        blocks = made.blocks
    return 0


def write_genesis(plan: AnvilPlan, *, anvil: Path, log: Path, port: int) -> None:
    """Have Anvil make block 0 of the first state, and write it: without it each start would make another one."""
    with _private_node(plan, anvil=anvil, log=log, port=port) as node:
        node.is_kept = True


@dataclass(frozen=True, slots=True)
class _Made:
    blocks: tuple[JournaledBlock, ...]
    """Those that came out the same."""
    is_same: bool
    """Whether no other one was made."""


def _make_again(node: NodeRpc, blocks: Sequence[JournaledBlock]) -> _Made:
    latest = node.ask("eth_getBlockByNumber", "latest", False)
    newest, done = str(latest["hash"]), list[JournaledBlock]()
    # It takes the time of its start for that of the last block.
    node.ask("evm_setTime", int(latest["timestamp"], 16))
    for block in blocks:
        if block.number <= int(latest["number"], 16):
            continue
        if block.parent != newest:
            break
        try:
            node.ask_all(
                [
                    ("evm_setNextBlockTimestamp", (block.time,)),
                    ("anvil_setNextBlockBaseFeePerGas", (hex(block.base_fee),)),
                    *(("eth_sendRawTransaction", (raw,)) for raw in block.raw),
                    ("evm_mine", ()),
                ]
            )
            newest = str(node.ask("eth_getBlockByNumber", "latest", False)["hash"])
        except NodeFailed:
            newest = ""
        if newest != block.hash:
            return _Made(tuple(done), is_same=False)
        done.append(block)
    return _Made(tuple(done), is_same=True)


@dataclass(slots=True)
class _PrivateNode:
    rpc: NodeRpc
    is_kept: bool = False
    """Whether its state is written at the end."""


@contextmanager
def _private_node(plan: AnvilPlan, *, anvil: Path, log: Path, port: int) -> Generator[_PrivateNode]:
    words = replaying_arguments(plan, port=port)
    with (
        log.open("ab") as output,
        subprocess.Popen(
            ["/bin/sh", "-c", _RUN, "sh", str(anvil), *words],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            cwd=plan.folder,
            start_new_session=True,
        ) as process,
        NodeRpc(f"http://{HOST}:{port}") as rpc,
    ):
        node = _PrivateNode(rpc)
        try:
            _await_answer(process, rpc)
            yield node
        finally:
            _end(process, b"keep\n" if node.is_kept else b"")


def _end(process: subprocess.Popen[bytes], word: bytes) -> None:
    try:
        process.communicate(word, timeout=_STOP_S)
    except subprocess.TimeoutExpired:
        # Whoever waits for it starts the node again: that must not hang on a second one.
        os.killpg(process.pid, signal.SIGKILL)
        raise NodeFailed(f"it did not end within {_STOP_S:.0f} s") from None


def _await_answer(process: subprocess.Popen[bytes], rpc: NodeRpc) -> None:
    until = time.monotonic() + _START_S
    while True:
        try:
            rpc.ask("eth_chainId")
            return
        except NodeFailed:
            if process.poll() is not None or time.monotonic() > until:
                raise
        time.sleep(_WAIT_S)


def _ask_block(node: NodeRpc, number: int) -> JournaledBlock:
    block = node.ask("eth_getBlockByNumber", hex(number), False)
    if block is None:
        raise NodeFailed(f"block {number} is gone")
    asked = [
        ("eth_getRawTransactionByBlockHashAndIndex", (block["hash"], hex(i))) for i in range(len(block["transactions"]))
    ]
    return JournaledBlock(
        number=number,
        hash=block["hash"],
        parent=block["parentHash"],
        time=int(block["timestamp"], 16),
        base_fee=int(block["baseFeePerGas"], 16),
        raw=tuple(str(raw) for raw in node.ask_all(asked)) if asked else (),
    )


def _line(block: JournaledBlock) -> str:
    return json.dumps(asdict(block)) + "\n"


def _path(plan: AnvilPlan) -> Path:
    return plan.folder / "blocks.jsonl"
