"""An Anvil of a scenario's own, which makes a block for each transaction."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from benchmarks.evm import EvmSender
from caimi.chains.ethereum.jsonrpc import RpcClient, RpcLimits
from caimi.crypto.ecdsa import SigningKey
from caimi.devnet.ethereum.anvil import AnvilPlan, anvil_process, write_first_state
from caimi.devnet.ports import choose_ports
from caimi.devnet.toolchain import load_toolchain
from caimi.ports.chain import ChainUnavailable
from caimi.types.primitives import Bytes32

__all__ = ["instant_chain"]

_UP_S: Final = 30.0
_WEI: Final = 10**24


@asynccontextmanager
async def instant_chain(folder: Path) -> AsyncGenerator[EvmSender]:
    """A chain with one rich account, with the hard fork and limits of the devnet's; gone afterwards."""
    key = SigningKey.from_entropy(Bytes32(secrets.token_bytes(32)))
    (port,) = choose_ports(1, order=random.Random())
    plan = AnvilPlan(port=port, chain_id=secrets.randbelow(1 << 30) + 1, folder=folder / "anvil", block_time_ms=0)
    write_first_state(plan, balances={key.address: _WEI}, time=int(time.time()))
    spec = anvil_process(plan, anvil=load_toolchain().anvil, log=folder / "anvil.log")
    process = await asyncio.create_subprocess_exec(*spec.argv, cwd=spec.cwd, stdout=asyncio.subprocess.DEVNULL)
    try:
        async with RpcClient(plan.url, chain_id=plan.chain_id, limits=RpcLimits(seconds=60.0)) as rpc:
            await _wait(rpc)
            async with EvmSender.running(rpc, key) as sender:
                yield sender
    finally:
        process.terminate()
        await process.wait()


async def _wait(rpc: RpcClient) -> None:
    async with asyncio.timeout(_UP_S):
        while True:
            try:
                await rpc.call("eth_blockNumber")
                return
            except ChainUnavailable:
                await asyncio.sleep(0.1)
