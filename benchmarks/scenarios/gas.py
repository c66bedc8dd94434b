"""Gas on Ethereum for publications whose home is another ledger, beside Hyperlane and CCIP for as many messages.

Gas does not depend on the machine or its load; every number is that of real transactions on a chain with Osaka's rules.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, cast

import eth_abi

from benchmarks.anvil import instant_chain
from benchmarks.evm import EvmSender
from benchmarks.measure import Aim, Better, Measure, Quantity, Statistic
from benchmarks.peers.ccip import Ccip
from benchmarks.peers.fetch import peer_path
from benchmarks.peers.gateway import Gateway
from benchmarks.peers.hyperlane import Hyperlane
from benchmarks.peers.ours import Caimi
from benchmarks.scenario import Findings, Scenario, Stage
from benchmarks.solidity import compile_contract
from caimi.crypto.ecdsa import SigningKey
from caimi.types.primitives import Address, Bytes32
from caimi.wire.keccak import keccak256

__all__ = ["SCENARIOS"]

_N: Final = 4
_F: Final = 1
_Q: Final = 3
_WARM_UP: Final = 2
_REPEATS: Final = {1: 5, 10: 3, 100: 2, 1_000: 1}
_GAS: Final = 1_000_000
_abi: Final = cast(Any, eth_abi)


@dataclass(frozen=True, slots=True, kw_only=True)
class _World:
    sender: EvmSender
    gateways: tuple[Gateway, ...]
    """Ours first."""
    reader: Address

    async def reading(self, gateway: Gateway, identifier: Bytes32) -> int:
        """Gas of a transaction in which a contract asks for one id, and goes on only if it is COMMITTED."""
        question = gateway.question(identifier)
        values = _abi.encode(["address", "bytes", "uint256"], [question.target, question.call, question.word])
        call = keccak256(b"read(address,bytes,uint256)")[:4] + values
        return (await self.sender.transact(self.reader, call, gas=_GAS)).gas_used


async def _world(stage: Stage) -> _World:
    return cast(_World, await stage.once("gas", lambda: stage.shared.enter_async_context(_opened(stage))))


@asynccontextmanager
async def _opened(stage: Stage) -> AsyncGenerator[_World]:
    source = stage.repository / "benchmarks" / "peers" / "Gas.sol"
    stage.tell("compiling our contracts, fetching Hyperlane's and CCIP's")
    codes = {
        name: await asyncio.to_thread(compile_contract, source, name) for name in ("Recipient", "Batcher", "Reader")
    }
    folders = {name: await peer_path(stage.repository, name) for name in ("hyperlane", "ccip")}
    keys = tuple(SigningKey.from_entropy(Bytes32(os.urandom(32))) for _ in range(_N))
    async with instant_chain(stage.folder) as sender:
        hyperlane, ccip = Hyperlane(sender, keys, _Q), Ccip(sender, keys, _F)
        await hyperlane.install(folders["hyperlane"], codes["Recipient"], codes["Batcher"])
        await ccip.install(folders["ccip"], codes["Recipient"])
        gateways: tuple[Gateway, ...] = (await Caimi.create(sender, keys), hyperlane, ccip)
        world = _World(sender=sender, gateways=gateways, reader=await sender.create(codes["Reader"]))
        for gateway in gateways:
            await gateway.check_quorum()
            # The first ones pay for slots that all later ones share.
            for _ in range(_WARM_UP):
                delivery = await gateway.deliver(1)
                await world.reading(gateway, delivery.ids[0])
        yield world


async def _batch(stage: Stage, *, count: int) -> Findings:
    world = await _world(stage)
    samples: dict[str, list[float]] = {gateway.name: [] for gateway in world.gateways}
    parts: dict[str, list[float]] = {}
    repeats = max(1, round(_REPEATS[count] * stage.effort))
    for number in range(repeats):
        for gateway in world.gateways:
            delivery = await gateway.deliver(count)
            # Delivered means that a contract sees it; the last one stands for all of its batch.
            await world.reading(gateway, delivery.ids[-1])
            samples[gateway.name].append(delivery.total / count)
            if gateway is world.gateways[0]:
                for part, gas in delivery.gas.items():
                    parts.setdefault(part, []).append(gas / count)
        stage.tell(f"batches of {count}: {number + 1} of {repeats}")
    measures = (*_measures("gas per publication", world, samples), *(_part(name, gas) for name, gas in parts.items()))
    return Findings(measures=measures, conditions=_conditions(world, count))


async def _until_readable(stage: Stage) -> Findings:
    world = await _world(stage)
    measures: list[Measure] = []
    for count in (1, 100):
        samples: dict[str, list[float]] = {gateway.name: [] for gateway in world.gateways}
        for _ in range(max(1, round(3 * stage.effort))):
            for gateway in world.gateways:
                delivery = await gateway.deliver(count)
                reading = await world.reading(gateway, delivery.ids[count // 2])
                samples[gateway.name].append(delivery.total / count + reading)
        stage.tell(f"in batches of {count}: measured")
        measures += _measures(f"gas until one id of {count} was read", world, samples)
    gas = "the share of its batch, and a whole transaction in which a contract asks for it"
    return Findings(measures=tuple(measures), conditions={**_conditions(world, 1), "batch": "1, 100", "gas": gas})


def _measures(name: str, world: _World, samples: dict[str, list[float]]) -> tuple[Measure, ...]:
    ours, *peers = (gateway.name for gateway in world.gateways)
    return tuple(
        Measure(
            name=name,
            unit="gas",
            statistic=Statistic.MEDIAN,
            better=Better.LOWER,
            samples=tuple(samples[ours]),
            peer=peer,
            peer_samples=tuple(samples[peer]),
            aim=Aim(of=Quantity.RATIO, bound=1.0),
        )
        for peer in peers
    )


def _part(name: str, gas: list[float]) -> Measure:
    return Measure(
        name=f"of it, {name}", unit="gas", statistic=Statistic.MEDIAN, better=Better.LOWER, samples=tuple(gas)
    )


def _conditions(world: _World, count: int) -> dict[str, Any]:
    return {
        "chain": "Anvil, Osaka, at most 16,777,216 gas in a transaction",
        "direction": "Ethereum is the mirror: what the foreign home decided becomes readable on it",
        "batch": count,
        "validators": _N,
        **{gateway.name: gateway.rule for gateway in world.gateways},
        "recipient": "peers deliver to one contract of ours that writes one slot and one event for each message; ours"
        " keeps the whole record of a publication instead",
        "control": "every contract refuses the same message with signatures of strangers",
        "measured": "all transactions after setting up and two deliveries that do not count",
    }


def _scenario(count: int) -> Scenario:
    return Scenario(
        name=f"gas_batch_{count}",
        summary=f"gas on Ethereum for each of {count} publications, beside Hyperlane and CCIP",
        minutes=0.6 if count == 1_000 else 0.2,
        run=partial(_batch, count=count),
    )


SCENARIOS: Final[Sequence[Scenario]] = (
    *(_scenario(count) for count in _REPEATS),
    Scenario(
        name="gas_until_readable",
        summary="gas on Ethereum until a contract has read that one publication is COMMITTED",
        minutes=0.4,
        run=_until_readable,
    ),
)
"""Gas."""
