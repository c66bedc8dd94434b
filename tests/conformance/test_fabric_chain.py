"""The Fabric adapter on a real network with the real chaincode, under the suite of all chain ports."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from caimi.chains.fabric.blocks import genesis_block_hash
from caimi.chains.fabric.board import FabricBoard
from caimi.chains.fabric.bringup import ChannelPlan, bring_up
from caimi.chains.fabric.client import FabricGateway
from caimi.chains.fabric.deployment import RegistryPlan, create_registry, registry_lane
from caimi.chains.fabric.identity import load_identity
from caimi.chains.fabric.lifecycle import ChaincodeDefinition, PrivateCollection
from caimi.chains.fabric.registry import FabricRegistry
from caimi.crypto.ecdsa import verify_signer
from caimi.devnet.fabric.generate import generate_network
from caimi.devnet.fabric.network import CHANNEL, CollectionPlan, FabricBinaries, FabricNetwork, FabricPlan, FabricPorts
from caimi.devnet.fabric.processes import fabric_processes
from caimi.devnet.ports import choose_ports
from caimi.devnet.supervisor import Supervisor
from caimi.devnet.toolchain import load_toolchain
from caimi.protocol.batches import MAX_BATCH
from caimi.protocol.publication import Role, State
from caimi.protocol.registry_state import Limits
from caimi.types import errors as e
from caimi.types.primitives import Bytes32, Epoch, UnixSeconds, bytes32
from caimi.types.records import BoardPost, Funding, Genesis, HostKey, Lane, LeaseRequest, Mint, PartialPost
from caimi.wire.digests import network_id, typed_digest
from caimi.wire.functions import encode_call
from caimi.wire.keccak import keccak256
from tests.conformance.batch_contract import at_home
from tests.conformance.chain_contract import ChainPortContract
from tests.conformance.chain_world import HOUR, World
from tests.conformance.scenario import CLOCK_WINDOW, MIN_DEPOSIT, OPERATOR, VALIDATORS, Signer, genesis, key, word

pytestmark = [pytest.mark.devnet, pytest.mark.timeout(240)]

ISSUER = key("token issuer")


def _channel_plan(network: FabricNetwork) -> ChannelPlan:
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


@dataclasses.dataclass(slots=True, kw_only=True)
class FabricSite:
    """A running network with a created registry."""

    network: FabricNetwork
    genesis: Genesis
    lane: Lane
    runner: asyncio.Runner
    """All scenes run in its loop: the gRPC library does not like to see several."""

    def gateway(self, organisation: int = 0, *, endpoint: str | None = None) -> FabricGateway:
        """A client of one organisation's peer."""
        peer = self.network.peers[organisation]
        files = peer.client(1)
        identity = load_identity(files.msp_id, files.certificate, files.key)
        return FabricGateway.connect(endpoint or peer.endpoint, peer.tls_ca.read_bytes(), identity, CHANNEL)

    @property
    def chaincode(self) -> str:
        """Name of the registry's chaincode."""
        return self.network.plan.chaincode


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FabricSite]:
    """One network for all tests: they share its registry and tell their things apart by labels."""
    with running_site(tmp_path_factory.mktemp("fabric"), CollectionPlan()) as made:
        yield made


@contextmanager
def running_site(home: Path, collection: CollectionPlan) -> Generator[FabricSite]:
    """A network of its own with a created registry, gone at the end."""
    tools = load_toolchain()
    binaries = FabricBinaries.in_folder(tools.fabric_bin)
    ports = FabricPorts.from_list(choose_ports(FabricPorts.COUNT, order=random.Random()))
    plan = FabricPlan(ports=ports, collection=collection)
    network = generate_network(home / "network", plan, binaries=binaries, chaincode=tools.chaincode)
    root = bytes32(genesis_block_hash(network.genesis_block.read_bytes()))
    with asyncio.Runner() as runner:
        supervisor = Supervisor(home)
        made = FabricSite(
            network=network,
            genesis=genesis(root),
            lane=registry_lane(root, channel=CHANNEL, chaincode=network.plan.chaincode),
            runner=runner,
        )

        async def start() -> None:
            await supervisor.open()
            await supervisor.start(fabric_processes(network, binaries, logs=home / "logs"))
            await bring_up(_channel_plan(network), orderers=network.orderers, peers=network.peers)
            async with made.gateway() as gateway:
                await create_registry(gateway, registry_plan(made), lane=made.lane, chaincode=made.chaincode)

        try:
            runner.run(start())
            yield made
        finally:
            runner.run(supervisor.stop())


def registry_plan(site: FabricSite) -> RegistryPlan:
    """What the registry of the tests is created with."""
    return RegistryPlan(
        genesis=site.genesis,
        min_deposit=MIN_DEPOSIT,
        clock_window=CLOCK_WINDOW,
        limits=Limits(),
        token_issuer=ISSUER.address,
    )


@asynccontextmanager
async def fabric_world(site: FabricSite, label: str) -> AsyncGenerator[World]:
    """The shared registry, with fresh connections."""
    async with AsyncExitStack() as stack:

        async def port(organisation: int = 0, *, lane: Lane = site.lane, endpoint: str | None = None) -> FabricRegistry:
            gateway = await stack.enter_async_context(site.gateway(organisation, endpoint=endpoint))
            made = FabricRegistry(gateway, lane=lane, chaincode=site.chaincode)
            stack.push_async_callback(made.close)
            return made

        readers = [await port(1) for _ in range(3)]

        async def advance() -> None:
            # A block comes when there is something to put into it.
            await asyncio.sleep(0.02)

        good = await port()
        world = World(
            label=label,
            network=network_id(site.genesis),
            port=good,
            rival=await port(1),
            reader=readers.pop,
            unreachable=await port(endpoint="127.0.0.1:1"),
            foreign=await port(lane=dataclasses.replace(site.lane, chain=word("another channel"))),
            advance=advance,
            endow=lambda account, amount: _endow(world, account, amount),
        )
        yield world


async def _endow(world: World, account: Signer, amount: int) -> None:
    deadline = UnixSeconds(await world.now() + HOUR)
    nonce = word(f"{account.label} money")
    mint = Mint(at=world.lane, account=account.address, amount=amount, nonce=nonce, deadline=deadline)
    funding = Funding(at=world.lane, account=account.address, amount=amount, nonce=nonce, deadline=deadline)
    minted = ISSUER.sign(typed_digest(world.network, mint)).to_bytes()
    calls = (encode_call("mint", mint, minted), encode_call("fund", funding, account.sign(funding)))
    await world.do(encode_call("multicall", calls))


class TestFabric(ChainPortContract):
    """Every test of the suite."""

    @pytest.fixture(autouse=True)
    def _network(self, site: FabricSite) -> None:
        self.site = site

    def run(self, scene: Coroutine[None, None, None]) -> None:
        """In the loop of the network's supervisor."""
        self.site.runner.run(scene)

    @asynccontextmanager
    async def open_world(self, label: str) -> AsyncGenerator[World]:
        """The shared registry, under a label of its own."""
        async with fabric_world(self.site, label) as world:
            yield world


def test_longest_batch_is_one_transaction(site: FabricSite) -> None:
    async def run() -> None:
        async with fabric_world(site, "longest batch") as world:
            batch = await at_home(world, await world.publisher(MAX_BATCH * MIN_DEPOSIT), MAX_BATCH)
            await world.do(batch.lock())
            identifiers = tuple(batch.signer.identifier(p) for p in batch.publications)
            assert await world.port.batch_ids(batch.root) == identifiers
            view = await world.port.batch(world.lane, batch.root)
            assert view is not None
            assert (view.state, view.count, view.deposits) == (State.LOCKED, MAX_BATCH, MAX_BATCH * MIN_DEPOSIT)
            assert await world.port.balance(batch.signer.address) == 0
            last = MAX_BATCH - 1
            assert await world.port.state_in(identifiers[last], batch.proof(last)) == (Role.HOME, State.LOCKED)

    site.runner.run(run())


@dataclasses.dataclass(slots=True, kw_only=True)
class Desk:
    """The board as validators and a host use it."""

    world: World
    board: FabricBoard
    host: Signer

    async def lease(self, **changes: object) -> tuple[LeaseRequest, bytes]:
        """A lease and the call that opens it."""
        end = UnixSeconds(await self.world.now() + HOUR)
        host_key = HostKey(sealing_key=word("sealing"), signing_key=self.host.address, epoch=Epoch(1), until=end)
        lease = LeaseRequest(
            at=self.world.lane,
            publication=word("publication"),
            sealing_key=host_key.sealing_key,
            signing_key=self.host.address,
            epoch=Epoch(1),
            purpose=1,
            opening=word(""),
            end=end,
            calls=100,
            nonce=word(self.host.label),
            deadline=end,
        )
        lease = dataclasses.replace(lease, **changes)
        operator = OPERATOR.sign(typed_digest(self.world.network, host_key)).to_bytes()
        return lease, encode_call("openLease", lease, self.host.sign(lease), host_key, operator)

    def partial(self, lease: Bytes32, index: int, sealed: bytes, signer: int | None = None) -> bytes:
        """The call that posts a sealed partial."""
        digest = bytes32(hashlib.sha256(sealed).digest())
        post = PartialPost(at=self.world.lane, lease=lease, index=index, sealed_hash=digest)
        validator = VALIDATORS[index - 1 if signer is None else signer]
        return encode_call("postPartial", post, validator.sign(typed_digest(self.world.network, post)).to_bytes())

    def message(self, phase: int, index: int, body: bytes) -> bytes:
        """The call that posts a message of a key generation."""
        post = BoardPost(at=self.world.lane, epoch=Epoch(1), phase=phase, index=index, body_hash=keccak256(body))
        signature = VALIDATORS[index - 1].sign(typed_digest(self.world.network, post)).to_bytes()
        return encode_call("postBoard", post, signature, body)


def play_board(site: FabricSite, label: str, scene: Callable[[Desk], Awaitable[None]]) -> None:
    """Run one scene on the shared board."""

    async def run() -> None:
        async with fabric_world(site, label) as world, site.gateway(2) as gateway:
            registry = FabricRegistry(gateway, lane=site.lane, chaincode=site.chaincode)
            board = FabricBoard(gateway, registry, chaincode=site.chaincode)
            await scene(Desk(world=world, board=board, host=world.person("host")))
            await registry.close()

    site.runner.run(run())


def test_board_shows_a_lease_once_it_is_opened(site: FabricSite) -> None:
    async def scene(desk: Desk) -> None:
        lease, call = await desk.lease()
        identifier = typed_digest(desk.world.network, lease)
        assert await desk.board.lease(identifier) is None
        before, _ = await desk.board.leases_since(0)
        await desk.board.post(call)
        await desk.board.post(call)
        assert await desk.board.lease(identifier) == lease
        after, opened = await desk.board.leases_since(before)
        assert (after > before, opened) == (True, (identifier,))
        assert (await desk.board.leases_since(after))[1] == ()

    play_board(site, "board lease", scene)


def test_board_rejects_unlawful_leases(site: FabricSite) -> None:
    async def scene(desk: Desk) -> None:
        cases: list[tuple[dict[str, object], type[e.Refusal]]] = [
            ({"calls": 0}, e.BadLease),
            ({"purpose": 2}, e.BadLease),
            ({"epoch": Epoch(2)}, e.WrongEpoch),
            ({"deadline": UnixSeconds(1)}, e.Expired),
            ({"at": Lane(chain=desk.world.lane.chain, registry=word("x"))}, e.WrongRegistry),
        ]
        for changes, expected in cases:
            _, call = await desk.lease(**changes)
            with pytest.raises(expected):
                await desk.board.post(call)

    play_board(site, "board unlawful lease", scene)


def test_board_keeps_sealed_partials_of_all_validators(site: FabricSite) -> None:
    async def scene(desk: Desk) -> None:
        lease, call = await desk.lease()
        identifier = typed_digest(desk.world.network, lease)
        sealed = [f"sealed partial {n}".encode() for n in range(4)]
        with pytest.raises(e.UnknownLease):
            await desk.board.post_partial(desk.partial(identifier, 1, sealed[0]), sealed[0])
        await desk.board.post(call)
        posts = [desk.board.post_partial(desk.partial(identifier, n + 1, sealed[n]), sealed[n]) for n in range(3)]
        await asyncio.gather(*posts)
        await desk.board.post_partial(desk.partial(identifier, 1, sealed[0]), sealed[0])
        assert await desk.board.partials(identifier) == (*sealed[:3], b"")
        cases = [
            (desk.partial(identifier, 1, b"other"), b"other", e.AlreadyPosted),
            (desk.partial(identifier, 4, sealed[3]), b"another value", e.WrongCommitment),
            (desk.partial(identifier, 4, sealed[3], signer=0), sealed[3], e.WrongSigner),
            (desk.partial(identifier, 5, sealed[3], signer=0), sealed[3], e.UnknownSigner),
        ]
        for call, value, expected in cases:
            with pytest.raises(expected):
                await desk.board.post_partial(call, value)
        assert (await desk.board.partials(identifier))[3] == b""

    play_board(site, "board partials", scene)


def test_board_keeps_messages_of_a_key_generation(site: FabricSite) -> None:
    async def scene(desk: Desk) -> None:
        long = b"m" * 65_536
        await asyncio.gather(*(desk.board.post(desk.message(1, n, b"message %d" % n)) for n in (1, 2, 3)))
        await desk.board.post(desk.message(2, 4, long))
        posts = await desk.board.posts(Epoch(1))
        assert sorted((p.phase, p.index, p.body) for p in posts[:3]) == [(1, n, b"message %d" % n) for n in (1, 2, 3)]
        assert [(p.phase, p.index, p.body) for p in posts[3:]] == [(2, 4, long)]
        for p in posts:
            post = BoardPost(
                at=desk.world.lane, epoch=Epoch(1), phase=p.phase, index=p.index, body_hash=keccak256(p.body)
            )
            digest = typed_digest(desk.world.network, post)
            verify_signer(digest, p.signature, VALIDATORS[p.index - 1].address)
        assert await desk.board.posts(Epoch(2)) == ()
        for call, expected in (
            (desk.message(1, 1, b"another"), e.AlreadyPosted),
            (desk.message(6, 1, b"x"), e.WrongPhase),
            (desk.message(3, 1, long + b"m"), e.WrongCommitment),
        ):
            with pytest.raises(expected):
                await desk.board.post(call)

    play_board(site, "board messages", scene)


def test_registry_is_created_once_and_for_one_network(site: FabricSite) -> None:
    async def run() -> None:
        plan = registry_plan(site)
        async with site.gateway() as gateway:
            await create_registry(gateway, plan, lane=site.lane, chaincode=site.chaincode)
            other = dataclasses.replace(plan, genesis=dataclasses.replace(plan.genesis, nonce=word("other")))
            with pytest.raises(e.WrongRegistry):
                await create_registry(gateway, other, lane=site.lane, chaincode=site.chaincode)
            with pytest.raises(e.WrongRegistry):
                FabricRegistry(gateway, lane=site.lane, chaincode="another")

    site.runner.run(run())
