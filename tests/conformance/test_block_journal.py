"""A killed Anvil comes back to its last block, to the hash, whatever its last state is."""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from caimi.chains.ethereum.transaction import Transaction, sign_transaction
from caimi.crypto.ecdsa import SigningKey
from caimi.devnet.ethereum.anvil import AnvilPlan, anvil_process, write_first_state
from caimi.devnet.ethereum.block_journal import BlockJournal, read_journal
from caimi.devnet.ethereum.node_rpc import NodeFailed, NodeRpc
from caimi.devnet.ethereum.restore import restore
from caimi.devnet.ports import choose_ports
from caimi.devnet.toolchain import load_toolchain
from caimi.types.primitives import Address
from caimi.wire.keccak import keccak256

pytestmark = [pytest.mark.devnet, pytest.mark.timeout(120)]

_KEYS = tuple(SigningKey.from_entropy(keccak256(name)) for name in (b"one", b"two"))
_ETHER = 10**18


class _Node:
    def __init__(self, folder: Path, block_time_ms: int) -> None:
        (port,) = choose_ports(1, order=random.Random())
        # It never writes its state by itself.
        self.plan = AnvilPlan(
            port=port, chain_id=777, folder=folder / "ethereum", block_time_ms=block_time_ms, state_interval_s=3_600
        )
        self.anvil, self.log = load_toolchain().anvil, folder / "log"
        write_first_state(self.plan, balances={key.address: _ETHER for key in _KEYS}, time=int(time.time()) - 1)
        self.rpc = NodeRpc(self.plan.url)
        self.journal = BlockJournal(self.plan)
        self.nonces = [0, 0]
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        restore(self.plan, anvil=self.anvil, log=self.log)
        argv = anvil_process(self.plan, anvil=self.anvil, log=self.log).argv
        self.process = subprocess.Popen(argv, cwd=self.plan.folder, stdout=subprocess.DEVNULL)
        self.until(lambda: self.height() >= 0)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def until(self, done: Callable[[], bool]) -> None:
        end = time.monotonic() + 30
        while True:
            try:
                if done():
                    return
            except NodeFailed:
                pass
            assert time.monotonic() < end
            time.sleep(0.02)

    def height(self) -> int:
        return int(self.rpc.ask("eth_blockNumber"), 16)

    def hash(self, number: int) -> str:
        return str(self.rpc.ask("eth_getBlockByNumber", hex(number), False)["hash"])

    def pay(self, who: int, tip: int) -> None:
        signed = sign_transaction(
            Transaction(
                chain_id=777,
                nonce=self.nonces[who],
                max_priority_fee=tip,
                max_fee=10**10 + tip,
                gas=21_000,
                to=Address(bytes(19) + b"\x07"),
                data=b"",
            ),
            _KEYS[who],
        )
        self.nonces[who] += 1
        self.rpc.ask("eth_sendRawTransaction", "0x" + signed.raw.hex())

    def work(self, blocks: int) -> None:
        # Transactions of two accounts in each block, the dearer one handed in last.
        for _ in range(blocks):
            before = self.height()
            self.pay(0, 10)
            self.pay(0, 10)
            self.pay(1, 1_000)
            self.until(lambda before=before: self.height() > before)
            self.journal.look(self.rpc)


@pytest.fixture(params=[1_000, 250])
def node(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[_Node]:
    node = _Node(tmp_path, request.param)
    yield node
    node.kill()
    node.rpc.close()


def _tip_of(node: _Node) -> tuple[int, str]:
    newest = read_journal(node.plan)[-1]
    return newest.number, newest.hash


def test_goes_on_where_it_was_killed(node: _Node) -> None:
    node.work(3)
    number, newest = _tip_of(node)
    assert sum(len(block.raw) for block in read_journal(node.plan)) == 9
    node.kill()
    node.start()
    assert node.hash(number) == newest
    # It works: the accounts are as they were, and a second kill is survived as well.
    node.work(2)
    number, newest = _tip_of(node)
    node.kill()
    node.start()
    assert node.hash(number) == newest


def test_blocks_after_a_change_by_hand_are_lost_and_those_before_are_not(node: _Node) -> None:
    node.work(2)
    number, newest = _tip_of(node)
    node.rpc.ask("anvil_setBalance", "0x" + _KEYS[0].address.hex(), hex(5 * _ETHER))
    node.work(2)
    last = _tip_of(node)
    node.kill()
    node.start()
    assert node.hash(number) == newest
    node.until(lambda: node.height() >= last[0])
    assert node.hash(last[0]) != last[1]


def test_follows_the_branch_that_a_reorganisation_leaves(node: _Node) -> None:
    node.work(3)
    abandoned = _tip_of(node)
    node.rpc.ask("anvil_reorg", 2, [])
    node.until(lambda: node.height() > abandoned[0])
    node.journal.look(node.rpc)
    newest = _tip_of(node)
    assert abandoned[1] not in {block.hash for block in read_journal(node.plan)}
    node.kill()
    assert newest[0] > abandoned[0]
    node.start()
    # A node that was reorganised by hand is brought back as far as it makes the same blocks.
    assert node.height() >= abandoned[0] - 2


@pytest.mark.parametrize("harm", ["missing", "torn", "garbage"])
def test_starts_without_a_journal_that_can_be_read(node: _Node, harm: str) -> None:
    node.work(2)
    blocks = read_journal(node.plan)
    node.kill()
    path = node.plan.folder / "blocks.jsonl"
    match harm:
        case "missing":
            path.unlink()
        case "torn":
            path.write_bytes(path.read_bytes()[:-20])
        case _:
            path.write_bytes(b"\xff\x00[]\n" + path.read_bytes())
    node.start()
    node.until(lambda: node.height() >= blocks[-1].number)
    # What is before the harm is there again, and nothing else.
    kept = len(blocks) - 1 if harm == "torn" else 0
    assert [node.hash(block.number) == block.hash for block in blocks] == [place < kept for place in range(len(blocks))]


@pytest.mark.parametrize("harm", [b"", b'{"number": 9, "ha'])
def test_what_a_killed_supervisor_left_does_not_hide_what_its_successor_writes(node: _Node, harm: bytes) -> None:
    node.work(1)
    before = _tip_of(node)[0]
    path = node.plan.folder / "blocks.jsonl"
    path.write_bytes(path.read_bytes() + harm)
    node.journal = BlockJournal(node.plan)
    node.work(2)
    number, newest = _tip_of(node)
    assert number >= before + 2
    node.kill()
    node.start()
    assert node.hash(number) == newest
