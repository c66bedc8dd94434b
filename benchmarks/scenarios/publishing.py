"""Publications on real ledgers, one at a time and many at once, beside a relay of hash time-locks on the same."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Final

from benchmarks.controls import check_signature_counts
from benchmarks.devnet import BenchDevnet, bench_devnet, fresh_account
from benchmarks.evm import EvmSender
from benchmarks.measure import Aim, Better, Measure, Quantity, Statistic
from benchmarks.peers.fetch import peer_path
from benchmarks.peers.htlc.ledgers import EthereumLeg, FabricLeg, Leg, install_chaincode
from benchmarks.peers.htlc.relay import make_swap, publish_swap
from benchmarks.publications import LANES, PublicationMaker, await_readable, hand_over, mirror_of
from benchmarks.scenario import Findings, Scenario, Stage
from benchmarks.solidity import compile_contract
from caimi.chains.ethereum.jsonrpc import RpcClient
from caimi.crypto.ecdsa import SigningKey
from caimi.wire.codec import encode

__all__ = ["SCENARIOS", "Bench", "open_bench"]

_SINGLES: Final = 8
_BURSTS: Final = 3
_BURST: Final = 128
_FABRIC_ACCOUNTS: Final = 16
_TOKENS: Final = 10_000_000
_TIMEOUT_S: Final = 120.0
_PEER: Final = "HTLC relay"


@dataclass(slots=True, kw_only=True)
class Bench:
    """The shared devnet with what is measured on it."""

    devnet: BenchDevnet
    rpc: RpcClient
    legs: Mapping[str, Leg]
    makers: Mapping[str, PublicationMaker]
    htlc_account: SigningKey

    async def ours(self, home: str, count: int) -> tuple[float, list[float]]:
        """Seconds until all of `count` publications are readable, and those of each one."""
        publications = await self.makers[home].make(count)
        begin = time.perf_counter()
        await hand_over(self.devnet, publications)
        found = await await_readable(self.devnet, self.rpc, publications, timeout_s=_TIMEOUT_S)
        seconds = [at - begin for at in found.values()]
        return max(seconds), seconds

    async def peer(self, home: str, count: int) -> tuple[float, list[float]]:
        """The same by the HTLC relay, with publications of the same length."""
        length = len(encode((await self.makers[home].make(1))[0].publication))
        swaps = [make_swap(self.htlc_account, os.urandom(length)) for _ in range(count)]
        begin = time.perf_counter()

        async def one(number: int) -> float:
            await publish_swap(swaps[number], home=self.legs[home], mirror=self.legs[mirror_of(home)])
            return time.perf_counter() - begin

        seconds = list(await asyncio.gather(*(one(number) for number in range(count))))
        return max(seconds), seconds


async def open_bench(stage: Stage) -> Bench:
    """The devnet, with accounts that can pay and with the peer's contract and chaincode."""
    return await stage.once("publishing", lambda: _open(stage))


async def _open(stage: Stage) -> Bench:
    devnet = await bench_devnet(stage)
    ledgers = devnet.ledgers
    fabric_accounts = [fresh_account() for _ in range(_FABRIC_ACCOUNTS)]
    stage.tell("giving tokens to the publishers")
    await devnet.fund("fabric", fabric_accounts, _TOKENS)
    await devnet.fund("ethereum", [devnet.publisher], _TOKENS)
    stage.tell("installing the HTLC contract and chaincode")
    program = await peer_path(stage.repository, "htlc")
    await install_chaincode(ledgers, program)
    stack = await stage.shared.enter_async_context(AsyncExitStack())
    rpc = await stack.enter_async_context(RpcClient(ledgers.ethereum_url, chain_id=ledgers.plan.chain_id))
    gateway = await stack.enter_async_context(ledgers.gateway(0))
    sender = await stack.enter_async_context(EvmSender.running(rpc, ledgers.keys.deployer))
    source = stage.repository / "benchmarks" / "peers" / "htlc" / "Htlc.sol"
    contract = await sender.create(await asyncio.to_thread(compile_contract, source, "Htlc"))
    return Bench(
        devnet=devnet,
        rpc=rpc,
        legs={
            "ethereum": EthereumLeg(sender, contract, depth=ledgers.plan.finality_depth),
            "fabric": FabricLeg(gateway),
        },
        makers={
            "fabric": PublicationMaker(devnet=devnet, home="fabric", accounts=fabric_accounts),
            "ethereum": PublicationMaker(devnet=devnet, home="ethereum", accounts=[devnet.publisher]),
        },
        htlc_account=fresh_account(),
    )


@dataclass(slots=True)
class _Samples:
    # By home; latencies of single ones, latencies in bursts, and rates of bursts.
    single: dict[str, list[float]] = field(default_factory=lambda: {home: [] for home in LANES})
    burst: dict[str, list[float]] = field(default_factory=lambda: {home: [] for home in LANES})
    rate: dict[str, list[float]] = field(default_factory=lambda: {home: [] for home in LANES})


_Arm = tuple[_Samples, Callable[[str, int], Awaitable[tuple[float, list[float]]]]]


async def _single(stage: Stage) -> Findings:
    bench = await open_bench(stage)
    ours, peer = _Samples(), _Samples()
    for home in LANES:
        await check_signature_counts(bench.devnet, bench.rpc, home, (await bench.makers[home].make(1))[0])
    singles, bursts = stage.rounds(_SINGLES), max(2, round(_BURSTS * stage.effort))
    for number in range(1 + singles):
        for home in LANES:
            for samples, run in _in_turn(number, (ours, bench.ours), (peer, bench.peer)):
                seconds, _ = await run(home, 1)
                if number:
                    samples.single[home].append(seconds)
        stage.tell(f"one at a time: round {number + 1} of {1 + singles}{'' if number else ' (warm-up)'}")
    for number in range(bursts):
        for home in LANES:
            for samples, run in _in_turn(number, (ours, bench.ours), (peer, bench.peer)):
                seconds, each = await run(home, _BURST)
                samples.rate[home].append(_BURST / seconds)
                samples.burst[home] += each
        stage.tell(f"{_BURST} at once: round {number + 1} of {bursts}")
    return Findings(
        measures=_measures(ours, peer),
        conditions={
            **bench.devnet.conditions(),
            "counted": "its publisher's signature checked by home (a forged one was refused), COMMITTED and of its"
            " publisher at the tip of both ledgers, read by id",
            "single": "one at a time, from handing it to the relay until both are read; asked every 0.1 s",
            "burst": f"{_BURST} handed over at once",
            "peer": "lock, lock, claim, claim by our own HTLC contract and chaincode on the same ledgers; the locks are"
            " waited for until final, the claims until included; no journal, no deposit, no key capsule",
            "content": "none: the numbers are of publications, not of models' bytes",
        },
    )


def _in_turn(number: int, *arms: _Arm) -> Sequence[_Arm]:
    return arms if number % 2 else arms[::-1]


def _measures(ours: _Samples, peer: _Samples) -> tuple[Measure, ...]:
    found: list[Measure] = []
    for home in LANES:
        for statistic in (Statistic.MEDIAN, Statistic.P99):
            found.append(_latency(f"latency, home {home}", statistic, ours.single[home], peer.single[home]))
    for home in LANES:
        found.append(
            Measure(
                name=f"rate in bursts, home {home}",
                unit="publications/s",
                statistic=Statistic.MEDIAN,
                better=Better.HIGHER,
                samples=tuple(ours.rate[home]),
                peer=_PEER,
                peer_samples=tuple(peer.rate[home]),
                aim=Aim(of=Quantity.RATIO, bound=5.0),
            )
        )
        found.append(_latency(f"latency in bursts, home {home}", Statistic.P99, ours.burst[home], peer.burst[home]))
    return tuple(found)


def _latency(name: str, statistic: Statistic, ours: Sequence[float], peer: Sequence[float]) -> Measure:
    return Measure(
        name=name,
        unit="s",
        statistic=statistic,
        better=Better.LOWER,
        samples=tuple(ours),
        peer=_PEER,
        peer_samples=tuple(peer),
    )


SCENARIOS: Final = (
    Scenario(
        name="publish_single",
        summary="publications on Fabric and Ethereum, one at a time and 128 at once, beside hash time-locks",
        minutes=5.0,
        run=_single,
    ),
)
"""Publications."""
