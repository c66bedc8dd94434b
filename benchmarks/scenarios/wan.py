"""Publications while the relay's lines to validators and ledgers are as long as those between regions."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from benchmarks.delay import DelayedLine
from benchmarks.devnet import BenchDevnet, bench_devnet
from benchmarks.measure import Better, Measure, Statistic
from benchmarks.publications import LANES, PublicationMaker, await_readable, hand_over
from benchmarks.scenario import Findings, Scenario, Stage
from caimi.apps.devnet.folder import StateFolder
from caimi.apps.devnet.keys import DEPLOYER, key_file
from caimi.apps.devnet.status import read_status
from caimi.chains.ethereum.jsonrpc import RpcClient
from caimi.devnet.health import is_healthy
from caimi.devnet.ports import choose_ports
from caimi.sdk.connections import Connections
from caimi.sdk.network import write_json

__all__ = ["SCENARIOS"]

_ROUND_TRIPS: Final = (0.080, 0.150, 0.220)
_ROUNDS: Final = 5
_TIMEOUT_S: Final = 240.0
_UP_S: Final = 90.0
_PEER: Final = "the same without delays"


@dataclass(frozen=True, slots=True, kw_only=True)
class _FarRelay:
    devnet: BenchDevnet
    """As the other one, with this relay."""
    lines: Sequence[DelayedLine]
    regions: Sequence[int]
    """Of each line."""

    def set_delays(self, factor: float) -> None:
        """0 for none, 1 for those of the regions."""
        for line, region in zip(self.lines, self.regions, strict=True):
            line.round_trip_s = factor * _ROUND_TRIPS[region]


@asynccontextmanager
async def _far_relay(stage: Stage, devnet: BenchDevnet) -> AsyncGenerator[_FarRelay]:
    # A relay of its own, whose every line leads through a proxy; the devnet's own one stands still meanwhile.
    async with AsyncExitStack() as stack:
        lines: list[DelayedLine] = []
        regions: list[int] = []

        async def through(url: str, region: int) -> str:
            place = urlsplit(url if "://" in url else f"tcp://{url}")
            line = DelayedLine.open(place.hostname or "", place.port or 80, round_trip_s=0.0)
            lines.append(await stack.enter_async_context(line))
            regions.append(region)
            near = f"127.0.0.1:{lines[-1].local_port}"
            return f"{place.scheme}://{near}" if "://" in url else near

        own = devnet.network.home / "processes" / "relay" / "config.json"
        config = json.loads(await asyncio.to_thread(own.read_text))
        for number, validator in enumerate(config["validators"]):
            validator["url"] = await through(validator["url"], number % 3)
        for lane in config["lanes"]:
            for number, peer in enumerate(lane.get("peers", ())):
                peer["endpoint"] = await through(peer["endpoint"], (number + 1) % 3)
            if "endpoints" in lane:
                lane["endpoints"] = [await through(lane["endpoints"][0], 0)]
        stopped = await _pid(devnet)
        os.kill(stopped, signal.SIGSTOP)
        stack.callback(os.kill, stopped, signal.SIGCONT)
        url = await stack.enter_async_context(_running(stage.folder / "far-relay", config, devnet))
        network = replace(devnet.network, relay_url=url)
        token = await asyncio.to_thread((devnet.network.home / "token").read_text)
        connections = Connections(network, token=token.strip())
        stack.push_async_callback(connections.close)
        yield _FarRelay(devnet=replace(devnet, connections=connections), lines=lines, regions=regions)


@asynccontextmanager
async def _running(folder: Path, config: dict[str, Any], devnet: BenchDevnet) -> AsyncGenerator[str]:
    (port,) = choose_ports(1, order=random.Random())
    deployer = key_file(StateFolder.at(devnet.network.home), DEPLOYER)
    for lane in config["lanes"]:
        if lane["kind"] == "ethereum":
            # An account of its own: two relays on one would take each other's nonces.
            lane["sender"] = {
                "file": str(deployer.file),
                "password_file": str(deployer.password_file),
                "purpose": deployer.purpose,
            }
    config |= {"name": "far-relay", "store": str(folder / "store.sqlite"), "log": str(folder / "log.jsonl")}
    config["http"]["port"] = port
    await asyncio.to_thread(folder.mkdir, mode=0o700, exist_ok=True)
    write_json(folder / "config.json", config)
    command = (sys.executable, "-m", "caimi.apps.relayd", "--config", str(folder / "config.json"))
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        async with asyncio.timeout(_UP_S):
            while True:
                if await is_healthy(f"{url}/readyz"):
                    break
                await asyncio.sleep(0.2)
        yield url
    finally:
        process.terminate()
        await process.wait()


async def _pid(devnet: BenchDevnet) -> int:
    status = await read_status(devnet.network.home)
    return next(one.pid for one in status.processes if one.name == "relay" and one.pid is not None)


async def _seconds(devnet: BenchDevnet, rpc: RpcClient, maker: PublicationMaker) -> float:
    publications = await maker.make(1)
    begin = time.perf_counter()
    await hand_over(devnet, publications)
    found = await await_readable(devnet, rpc, publications, timeout_s=_TIMEOUT_S)
    return found[publications[0].id] - begin


async def _wan(stage: Stage) -> Findings:
    devnet = await bench_devnet(stage)
    found: dict[tuple[str, float], list[float]] = {(home, factor): [] for home in LANES for factor in (0.0, 1.0)}
    ledgers = devnet.ledgers
    rounds = stage.rounds(_ROUNDS)
    stage.tell("starting a relay with lines of its own")
    async with (
        RpcClient(ledgers.ethereum_url, chain_id=ledgers.plan.chain_id) as rpc,
        _far_relay(stage, devnet) as far,
    ):
        makers = {home: PublicationMaker(devnet=far.devnet, home=home, accounts=[devnet.publisher]) for home in LANES}
        for number in range(1 + rounds):
            for factor in (0.0, 1.0) if number % 2 else (1.0, 0.0):
                far.set_delays(factor)
                for home in LANES:
                    seconds = await _seconds(far.devnet, rpc, makers[home])
                    if number:
                        found[home, factor].append(seconds)
            stage.tell(f"round {number + 1} of {1 + rounds}{'' if number else ' (warm-up)'}")
    return Findings(
        measures=tuple(
            Measure(
                name=f"latency, home {home}",
                unit="s",
                statistic=statistic,
                better=Better.LOWER,
                samples=tuple(found[home, 1.0]),
                peer=_PEER,
                peer_samples=tuple(found[home, 0.0]),
            )
            for home in LANES
            for statistic in (Statistic.MEDIAN, Statistic.P99)
        ),
        conditions={
            **devnet.conditions(),
            "EMULATED": "round trips of 80, 150 and 220 ms by TCP proxies, on the relay's lines to the validators (80,"
            " 150, 220, 80), to Ethereum's node (80) and to Fabric's peers (150 first)",
            "not delayed": "lines of Fabric's nodes among themselves, of validators to their nodes, of who asks",
            "load": "one publication at a time",
        },
    )


SCENARIOS: Final = (
    Scenario(
        name="publish_wan",
        summary="publications while the relay's lines are those of three regions, EMULATED",
        minutes=2.5,
        run=_wan,
    ),
)
"""Long lines."""
