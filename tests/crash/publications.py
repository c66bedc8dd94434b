"""Publications for the crash tests, and the judgement over them from the two ledgers alone."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from caimi.apps.demo.graph import linear, save
from caimi.bundle.cid import DAG_PB, cid_of
from caimi.chains.ethereum.jsonrpc import RpcClient
from caimi.chains.ethereum.registry import EthereumRegistry
from caimi.chains.fabric.client import FabricGateway
from caimi.chains.fabric.registry import FabricRegistry
from caimi.crypto.ecdsa import SigningKey
from caimi.ports.chain import ChainPort, Included, Reverted
from caimi.protocol.audit import Completeness, LaneHistory, audit
from caimi.protocol.publication import Role, State
from caimi.sdk.audit import read_history
from caimi.sdk.bundles import LocalBundle, read_bundle
from caimi.sdk.connections import Connections
from caimi.sdk.errors import ServiceAnswer, ServiceUnavailable
from caimi.sdk.publishing import SEED_BYTES, Offer, PublicationSeed, SignedPublication, compose, post
from caimi.types.primitives import Generation, PublicationId, UnixSeconds
from caimi.types.records import Kind, Lane
from caimi.wire.functions import encode_call
from caimi.wire.keccak import keccak256
from tests.crash.devnet_fixture import PATIENCE_S, Devnet, until

__all__ = [
    "NOWHERE",
    "histories",
    "judge",
    "lock_call",
    "other_ethereum",
    "own_fabric",
    "settle",
    "signed_publication",
    "submit",
    "transact",
]

NOWHERE = Lane(chain=keccak256(b"nowhere"), registry=keccak256(b"nowhere"))
"""A mirror that nobody serves: home can only abort."""
_CID = cid_of(DAG_PB, b"stands for the ciphertext: no host reads it in these tests")


@cache
def _bundle() -> LocalBundle:
    weights = np.random.default_rng(1).standard_normal((4, 2)).astype(np.float32)
    nodes, initializers = linear("given", "result", weights, weights[0], rectify=False)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "small.onnx"
        path.write_bytes(save("small", nodes, initializers, ("given", [None, 4]), ("result", [None, 2])))
        return read_bundle(path)


async def signed_publication(
    devnet: Devnet,
    home: str,
    *mirrors: str | Lane,
    account: SigningKey | None = None,
    name: str | None = None,
    deadline_s: int = 900,
) -> SignedPublication:
    """A publication of the demonstration account, by default under a new name."""
    offer = Offer(
        name=name or f"model-{os.urandom(6).hex()}",
        version=1,
        home=devnet.network.lane(home).lane,
        mirrors=tuple(devnet.network.lane(m).lane if isinstance(m, str) else m for m in mirrors),
        deposit=devnet.network.lane(home).min_deposit,
        deadline=UnixSeconds(await devnet.connections.clock(home) + deadline_s),
    )
    seed = PublicationSeed.from_bytes(os.urandom(SEED_BYTES))
    by = account or devnet.accounts["publisher"]
    return compose(devnet.network, _bundle(), seed, ciphertext=_CID, offer=offer, account=by)


async def submit(devnet: Devnet, signed: SignedPublication, *, to: Connections | None = None) -> None:
    """Hand it to the relay (of these connections), again and again while that dies."""
    loop = asyncio.get_running_loop()
    end = loop.time() + PATIENCE_S
    while True:
        try:
            await post(to or devnet.connections, signed)
            return
        except (ServiceUnavailable, ServiceAnswer):
            assert loop.time() < end
            await asyncio.sleep(0.2)


async def settle(devnet: Devnet, signed: SignedPublication, expected: State) -> None:
    """Wait until all registries have reached a state, by the ledgers themselves."""
    lanes = {lane.lane: name for name, lane in devnet.network.lanes.items()}
    record = signed.publication
    names = [lanes[lane] for lane in (record.home, *record.mirrors) if lane in lanes]

    async def is_settled() -> bool:
        views = [await devnet.connections.reader(name).publication(signed.id) for name in names]
        return all(view is not None and view.state is expected for view in views)

    await until(is_settled, what=f"{expected.name} on {names}")


# --- transactions past the relay


def lock_call(signed: SignedPublication) -> bytes:
    """The call that locks it, at home or on a mirror."""
    return encode_call("lockModel", signed.publication, signed.signature)


def other_ethereum(devnet: Devnet) -> tuple[EthereumRegistry, RpcClient]:
    """Somebody else who sends to the registry on Ethereum; the client is to be closed."""
    rpc = RpcClient(devnet.ledgers.ethereum_url, chain_id=devnet.ledgers.plan.chain_id)
    return EthereumRegistry(rpc, devnet.ledgers.site, sender=devnet.ledgers.keys.deployer), rpc


@asynccontextmanager
async def own_fabric(devnet: Devnet) -> AsyncGenerator[tuple[FabricGateway, FabricRegistry]]:
    """A client of a peer of its own, and the registry through it."""
    chaincode = devnet.ledgers.fabric.plan.chaincode
    async with AsyncExitStack() as stack:
        gateway = await stack.enter_async_context(devnet.ledgers.gateway(1))
        registry = FabricRegistry(gateway, lane=devnet.ledgers.fabric_lane, chaincode=chaincode)
        stack.push_async_callback(registry.close)
        yield gateway, registry


async def transact(port: ChainPort, call: bytes) -> None:
    """Send a call and wait until it took effect."""
    prepared = await port.prepare(call, slot=None)
    await port.send(prepared)

    async def is_there() -> bool:
        status = await port.status(prepared)
        assert not isinstance(status, Reverted), status
        return isinstance(status, Included)

    await until(is_there, what="transaction included")


# --- the judgement


async def histories(devnet: Devnet) -> tuple[LaneHistory, ...]:
    """What both ledgers say, read through connections of its own: no process of ours is asked."""
    connections = Connections(devnet.network, token=None)
    try:
        return tuple(
            [
                await read_history(connections.reader(name), name=name, funds=devnet.funds[name])
                for name in devnet.network.lanes
            ]
        )
    finally:
        await connections.close()


async def judge(devnet: Devnet, expected: Mapping[PublicationId, State]) -> None:
    """All rules of the audit hold, everything has ended as expected, and each effect is there exactly once."""
    told = await _final_histories(devnet, expected)
    assert audit(told, finished=Completeness(frozenset(h.lane for h in told))) == ()
    for identifier, state in expected.items():
        states = {h.name: h.records[identifier].state for h in told if identifier in h.records}
        assert states and set(states.values()) == {state}, states
        _check_effects(told, identifier, state)
    await _check_marks(devnet, told, expected)


async def _final_histories(devnet: Devnet, expected: Mapping[PublicationId, State]) -> tuple[LaneHistory, ...]:
    # The outcome at home has to be final before its history shows it.
    found: list[tuple[LaneHistory, ...]] = []

    async def is_final() -> bool:
        found[:] = [await histories(devnet)]
        decided = {i.event.subject for h in found[0] for i in h.items if i.event.kind == Kind.OUTCOME}
        return set(expected) <= decided

    await until(is_final, what="outcomes are final")
    return found[0]


def _check_effects(told: Sequence[LaneHistory], identifier: PublicationId, state: State) -> None:
    # One lock per registry, one outcome at home, by the events that the registries numbered.
    for history in told:
        if identifier not in history.records:
            continue
        kinds = Counter(Kind(i.event.kind).name for i in history.items if i.event.subject == identifier)
        if history.records[identifier].role is Role.MIRROR:
            allowed = ({"LOCKED": 1}, {"REFUSED": 1})
        elif state is State.COMMITTED:
            allowed = ({"LOCKED": 1, "OUTCOME": 1},)
        else:
            # Home also aborts what it has never locked.
            allowed = ({"LOCKED": 1, "OUTCOME": 1}, {"OUTCOME": 1})
        assert dict(kinds) in allowed, (history.name, identifier.hex(), kinds)


async def _check_marks(devnet: Devnet, told: Sequence[LaneHistory], expected: Mapping[PublicationId, State]) -> None:
    # What decided and what was carried bears the mark of having been applied at the other registry.
    for source in told:
        for item in source.items:
            state = expected.get(PublicationId(item.event.subject))
            if state is None:
                continue
            for target in told:
                record = target.records.get(PublicationId(item.event.subject))
                if target is source or record is None:
                    continue
                carried = item.event.kind == Kind.OUTCOME or (
                    item.event.kind == Kind.LOCKED and record.role is Role.HOME and state is State.COMMITTED
                )
                if carried:
                    port = devnet.connections.reader(target.name)
                    assert await port.is_marked(source.lane, Generation(1), item.sequence), (source.name, item.sequence)
