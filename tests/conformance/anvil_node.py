"""A real Anvil for tests: Osaka rules, a free port, killed at the end."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from caimi.chains.ethereum.jsonrpc import RpcClient
from caimi.crypto.ecdsa import SigningKey
from caimi.devnet.ethereum.anvil import AnvilPlan, anvil_process, write_first_state
from caimi.devnet.ports import choose_ports
from caimi.devnet.toolchain import load_toolchain
from caimi.ports.chain import ChainUnavailable

__all__ = ["AnvilNode", "running_anvil"]

ETHER = 10**18


@dataclass(slots=True, kw_only=True)
class AnvilNode:
    """One Anvil and its process."""

    plan: AnvilPlan
    argv: tuple[str, ...]
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; it goes on from its state."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.argv, cwd=self.plan.folder, stdout=log, stderr=log)

    def kill(self) -> None:
        """Kill it hard."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    async def ready(self, rpc: RpcClient) -> None:
        """Wait until it answers, then let it make blocks for transactions at once."""
        deadline = time.monotonic() + 20
        while True:
            try:
                await rpc.call("evm_setAutomine", True)
                return
            except ChainUnavailable:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.01)


@contextmanager
def running_anvil(folder: Path, funded: tuple[SigningKey, ...]) -> Generator[AnvilNode]:
    """Anvil in a fresh folder, with native money for `funded`."""
    (port,) = choose_ports(1, order=random.Random(os.getpid()))
    plan = AnvilPlan(
        port=port, chain_id=7_000_000 + port, folder=folder / "ethereum", block_time_ms=0, state_interval_s=1
    )
    write_first_state(plan, balances={key.address: 1_000 * ETHER for key in funded}, time=int(time.time()))
    spec = anvil_process(plan, anvil=load_toolchain().anvil, log=folder / "anvil.log")
    node = AnvilNode(plan=plan, argv=spec.argv, log=spec.log_path)
    node.start()
    try:
        yield node
    finally:
        node.kill()
