"""The relay, or one validator, killed at each persisted step of a publication on real ledgers: one outcome, once.

The steps are those of the code. A step without a case here and without a reason in `NO_PUBLICATION` fails a test.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from caimi.apps.devnet.faucet import fund_fabric
from caimi.apps.key_files import open_key
from caimi.apps.process_config import EthereumLane, RelayConfig, read_config
from caimi.chains.ethereum.fees import FeePolicy
from caimi.chains.ethereum.jsonrpc import RpcClient
from caimi.chains.ethereum.registry import EthereumRegistry
from caimi.crypto.ecdsa import SigningKey
from caimi.ports.attestation_store import ValidatorStep
from caimi.ports.key_vault import KeyStep
from caimi.ports.relay_store import RelayStep
from caimi.protocol.audit import LaneHistory, audit
from caimi.protocol.publication import Role, State
from caimi.sdk.publishing import SignedPublication
from caimi.types.primitives import Bytes32
from tests.crash.devnet_fixture import Devnet, until
from tests.crash.lying_node import Lie, LyingNode
from tests.crash.publications import (
    NOWHERE,
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

Ended = dict[SignedPublication, State]
Scene = Callable[[Devnet, Path], Awaitable[Ended]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One process that dies at one step of what a scene does."""

    process: str
    step: RelayStep | ValidatorStep
    scene: Scene

    def __str__(self) -> str:
        return f"{self.step.value}-{self.scene.__name__.strip('_')}"


async def _died(record: Path) -> None:
    await until(record.exists, what=f"{record.name}: the step was reached")


async def _one(devnet: Devnet, record: Path, home: str, mirror: str) -> Ended:
    signed = await signed_publication(devnet, home, mirror)
    await submit(devnet, signed)
    return {signed: State.COMMITTED}


async def _from_fabric(devnet: Devnet, record: Path) -> Ended:
    return await _one(devnet, record, "fabric", "ethereum")


async def _from_ethereum(devnet: Devnet, record: Path) -> Ended:
    return await _one(devnet, record, "ethereum", "fabric")


async def _aborting(devnet: Devnet, record: Path) -> Ended:
    signed = await signed_publication(devnet, "ethereum", "fabric", NOWHERE, deadline_s=30)
    await submit(devnet, signed)
    return {signed: State.ABORTED}


async def _found(devnet: Devnet, record: Path) -> Ended:
    # Locked on both ledgers by somebody else: the relay never gets the signed bytes, and has to learn the deadline.
    signed = await signed_publication(devnet, "ethereum", "fabric", NOWHERE, deadline_s=30)
    ethereum, rpc = other_ethereum(devnet)
    async with rpc:
        await transact(ethereum, lock_call(signed))
    async with own_fabric(devnet) as (_, fabric):
        await transact(fabric, lock_call(signed))
    return {signed: State.ABORTED}


async def _elsewhere(devnet: Devnet, record: Path) -> Ended:
    # Somebody else has just locked it on the mirror, in a block that is not final yet.
    signed = await signed_publication(devnet, "fabric", "ethereum")
    ethereum, rpc = other_ethereum(devnet)
    async with rpc:
        await transact(ethereum, lock_call(signed))
        await submit(devnet, signed)
    return {signed: State.COMMITTED}


async def _slot_taken(devnet: Devnet, record: Path) -> Ended:
    # Somebody uses the relay's own account, and pays more: the relay's transactions lose their slots.
    signed = await signed_publication(devnet, "fabric", "ethereum")
    rivals: list[SignedPublication] = []
    async with AsyncExitStack() as stack:
        rogue = await _rogue(devnet, stack)
        submitting = asyncio.create_task(submit(devnet, signed))
        reached = asyncio.create_task(_died(record))
        while not reached.done():
            rivals.append(await signed_publication(devnet, "fabric", "ethereum"))
            await rogue.send(await rogue.prepare(lock_call(rivals[-1]), slot=None))
            await asyncio.sleep(0.5)
        await reached
        await submitting
    for rival in rivals:
        await submit(devnet, rival)
    return dict.fromkeys((signed, *rivals), State.COMMITTED)


async def _rogue(devnet: Devnet, stack: AsyncExitStack) -> EthereumRegistry:
    config = read_config(RelayConfig, devnet.home / "processes" / "relay" / "config.json")
    lane = next(lane for lane in config.lanes if isinstance(lane, EthereumLane))
    assert lane.sender is not None
    rpc = RpcClient(devnet.ledgers.ethereum_url, chain_id=devnet.ledgers.plan.chain_id)
    stack.push_async_callback(rpc.close)
    sender = open_key(lane.sender)
    return EthereumRegistry(rpc, devnet.ledgers.site, sender=sender, fees=FeePolicy(smallest_tip=10**12))


async def _funded_late(devnet: Devnet, record: Path) -> Ended:
    # Home cannot take the deposit yet: the call waits.
    account = SigningKey.from_entropy(Bytes32(os.urandom(32)))
    signed = await signed_publication(devnet, "fabric", "ethereum", account=account)
    await submit(devnet, signed)
    await _died(record)
    devnet.funds["fabric"][account.address] = 5_000
    await fund_fabric(devnet.ledgers, account, 5_000)
    return {signed: State.COMMITTED}


async def _name_taken(devnet: Devnet, record: Path) -> Ended:
    first = await signed_publication(devnet, "ethereum", "fabric", name=f"taken-{os.urandom(6).hex()}")
    await submit(devnet, first)
    await settle(devnet, first, State.COMMITTED)
    second = await signed_publication(devnet, "ethereum", "fabric", name=first.publication.name, deadline_s=30)
    await submit(devnet, second)
    return {first: State.COMMITTED, second: State.ABORTED}


async def _contradicted(devnet: Devnet, record: Path) -> Ended:
    # The relay's Ethereum node shows it false events; a quorum of validators does not.
    with LyingNode(devnet.ledgers.ethereum_url) as node:
        try:
            await _relay_reads(devnet, node.url)
            node.lie = Lie.EVENTS
            signed = await signed_publication(devnet, "fabric", "ethereum")
            await submit(devnet, signed)
            await _died(record)
            node.lie = Lie.NONE
            await settle(devnet, signed, State.COMMITTED)
        finally:
            await _relay_reads(devnet, devnet.ledgers.ethereum_url)
    return {signed: State.COMMITTED}


async def _relay_reads(devnet: Devnet, url: str) -> None:
    def from_there(config: dict[str, Any]) -> None:
        for lane in config["lanes"]:
            if lane["kind"] == "ethereum":
                lane["endpoints"] = [url]

    devnet.configure("relay", from_there)
    await devnet.restart("relay")


# Steps that every publication takes; home alternates.
_COMMON = (
    RelayStep.ACCEPTED,
    RelayStep.PREPARED,
    RelayStep.SENT,
    RelayStep.INCLUDED,
    RelayStep.DONE,
    RelayStep.FOLLOWED,
    RelayStep.CARRIED,
    RelayStep.PASSED,
    ValidatorStep.INDEXED,
    ValidatorStep.ATTESTED,
)
# Steps that need something to happen.
_SPECIAL: dict[RelayStep, Scene] = {
    RelayStep.ABORT_QUEUED: _aborting,
    RelayStep.WATCHED: _found,
    RelayStep.ELSEWHERE: _elsewhere,
    RelayStep.RETRIED: _slot_taken,
    RelayStep.POSTPONED: _funded_late,
    RelayStep.REFUSED: _name_taken,
    RelayStep.REWOUND: _contradicted,
}
NO_PUBLICATION: dict[RelayStep | ValidatorStep | KeyStep, str] = {
    RelayStep.SPLIT: "a run of this network always fits a transaction; tests/unit/relay/test_crash_points.py",
    RelayStep.RECERTIFIED: "there is one epoch; tests/unit/relay/test_crash_points.py",
    RelayStep.REPRICED: "the devnet's Ethereum takes every price; tests/unit/relay/test_crash_points.py",
    RelayStep.FILLED: "the ledger has to forget a final transaction; tests/unit/relay/test_crash_points.py",
    RelayStep.ABANDONED: "a step of batches; tests/unit/relay/test_crash_points.py",
    RelayStep.TAKE_OUTS_QUEUED: "a step of batches; tests/unit/relay/test_crash_points.py",
    ValidatorStep.REWOUND: "the chain has to take back final blocks; tests/unit/validator/test_attestor.py",
    ValidatorStep.HALTED: "the chain has to take back final blocks; tests/unit/validator/test_attestor.py",
    KeyStep.VAULT_MADE: "before the first publication; tests/unit/validator/test_keygen.py",
    KeyStep.GENERATION_STATE: "before the first publication; tests/unit/validator/test_keygen.py",
    KeyStep.SHARE_STORED: "before the first publication; tests/unit/validator/test_keygen.py",
    KeyStep.RELEASE_RECORDED: "a step of inference",
}


def _process(step: RelayStep | ValidatorStep) -> str:
    return "relay" if isinstance(step, RelayStep) else "validator-2"


def _case(step: RelayStep | ValidatorStep, scene: Scene) -> Case:
    return Case(process=_process(step), step=step, scene=scene)


_QUICK = (
    _case(RelayStep.PREPARED, _from_fabric),
    _case(RelayStep.SENT, _from_ethereum),
    _case(RelayStep.CARRIED, _from_fabric),
    _case(ValidatorStep.INDEXED, _from_fabric),
    _case(ValidatorStep.ATTESTED, _from_ethereum),
    _case(RelayStep.ABORT_QUEUED, _aborting),
)
_ALL = (
    *(_case(step, scene) for step in _COMMON for scene in (_from_fabric, _from_ethereum, _aborting)),
    *(_case(step, scene) for step, scene in _SPECIAL.items()),
)


def test_every_persisted_step_has_a_case_or_a_reason() -> None:
    steps = {*RelayStep, *ValidatorStep, *KeyStep}
    reached = {case.step for case in _ALL}
    assert reached | set(NO_PUBLICATION) == steps
    assert not reached & set(NO_PUBLICATION)
    assert set(_QUICK) <= set(_ALL)


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=() if case in _QUICK else (pytest.mark.slow,)) for case in _ALL], ids=str
)
def test_killed_there_it_ends_once_and_in_one_way(devnet: Devnet, case: Case) -> None:
    async def scenario() -> None:
        record = await devnet.arm(case.process, case.step.value)
        ended = await case.scene(devnet, record)
        await _died(record)
        for signed, state in ended.items():
            await settle(devnet, signed, state)
        await judge(devnet, {signed.id: state for signed, state in ended.items()})

    devnet.run(scenario())


def test_the_judge_finds_a_split_and_a_double_refund_planted_into_these_very_histories(devnet: Devnet) -> None:
    told = devnet.run(histories(devnet))
    assert audit(told) == ()
    assert {f.rule for f in audit(_with_a_split(told))} == {"split"}
    assert {f.rule for f in audit(_with_a_double_refund(told))} == {"money"}


def _with_a_split(told: Sequence[LaneHistory]) -> tuple[LaneHistory, ...]:
    # A mirror says ABORTED of what home has committed.
    changed: list[LaneHistory] = []
    done = False
    for history in told:
        records = dict(history.records)
        for identifier, record in history.records.items():
            if not done and record.role is Role.MIRROR and record.state is State.COMMITTED:
                records[identifier] = replace(record, state=State.ABORTED)
                done = True
        changed.append(replace(history, records=records))
    assert done
    return tuple(changed)


def _with_a_double_refund(told: Sequence[LaneHistory]) -> tuple[LaneHistory, ...]:
    # The deposit of an aborted publication has come back twice.
    changed: list[LaneHistory] = []
    done = False
    for history in told:
        accounts = dict(history.accounts)
        for record in history.records.values():
            refunded = record.role is Role.HOME and record.state is State.ABORTED
            if refunded and not done:
                money = accounts[record.publisher]
                accounts[record.publisher] = replace(money, balance=money.balance + 1_000)
                done = True
        changed.append(replace(history, accounts=accounts))
    assert done
    return tuple(changed)
