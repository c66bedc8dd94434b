"""Fabric under the real registry: fifty publishers at once, and clocks that lie."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections import Counter

import httpx2
import pytest

from caimi.apps.json_observer import JsonObserver
from caimi.apps.system import SystemClock
from caimi.apps.validator_client import ValidatorClient
from caimi.chains.fabric.board import FabricBoard
from caimi.chains.fabric.client import FabricGateway
from caimi.chains.fabric.errors import ChaincodeRefusal, ProposalTimeRefused
from caimi.chains.fabric.registry import FabricRegistry
from caimi.crypto.ecdsa import SigningKey
from caimi.crypto.quorum import ValidatorSet
from caimi.ports.chain import Included, PreparedCall
from caimi.protocol.publication import State
from caimi.relay.certifier import Certifier, Range, ValidatorPeer
from caimi.sdk.publishing import SignedPublication
from caimi.types.primitives import Bytes32, Epoch, Generation, PublicationId, SignerIndex, UnixSeconds
from caimi.types.records import Funding, Item, Kind, Mint
from caimi.wire.digests import typed_digest
from caimi.wire.functions import encode_call
from tests.crash.devnet_fixture import Devnet, until
from tests.crash.publications import (
    histories,
    judge,
    lock_call,
    other_ethereum,
    own_fabric,
    settle,
    signed_publication,
    submit,
    transact,
)

pytestmark = [pytest.mark.devnet, pytest.mark.timeout(900)]

PUBLISHERS = 50
IN_ONE_BLOCK = 20
_SECOND_NS = 1_000_000_000


async def _funded(devnet: Devnet, count: int, amount: int) -> list[SigningKey]:
    # Each account has just its money: the registry has no account that pays for others.
    network, at = devnet.network.id, devnet.ledgers.fabric_lane
    deadline = UnixSeconds(int(time.time()) + 600)
    keys = [SigningKey.from_entropy(Bytes32(os.urandom(32))) for _ in range(count)]
    calls: list[bytes] = []
    for key in keys:
        mint = Mint(at=at, account=key.address, amount=amount, nonce=Bytes32(os.urandom(32)), deadline=deadline)
        issued = devnet.ledgers.keys.deployer.sign(typed_digest(network, mint)).to_bytes()
        fund = Funding(at=at, account=key.address, amount=amount, nonce=Bytes32(os.urandom(32)), deadline=deadline)
        paid = key.sign(typed_digest(network, fund)).to_bytes()
        calls.append(encode_call("multicall", (encode_call("mint", mint, issued), encode_call("fund", fund, paid))))
        devnet.funds["fabric"][key.address] = amount
    async with own_fabric(devnet) as (gateway, registry):
        board = FabricBoard(gateway, registry, chaincode=devnet.ledgers.fabric.plan.chaincode)
        await asyncio.gather(*(board.post(call) for call in calls))
    return keys


def test_fifty_publishers_lock_at_once_and_nobody_has_to_try_again(devnet: Devnet) -> None:
    async def scenario() -> None:
        keys = await _funded(devnet, PUBLISHERS, 1_000)
        signed = [await signed_publication(devnet, "fabric", "ethereum", account=key) for key in keys]
        async with own_fabric(devnet) as (_, registry):
            prepared = await asyncio.gather(*(registry.prepare(lock_call(s), slot=None) for s in signed))
            # Each is sent once. A read of a key that another one writes would make it invalid.
            await asyncio.gather(*(registry.send(p) for p in prepared))
            heights = Counter([await _height(registry, p) for p in prepared])
        assert sum(heights.values()) == PUBLISHERS
        assert max(heights.values()) >= IN_ONE_BLOCK, heights
        for publication in signed:
            view = await devnet.connections.reader("fabric").publication(publication.id)
            assert view is not None and view.state is State.LOCKED
            assert view.deposit == 1_000
        (fabric,) = [h for h in await histories(devnet) if h.name == "fabric"]
        locked = Counter(i.event.subject for i in fabric.items if i.event.kind == Kind.LOCKED)
        assert all(locked[s.id] == 1 for s in signed)
        assert [i.sequence for i in fabric.items] == list(range(1, len(fabric.items) + 1))
        assert all(fabric.accounts[key.address].balance == 0 for key in keys)
        for publication in signed:
            await submit(devnet, publication)
        for publication in signed:
            await settle(devnet, publication, State.COMMITTED)
        await judge(devnet, {publication.id: State.COMMITTED for publication in signed})

    devnet.run(scenario())


async def _height(registry: FabricRegistry, prepared: PreparedCall) -> int:
    found: list[int] = []

    async def is_valid() -> bool:
        status = await registry.status(prepared)
        if isinstance(status, Included):
            found.append(status.height)
        return bool(found)

    await until(is_valid, what="VALID")
    return found[0]


def test_a_post_dated_abort_and_a_back_dated_commit_are_refused(devnet: Devnet) -> None:
    window = devnet.ledgers.plan.fabric_window_s

    async def scenario() -> None:
        signed = await signed_publication(devnet, "fabric", "ethereum", deadline_s=2 * window + 30)
        deadline = signed.publication.deadline
        # Nobody else may decide meanwhile.
        devnet.signal("relay", signal.SIGSTOP)
        try:
            commit = await _locked_and_certified(devnet, signed)
            async with own_fabric(devnet) as (gateway, _):
                await _post_dated_abort(devnet, gateway, signed.id, deadline)
                assert await _home_state(devnet, signed.id) is State.LOCKED
                await until(lambda: time.time() > deadline + window + 2, what="the deadline is long past")
                await _back_dated_commit(devnet, gateway, commit, deadline)
                assert await _home_state(devnet, signed.id) is State.LOCKED
        finally:
            devnet.signal("relay", signal.SIGCONT)
        await settle(devnet, signed, State.ABORTED)
        await judge(devnet, {signed.id: State.ABORTED})

    devnet.run(scenario())


async def _post_dated_abort(
    devnet: Devnet, gateway: FabricGateway, identifier: PublicationId, deadline: UnixSeconds
) -> None:
    abort = encode_call("abort", identifier)
    assert time.time() + devnet.ledgers.plan.fabric_window_s < deadline
    with pytest.raises(ProposalTimeRefused):
        await _endorse(devnet, gateway, abort, at=deadline + 1)
    # As late as the endorsers take it, it is still before the deadline: the registry itself refuses.
    with pytest.raises(ChaincodeRefusal, match="DeadlineNotPassed"):
        await _endorse(devnet, gateway, abort, at=int(time.time()) + devnet.ledgers.plan.fabric_window_s // 2)


async def _back_dated_commit(devnet: Devnet, gateway: FabricGateway, commit: bytes, deadline: UnixSeconds) -> None:
    with pytest.raises(ProposalTimeRefused):
        await _endorse(devnet, gateway, commit, at=deadline - 1)


async def _endorse(devnet: Devnet, gateway: FabricGateway, call: bytes, *, at: int) -> None:
    chaincode = devnet.ledgers.fabric.plan.chaincode
    await gateway.endorse(gateway.prepare(chaincode, "call", (call,), timestamp_ns=at * _SECOND_NS))


async def _home_state(devnet: Devnet, identifier: PublicationId) -> State | None:
    view = await devnet.connections.reader("fabric").publication(identifier)
    return None if view is None else view.state


async def _locked_and_certified(devnet: Devnet, signed: SignedPublication) -> bytes:
    """Lock on both ledgers without the relay; returns the call that would commit at home."""
    async with own_fabric(devnet) as (_, registry):
        await transact(registry, lock_call(signed))
    ethereum, rpc = other_ethereum(devnet)
    async with rpc:
        await transact(ethereum, lock_call(signed))
    found: list[Item] = []

    async def is_final() -> bool:
        (mirror,) = [h for h in await histories(devnet) if h.name == "ethereum"]
        found[:] = [i for i in mirror.items if i.event.subject == signed.id and i.event.kind == Kind.LOCKED]
        return bool(found)

    await until(is_final, what="locked on the mirror, final")
    return await _certified_run(devnet, found[0])


async def _certified_run(devnet: Devnet, item: Item) -> bytes:
    source = devnet.network.lane("ethereum").lane
    wanted = Range(source=source, generation=Generation(1), first=item.sequence, last=item.sequence)
    calls: list[bytes] = []
    async with httpx2.AsyncClient(timeout=30.0, trust_env=False) as client:
        peers = [
            ValidatorPeer(signer=SignerIndex(site.index - 1), port=ValidatorClient(site.url, client))
            for site in devnet.network.validators
        ]
        certifier = Certifier(devnet.network.id, peers, clock=SystemClock(), observer=JsonObserver("test", sys.stderr))

        async def is_certified() -> bool:
            validators = ValidatorSet.from_genesis(devnet.network.genesis)
            certificate = await certifier.certify(wanted, validators=validators, epoch=Epoch(1))
            calls.append(encode_call("applyRun", certificate, (item,), ()))
            return True

        await until(is_certified, what="certificate of the mirror's lock")
    return calls[0]
