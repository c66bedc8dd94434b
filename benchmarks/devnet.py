"""The devnet that several scenarios share: brought up when the first one needs it, gone after the last."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from benchmarks.scenario import Stage
from caimi.apps.devnet.background import start_background, stop_background
from caimi.apps.devnet.errors import NotRunning
from caimi.apps.devnet.faucet import fund_ethereum, fund_fabric
from caimi.apps.devnet.folder import StateFolder, read_plan
from caimi.apps.devnet.keys import make_keys
from caimi.apps.devnet.ledgers import Ledgers, prepare_ledgers
from caimi.apps.devnet.profiles import Choice
from caimi.apps.devnet.progress import Step
from caimi.crypto.ecdsa import SigningKey
from caimi.devnet.toolchain import load_toolchain
from caimi.sdk.accounts import load_account, read_password
from caimi.sdk.connections import Connections
from caimi.sdk.network import EthereumLane, Network, read_network
from caimi.types.primitives import Bytes32

__all__ = ["BenchDevnet", "bench_devnet", "fresh_account"]

_UP_S: Final = 600.0
_AT_ONCE: Final = 4
_RULES: Final = Choice(block_time_ms=250, finality_depth=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchDevnet:
    """A running devnet."""

    network: Network
    ledgers: Ledgers
    connections: Connections
    publisher: SigningKey

    @property
    def ethereum(self) -> EthereumLane:
        """The lane on Ethereum."""
        return cast(EthereumLane, self.network.lane("ethereum"))

    def conditions(self) -> dict[str, Any]:
        """What every number of this devnet rests on."""
        plan, fabric = self.ledgers.plan, self.ledgers.fabric.plan
        return {
            "devnet": "4 Fabric peers, 4 SmartBFT orderers, Anvil, 4 validators, 1 relay, 1 host, all on this machine",
            "quorum": f"{self.network.q} of {plan.n} validators",
            "ethereum": f"a block each {plan.block_time_ms} ms, final {plan.finality_depth} blocks below the tip",
            "fabric": f"blocks after {fabric.batch_interval_ms} ms, {fabric.endorsements} organisations endorse",
        }

    async def fund(self, lane: str, accounts: Sequence[SigningKey], amount: int) -> None:
        """Give each account that many tokens as its registry balance."""
        gate = asyncio.Semaphore(_AT_ONCE if lane == "fabric" else 1)

        async def one(account: SigningKey) -> None:
            async with gate:
                await (fund_fabric if lane == "fabric" else fund_ethereum)(self.ledgers, account, amount)

        await asyncio.gather(*(one(account) for account in accounts))


def fresh_account() -> SigningKey:
    """A new key."""
    return SigningKey.from_entropy(Bytes32(os.urandom(32)))


async def bench_devnet(stage: Stage) -> BenchDevnet:
    """The shared devnet."""
    return cast(BenchDevnet, await stage.once("devnet", lambda: _start(stage)))


async def _start(stage: Stage) -> BenchDevnet:
    home = stage.folder / "devnet"

    def told(step: Step) -> None:
        stage.tell(f"devnet: {step.name} ({step.seconds:.0f} s)")

    async def stop() -> None:
        with contextlib.suppress(NotRunning):
            await stop_background(home)

    stage.tell("bringing up a devnet, about a minute")
    stage.shared.push_async_callback(stop)
    await start_background(home, tell=told, timeout_s=_UP_S, choice=_RULES)
    folder = StateFolder.at(home)
    plan, network = read_plan(folder), read_network(home)
    token, password = folder.token.read_text(encoding="ascii").strip(), read_password(folder.password)
    connections = Connections(network, token=token)
    stage.shared.push_async_callback(connections.close)
    return BenchDevnet(
        network=network,
        ledgers=prepare_ledgers(folder, plan, make_keys(folder, plan), load_toolchain()),
        connections=connections,
        publisher=load_account(folder.account("publisher"), password),
    )
