"""What a block of the real network holds: unrelated calls do not hinder one another, long runs fit into one call."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import pytest

from caimi.chains.fabric.client import FabricGateway
from caimi.chains.fabric.transaction import Committed, Invalid
from caimi.protocol.publication import AbortReason, State
from caimi.types.primitives import UnixSeconds
from caimi.types.records import Event, Funding, Kind, Mint
from caimi.wire.codec import abi_type, encode_values
from caimi.wire.digests import network_id, typed_digest
from caimi.wire.functions import encode_body, encode_call
from caimi.wire.keccak import keccak256
from tests.conformance.scenario import ELSEWHERE, MIN_DEPOSIT, Signer, key, run_call, word
from tests.conformance.test_fabric_chain import ISSUER, FabricSite
from tests.conformance.test_fabric_chain import site as site

pytestmark = [pytest.mark.devnet, pytest.mark.timeout(240)]

_PUBLISHERS = 50
_RUN = 1000


def signer(site: FabricSite, label: str) -> Signer:
    return Signer(network=network_id(site.genesis), key=key(label), label=label)


async def endow(site: FabricSite, gateway: FabricGateway, people: list[Signer], deadline: UnixSeconds) -> None:
    calls: list[bytes] = []
    for person in people:
        nonce = word(f"{person.label} money")
        mint = Mint(at=site.lane, account=person.address, amount=MIN_DEPOSIT, nonce=nonce, deadline=deadline)
        funding = Funding(at=site.lane, account=person.address, amount=MIN_DEPOSIT, nonce=nonce, deadline=deadline)
        minted = ISSUER.sign(typed_digest(person.network, mint)).to_bytes()
        calls += [encode_call("mint", mint, minted), encode_call("fund", funding, person.sign(funding))]
    await gateway.submit_transaction(site.chaincode, "call", [encode_call("multicall", tuple(calls))])


async def at_once(site: FabricSite, gateway: FabricGateway, calls: list[bytes]) -> list[Committed | Invalid]:
    """All calls are endorsed on one state before the first is ordered."""
    prepared = [gateway.prepare(site.chaincode, "call", [call]) for call in calls]
    endorsed = await asyncio.gather(*(gateway.endorse(p) for p in prepared))
    await asyncio.gather(*(gateway.submit(e) for e in endorsed))
    return await asyncio.gather(*(gateway.commit_status(p.tx_id) for p in prepared))


def soon() -> UnixSeconds:
    return UnixSeconds(int(time.time()) + 3600)


def test_fifty_publishers_lock_at_the_same_time_and_all_are_valid(site: FabricSite) -> None:
    async def act() -> None:
        people = [signer(site, f"publisher {n} of a crowd") for n in range(_PUBLISHERS)]
        calls = [p.lock(p.publication(home=site.lane, mirror=ELSEWHERE, deadline=soon())) for p in people]
        async with site.gateway() as gateway:
            await endow(site, gateway, people, soon())
            outcomes = await at_once(site, gateway, calls)
        assert not [o for o in outcomes if isinstance(o, Invalid)]
        blocks = Counter(o.block_number for o in outcomes)
        assert max(blocks.values()) >= 20, blocks

    site.runner.run(act())


def test_two_locks_with_one_deposit_are_not_both_valid(site: FabricSite) -> None:
    async def act() -> None:
        person = signer(site, "somebody who spends twice")
        calls = [
            person.lock(person.publication(home=site.lane, mirror=ELSEWHERE, deadline=soon(), tag=f".{n}"))
            for n in range(2)
        ]
        async with site.gateway() as gateway:
            await endow(site, gateway, [person], soon())
            outcomes = await at_once(site, gateway, calls)
        assert sorted(type(o).__name__ for o in outcomes) == [Committed.__name__, Invalid.__name__]

    site.runner.run(act())


def outcome_of(site: FabricSite, label: str) -> Event:
    body = encode_body(Kind.OUTCOME, State.COMMITTED, AbortReason.NONE)
    return Event(schema=1, kind=Kind.OUTCOME, destinations=(site.lane,), subject=word(label), body=body)


def test_a_run_of_a_thousand_events_is_one_transaction(site: FabricSite) -> None:
    events = [outcome_of(site, f"subject {n}") for n in range(_RUN)]
    call = run_call(network_id(site.genesis), ELSEWHERE, events)

    async def act() -> None:
        async with site.gateway() as gateway:
            first = await gateway.submit_transaction(site.chaincode, "call", [call])
            again = await gateway.submit_transaction(site.chaincode, "call", [call])
            assert again.block_number > first.block_number
            lane = encode_values(("Lane", "uint64", "uint64"), (ELSEWHERE, 1, _RUN))
            view = keccak256(f"isMarked({abi_type('Lane')},uint64,uint64)".encode())[:4] + lane
            assert int.from_bytes(await gateway.evaluate(site.chaincode, "view", [view]), "big") == 1

    site.runner.run(act())


def test_one_run_from_two_relays_is_applied_once(site: FabricSite) -> None:
    call = run_call(network_id(site.genesis), ELSEWHERE, [outcome_of(site, "raced")], first=_RUN + 1)

    async def act() -> None:
        async with site.gateway() as gateway:
            outcomes = await at_once(site, gateway, [call, call])
        assert sorted(type(o).__name__ for o in outcomes) == [Committed.__name__, Invalid.__name__]

    site.runner.run(act())
