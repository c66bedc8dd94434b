"""Publications on real ledgers, one at a time and many at once, beside a relay of hash time-locks on the same."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from benchmarks.batches import await_batches, check_each, hand_over_batches
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

__all__ = ["SCENARIOS", "Bench", "conditions", "open_bench"]

_SINGLES: Final = 8
_ROUNDS: Final = {10: 4, 100: 2, 1_000: 1}
_WARM: Final = " (warm-up)"
_FABRIC_ACCOUNTS: Final = 16
_TOKENS: Final = 100_000_000
_TIMEOUT_S: Final = 300.0
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
        if count > 1:
            batches = await hand_over_batches(self.devnet, publications, home)
            found = await await_batches(self.devnet, self.rpc, batches, timeout_s=_TIMEOUT_S)
            await check_each(self.devnet, self.rpc, batches)
            seconds = [at - begin for at in found.values()]
            return max(seconds), seconds
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
    # By home: latencies of each publication, and rates of whole bursts.
    seconds: dict[str, list[float]] = field(default_factory=lambda: {home: [] for home in LANES})
    rate: dict[str, list[float]] = field(default_factory=lambda: {home: [] for home in LANES})


_Arm = tuple[_Samples, Callable[[str, int], Awaitable[tuple[float, list[float]]]]]


async def _rounds(stage: Stage, count: int, rounds: int, *, warm_up: int) -> tuple[Bench, _Samples, _Samples]:
    bench = await open_bench(stage)
    ours, peer = _Samples(), _Samples()
    for home in LANES:
        await check_signature_counts(bench.devnet, bench.rpc, home, (await bench.makers[home].make(1))[0])
    for number in range(warm_up + rounds):
        for home in LANES:
            arms: tuple[_Arm, ...] = ((ours, bench.ours), (peer, bench.peer))
            for samples, run in arms if number % 2 else arms[::-1]:
                seconds, each = await run(home, count)
                if number >= warm_up:
                    samples.rate[home].append(count / seconds)
                    samples.seconds[home] += each
        stage.tell(f"{count} at a time: round {number + 1} of {warm_up + rounds}{_WARM if number < warm_up else ''}")
    return bench, ours, peer


async def _single(stage: Stage) -> Findings:
    bench, ours, peer = await _rounds(stage, 1, stage.rounds(_SINGLES), warm_up=1)
    return Findings(
        measures=(*_latencies(ours, peer), *_rates(ours, peer, aim=None)),
        conditions={**conditions(bench), "load": "one publication at a time"},
    )


async def _batch(stage: Stage, *, count: int) -> Findings:
    bench, ours, peer = await _rounds(stage, count, max(1, round(_ROUNDS[count] * stage.effort)), warm_up=0)
    return Findings(
        measures=(*_rates(ours, peer, aim=Aim(of=Quantity.RATIO, bound=5.0)), *_latencies(ours, peer)),
        conditions={
            **conditions(bench),
            "load": f"{count} publications handed over at once, in as few batches as home's lane takes (spec 37); the"
            " next ones when all are readable",
            "latency": "from the moment when the whole batch is handed over, so that it holds the time in the queue",
        },
    )


def conditions(bench: Bench) -> dict[str, Any]:
    """What all publishing rests on."""
    return {
        **bench.devnet.conditions(),
        "counted": "its publisher's signature checked by home (a forged one was refused), COMMITTED at the tip of both"
        " ledgers, read by id",
        "asked": "one at a time: Ethereum at each new block, Fabric every 0.1 s; many: both every 0.1 s for batches"
        " and then, outside the time that counts, for every id by its proof",
        "publishers": f"{_FABRIC_ACCOUNTS} with home Fabric, 1 with home Ethereum",
        "peer": "lock, lock, claim, claim by our own HTLC contract and chaincode on the same ledgers; the locks are"
        " waited for until final, the claims until included; no journal, no deposit, no key capsule",
        "content": "none: the numbers are of publications, not of models' bytes",
    }


def _rates(ours: _Samples, peer: _Samples, *, aim: Aim | None) -> tuple[Measure, ...]:
    return tuple(
        Measure(
            name=f"rate, home {home}",
            unit="publications/s",
            statistic=Statistic.MEDIAN,
            better=Better.HIGHER,
            samples=tuple(ours.rate[home]),
            peer=_PEER,
            peer_samples=tuple(peer.rate[home]),
            aim=aim,
        )
        for home in LANES
    )


def _latencies(ours: _Samples, peer: _Samples) -> tuple[Measure, ...]:
    return tuple(
        Measure(
            name=f"latency, home {home}",
            unit="s",
            statistic=statistic,
            better=Better.LOWER,
            samples=tuple(ours.seconds[home]),
            peer=_PEER,
            peer_samples=tuple(peer.seconds[home]),
        )
        for home in LANES
        for statistic in (Statistic.MEDIAN, Statistic.P99)
    )


def _scenario(count: int, minutes: float) -> Scenario:
    return Scenario(
        name=f"publish_batch_{count}",
        summary=f"{count} publications at once on Fabric and Ethereum, beside hash time-locks",
        minutes=minutes,
        run=partial(_batch, count=count),
    )


SCENARIOS: Final[Sequence[Scenario]] = (
    Scenario(
        name="publish_single",
        summary="publications on Fabric and Ethereum, one at a time, beside hash time-locks",
        minutes=3.5,
        run=_single,
    ),
    _scenario(10, 1.0),
    _scenario(100, 1.5),
    _scenario(1_000, 3.0),
)
"""Publications."""
