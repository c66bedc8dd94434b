"""The real Fabric network under the supervisor, and the client against it: one network for all tests, in this order."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from toolchain.cache import Cache, default_root
from toolchain.golang import Go

from caimi.chains.fabric.blocks import FabricBlock, genesis_block_hash
from caimi.chains.fabric.bringup import BringUpStep, ChannelPlan, bring_up
from caimi.chains.fabric.client import FabricGateway
from caimi.chains.fabric.deliver import BlockStream
from caimi.chains.fabric.errors import (
    ChaincodeRefusal,
    CommitConflict,
    CommitError,
    DeliverRefused,
    EndorseError,
    EndorseUnavailable,
    FabricError,
    LifecycleError,
    ProposalTimeRefused,
    ValidationCode,
)
from caimi.chains.fabric.identity import FabricIdentity, load_identity
from caimi.chains.fabric.lifecycle import ChaincodeDefinition, PrivateCollection
from caimi.chains.fabric.transaction import Committed, Invalid, Unknown
from caimi.devnet.fabric.generate import generate_network, load_network
from caimi.devnet.fabric.network import CHANNEL, FabricBinaries, FabricNetwork, FabricPlan, FabricPorts
from caimi.devnet.fabric.processes import fabric_processes
from caimi.devnet.ports import choose_ports
from caimi.devnet.supervisor import Supervisor
from caimi.devnet.toolchain import load_toolchain
from caimi.types.failure import Retry

pytestmark = [pytest.mark.devnet, pytest.mark.timeout(240)]

_REPOSITORY = Path(__file__).parents[2]
_SECOND_NS = 1_000_000_000


def _plan(network: FabricNetwork) -> ChannelPlan:
    made = network.plan.collection
    partials = PrivateCollection(
        name=made.name,
        members=network.organisations,
        block_to_live=made.block_to_live,
        required_peers=made.required_peers,
        maximum_peers=made.maximum_peers,
    )
    definition = ChaincodeDefinition(
        name=network.plan.chaincode,
        version=network.plan.chaincode_version,
        sequence=1,
        organisations=network.organisations,
        endorsements=network.plan.endorsements,
        collections=(partials,),
    )
    return ChannelPlan(
        channel=CHANNEL,
        genesis_block=network.genesis_block.read_bytes(),
        package=network.package.read_bytes(),
        package_id=network.package_id,
        definition=definition,
        probe=("version",),
    )


@dataclass(slots=True, kw_only=True)
class Devnet:
    """The network, its supervisor and the loop in which both live."""

    network: FabricNetwork
    binaries: FabricBinaries
    runner: asyncio.Runner
    supervisor: Supervisor
    seconds: dict[str, float] = field(default_factory=dict[str, float])

    def run(self, act: Callable[[], Any]) -> Any:
        return self.runner.run(act())

    async def up(self, *, progress: Callable[[BringUpStep, str], None] | None = None) -> None:
        await bring_up(_plan(self.network), orderers=self.network.orderers, peers=self.network.peers, progress=progress)

    async def start(self) -> None:
        await self.supervisor.open()
        logs = self.network.root / "logs"
        await self.supervisor.start(fabric_processes(self.network, self.binaries, logs=logs))

    def identity(self, number: int = 0) -> FabricIdentity:
        files = self.network.peers[number].client(1)
        return load_identity(files.msp_id, files.certificate, files.key)

    @contextlib.asynccontextmanager
    async def gateway(self, number: int = 0, identity: FabricIdentity | None = None) -> AsyncGenerator[FabricGateway]:
        peer = self.network.peers[number]
        who = identity or self.identity(number)
        async with FabricGateway.connect(peer.endpoint, peer.tls_ca.read_bytes(), who, CHANNEL) as gateway:
            yield gateway

    async def blocks(self, gateway: FabricGateway, count: int) -> list[FabricBlock]:
        found: list[FabricBlock] = []
        stream = BlockStream(gateway.transport, identity=gateway.identity, channel=CHANNEL)
        async with contextlib.aclosing(stream.blocks(0)) as blocks:
            async for block in blocks:
                found.append(block)
                if len(found) == count:
                    break
        return found


@pytest.fixture(scope="module")
def chaincode(tmp_path_factory: pytest.TempPathFactory) -> Path:
    environment = dict(os.environ)
    go = Go(_REPOSITORY, Cache(default_root(environment), say=print), environment)
    output = tmp_path_factory.mktemp("chaincode") / "chaincode"
    module = Path(__file__).parent / "fixtures" / "chaincode"
    command = [go.program, "build", "-ldflags", "-s -w", "-o", output, "."]
    subprocess.run(command, cwd=module, env=go.environment, check=True, timeout=200)
    return output


@pytest.fixture(scope="module")
def devnet(tmp_path_factory: pytest.TempPathFactory, chaincode: Path) -> Iterator[Devnet]:
    home = tmp_path_factory.mktemp("home")
    binaries = FabricBinaries.in_folder(load_toolchain().fabric_bin)
    begin = time.monotonic()
    plan = FabricPlan(ports=FabricPorts.from_list(choose_ports(FabricPorts.COUNT, order=random.Random())))
    network = generate_network(home / "fabric", plan, binaries=binaries, chaincode=chaincode)
    with asyncio.Runner() as runner:
        made = Devnet(network=network, binaries=binaries, runner=runner, supervisor=Supervisor(home))
        try:
            made.run(made.start)
            made.seconds["listening"] = time.monotonic() - begin
            yield made
        finally:
            made.run(made.supervisor.stop)


async def _retried(act: Callable[[], Any], *, within_s: float) -> Any:
    deadline = time.monotonic() + within_s
    while True:
        try:
            return await act()
        except FabricError as error:
            if error.retry is Retry.NEVER or time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.1)


class _Killed(Exception):
    pass


def test_a_bring_up_killed_after_any_step_converges_when_run_again(devnet: Devnet) -> None:
    seen: set[BringUpStep] = set()

    def kill_once(step: BringUpStep, node: str) -> None:
        if step not in seen:
            seen.add(step)
            raise _Killed(f"{step} {node}")

    # Nodes work side by side, so one run may reach two new steps before it is gone.
    while seen != set(BringUpStep):
        with pytest.raises(_Killed):
            devnet.run(lambda: devnet.up(progress=kill_once))
    reported: list[tuple[BringUpStep, str]] = []
    devnet.run(lambda: devnet.up(progress=lambda step, node: reported.append((step, node))))
    assert len(reported) == 4 + 4 + 4 + 4 + 1 + 4

    async def sequence() -> None:
        async with devnet.gateway() as gateway:
            committed = [
                transaction
                for block in await devnet.blocks(gateway, (await gateway.chain_info()).height)
                for transaction in block.transactions
                if transaction.chaincode == "_lifecycle" and transaction.is_valid
            ]
            # Four approvals and one commit, although every step was begun again many times.
            assert len(committed) == 5

    devnet.run(sequence)


def test_a_change_is_committed_and_readable_at_every_peer(devnet: Devnet) -> None:
    async def act() -> None:
        async with devnet.gateway() as gateway:
            prepared = gateway.prepare("caimi", "put", ["k", "v"])
            assert isinstance(await gateway.status_of(prepared.tx_id, timeout_s=0.3), Unknown)
            committed = await gateway.send(prepared)
            assert (committed.tx_id, committed.result) == (prepared.tx_id, b"v")
            assert await gateway.status_of(prepared.tx_id) == replace(committed, result=None)
        for number in range(4):
            async with devnet.gateway(number) as gateway:
                assert isinstance(await gateway.commit_status(prepared.tx_id), Committed)
                assert await gateway.evaluate("caimi", "get", ["k"]) == b"v"

    devnet.run(act)


def test_a_refusal_of_the_chaincode_arrives_as_code_and_text(devnet: Devnet) -> None:
    async def act() -> None:
        async with devnet.gateway() as gateway:
            before = await gateway.chain_info()
            for call in (gateway.evaluate, gateway.submit_transaction):
                with pytest.raises(ChaincodeRefusal) as caught:
                    await call("caimi", "refuse", ["NameTaken", "m1: taken"])
                assert (caught.value.code, caught.value.message) == ("NameTaken", "m1: taken")
            assert await gateway.chain_info() == before

    devnet.run(act)


@pytest.mark.parametrize("offset_s", [-32, 32, -3600, 3600])
def test_a_proposal_from_outside_the_window_is_refused_by_the_endorsers(devnet: Devnet, offset_s: int) -> None:
    async def act() -> None:
        async with devnet.gateway() as gateway:
            at_ns = time.time_ns() + offset_s * _SECOND_NS
            for organisations in ([], ["Org2MSP", "Org3MSP"]):
                prepared = gateway.prepare("caimi", "put", ["late", "x"], timestamp_ns=at_ns)
                with pytest.raises(ProposalTimeRefused):
                    await gateway.endorse(prepared, organisations=organisations)
            assert await gateway.evaluate("caimi", "get", ["late"]) == b""

    devnet.run(act)


@pytest.mark.parametrize("offset_s", [-26, 0, 26])
def test_the_timestamp_within_the_window_is_the_clock_of_the_chaincode(devnet: Devnet, offset_s: int) -> None:
    async def act() -> None:
        async with devnet.gateway() as gateway:
            at_ns = time.time_ns() + offset_s * _SECOND_NS
            committed = await gateway.send(gateway.prepare("caimi", "time", timestamp_ns=at_ns))
            assert committed.result == str(at_ns).encode()

    devnet.run(act)


def test_endorsements_of_one_organisation_are_not_enough(devnet: Devnet) -> None:
    async def act() -> None:
        async with devnet.gateway() as gateway:
            prepared = gateway.prepare("caimi", "put", ["alone", "x"])
            with pytest.raises(CommitError) as caught:
                await gateway.send(prepared, organisations=["Org1MSP"])
            assert caught.value.code is ValidationCode.ENDORSEMENT_POLICY_FAILURE
            assert await gateway.status_of(prepared.tx_id) == Invalid(
                tx_id=prepared.tx_id, block_number=caught.value.block_number, code=caught.value.code
            )
            assert await gateway.evaluate("caimi", "get", ["alone"]) == b""

    devnet.run(act)


def test_changes_of_one_key_in_one_block_conflict_and_blind_ones_do_not(devnet: Devnet) -> None:
    async def act() -> None:
        async with devnet.gateway() as gateway:
            conflicting = await asyncio.gather(
                *(gateway.submit_transaction("caimi", "add", ["n"]) for _ in range(8)), return_exceptions=True
            )
            # Endorsers at different heights read different values: then there is nothing to order.
            apart = [outcome for outcome in conflicting if isinstance(outcome, EndorseUnavailable)]
            lost = [outcome for outcome in conflicting if isinstance(outcome, CommitConflict)]
            won = [outcome for outcome in conflicting if isinstance(outcome, Committed)]
            assert len(apart) + len(lost) + len(won) == 8, conflicting
            assert lost
            assert {outcome.retry for outcome in (*apart, *lost)} == {Retry.SAFE}
            assert int(await gateway.evaluate("caimi", "get", ["n"])) == len(won)
            blind = await asyncio.gather(
                *(gateway.submit_transaction("caimi", "put", [f"b{n}", "x"]) for n in range(50))
            )
            assert len(blind) == 50

    devnet.run(act)


def test_private_data_reaches_all_members_and_the_ledger_never_holds_it(devnet: Devnet) -> None:
    secret = b"sealed partial 7f3a"

    async def act() -> None:
        async with devnet.gateway() as gateway:
            committed = await gateway.submit_transaction("caimi", "putPrivate", ["p"], {"value": secret})
            for number in range(4):
                async with devnet.gateway(number) as other:
                    await other.commit_status(committed.tx_id)
                    assert await other.evaluate("caimi", "getPrivate", ["p"]) == secret
            assert committed.block_number < (await gateway.chain_info()).height

    devnet.run(act)
    ledgers = [path for path in (devnet.network.root / "data").glob("orderer*/ledger/**/*") if path.is_file()]
    assert ledgers
    assert not any(secret in path.read_bytes() for path in ledgers)


def test_the_blocks_of_all_peers_are_one_chain_from_the_genesis_block(devnet: Devnet) -> None:
    async def act() -> None:
        chains: list[list[FabricBlock]] = []
        async with devnet.gateway(0) as gateway:
            head = await gateway.chain_info()
            for number in range(4):
                async with devnet.gateway(number) as other:
                    chains.append(await devnet.blocks(other, head.height))
        assert all(chain == chains[0] for chain in chains)
        assert chains[0][0].hash == genesis_block_hash(devnet.network.genesis_block.read_bytes())
        assert chains[0][-1].hash == head.head_hash
        transactions = [transaction for block in chains[0] for transaction in block.transactions]
        events = [transaction.event for transaction in transactions if transaction.event is not None]
        assert {(event.chaincode, event.name) for event in events} == {("caimi", "Put")}
        assert [event.payload for event in events].count(b"k") == 1
        assert any(transaction.code is ValidationCode.MVCC_READ_CONFLICT for transaction in transactions)

    devnet.run(act)


def test_a_stranger_reads_and_writes_nothing(devnet: Devnet) -> None:
    async def act() -> None:
        files = devnet.network.peers[0].client(1)
        # Org1's certificate with the key of another organisation's member.
        key = devnet.network.peers[1].client(1).key
        stranger = load_identity(files.msp_id, files.certificate, key)
        async with devnet.gateway(identity=stranger) as gateway:
            with pytest.raises(EndorseError) as caught:
                await gateway.submit_transaction("caimi", "put", ["s", "x"])
            assert caught.value.retry is Retry.NEVER
            with pytest.raises(DeliverRefused):
                await devnet.blocks(gateway, 1)

    devnet.run(act)


def test_killed_nodes_come_back_and_nothing_is_lost(devnet: Devnet) -> None:
    async def act() -> None:
        seen: list[FabricBlock] = []
        queue: asyncio.Queue[FabricBlock] = asyncio.Queue()

        async def follow(gateway: FabricGateway) -> None:
            stream = BlockStream(gateway.transport, identity=gateway.identity, channel=CHANNEL)
            async with contextlib.aclosing(stream.blocks(0)) as blocks:
                async for block in blocks:
                    await queue.put(block)

        async with devnet.gateway(1) as gateway, devnet.gateway(0) as other:
            follower = asyncio.create_task(follow(gateway))
            for name in ("fabric-peer2", "fabric-orderer1", "fabric-orderer2"):
                child = devnet.supervisor.children[name]
                os.kill(child.pid or 0, signal.SIGKILL)
                begin = time.monotonic()
                await _retried(lambda: other.submit_transaction("caimi", "put", ["k", "w"]), within_s=20)
                devnet.seconds[f"{name} killed, next commit"] = time.monotonic() - begin
                await asyncio.sleep(0.5)
                await devnet.supervisor.wait_healthy(name)
                assert child.restarts == 1
            last = await _retried(lambda: gateway.submit_transaction("caimi", "put", ["k", "z"]), within_s=20)
            while len(seen) <= last.block_number:
                async with asyncio.timeout(20):
                    seen.append(await queue.get())
            follower.cancel()
            assert [block.number for block in seen] == list(range(len(seen)))
            assert await gateway.evaluate("caimi", "get", ["k"]) == b"z"

    devnet.run(act)


def test_a_warm_restart_keeps_everything(devnet: Devnet) -> None:
    async def head() -> Any:
        async with devnet.gateway() as gateway:
            return await gateway.chain_info()

    async def again() -> None:
        await devnet.supervisor.stop()
        devnet.network = load_network(devnet.network.root)
        begin = time.monotonic()
        await devnet.start()
        await devnet.up()
        devnet.seconds["warm restart"] = time.monotonic() - begin
        async with devnet.gateway() as gateway:
            assert await gateway.chain_info() == before
            assert await gateway.evaluate("caimi", "get", ["k"]) == b"z"
            await gateway.submit_transaction("caimi", "put", ["k", "after"])

    before = devnet.run(head)
    devnet.run(again)
    print(devnet.seconds)


def test_another_definition_over_this_state_is_refused(devnet: Devnet) -> None:
    plan = _plan(devnet.network)
    other = replace(plan, definition=replace(plan.definition, endorsements=3))
    with pytest.raises(LifecycleError, match="another definition"):
        devnet.run(lambda: bring_up(other, orderers=devnet.network.orderers, peers=devnet.network.peers, timeout_s=20))
