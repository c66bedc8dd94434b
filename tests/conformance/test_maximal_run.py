"""A run of as many events as a certificate may cover, carried to a real Anvil: split as its transactions need it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

from caimi.chains.ethereum.fees import TX_GAS_CAP
from caimi.chains.ethereum.registry import EthereumRegistry
from caimi.ports.chain import ChainReader, FinalEvent
from caimi.ports.crash import NoCrash
from caimi.protocol.publication import State
from caimi.protocol.registry_state import RegistryConfig
from caimi.relay.certifier import ValidatorPeer
from caimi.relay.engine import Relay
from caimi.relay.lanes import RelayLane
from caimi.simulators.chain import SimulatedChain, SimulatedNode
from caimi.simulators.ledger import SimulatedLedger, Slots
from caimi.storage.sqlite_attestations import SqliteAttestationStore
from caimi.storage.sqlite_relay import SqliteRelayStore
from caimi.types.primitives import Epoch, Generation, PublicationId, Sequence, SignerIndex
from caimi.types.records import Kind, Lane
from caimi.validator.attestor import Attestor
from caimi.validator.lane import SourceLane
from caimi.validator.seat import Seat
from caimi.wire.chain_ids import chain_hash
from caimi.wire.functions import encode_call
from tests.conformance.anvil_node import AnvilNode, running_anvil
from tests.conformance.chain_world import World, all_events
from tests.conformance.scenario import CLOCK_WINDOW, MIN_DEPOSIT, VALIDATORS, genesis, key, word
from tests.conformance.test_ethereum_chain import DEPLOYER, RIVAL, SENDER, ethereum_world
from tests.unit.relay.world import Counter as Entropy
from tests.unit.relay.world import Recorder, StepClock

pytestmark = [pytest.mark.devnet, pytest.mark.timeout(300)]

_MOST = 1_024
_MIRROR = Lane(chain=chain_hash("caimi:simulated"), registry=word("mirror"))
_TURNS = 60


@pytest.fixture
def anvil(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AnvilNode]:
    with running_anvil(tmp_path_factory.mktemp("anvil"), (DEPLOYER, SENDER, RIVAL)) as node:
        yield node


class _Network:
    """Home on Anvil, a simulated mirror, four validators and one relay, which carries all it can in one call."""

    def __init__(self, world: World, stack: ExitStack) -> None:
        self.world = world
        self.clock = StepClock()
        self.observer = Recorder()
        config = RegistryConfig(
            lane=_MIRROR, genesis=genesis(word("ethereum")), min_deposit=MIN_DEPOSIT, clock_window=CLOCK_WINDOW
        )
        self.ledger = SimulatedLedger(config, slots=Slots.NONE, depth=0, now=self.clock.now, tokens={})
        self.validators = [self._attestor(n, stack) for n in range(4)]
        self.store = stack.enter_context(closing(SqliteRelayStore(":memory:", crash=NoCrash())))
        self.relay = Relay(
            world.network,
            [
                RelayLane(name="ethereum", port=world.port, generation=Generation(1), run_items=_MOST),
                RelayLane(name="mirror", port=self.mirror("relay"), generation=Generation(1), run_items=_MOST),
            ],
            [ValidatorPeer(signer=SignerIndex(n), port=v) for n, v in enumerate(self.validators)],
            store=self.store,
            clock=self.clock,
            entropy=Entropy("relay"),
            observer=self.observer,
        )

    def mirror(self, sender: str) -> SimulatedChain:
        node = SimulatedNode(ledger=self.ledger)
        return SimulatedChain(node, sender=key(sender).address, entropy=Entropy(sender).take)

    def _attestor(self, number: int, stack: ExitStack) -> Attestor:
        readers: dict[str, ChainReader] = {"ethereum": self.world.reader(), "mirror": self.mirror("validator")}
        return Attestor(
            Seat(network=self.world.network, epoch=Epoch(1), signer=SignerIndex(number), root=_MIRROR),
            key=VALIDATORS[number],
            sources=[
                SourceLane(name=name, reader=reader, generation=Generation(1), sources=1, note="")
                for name, reader in readers.items()
            ],
            store=stack.enter_context(closing(SqliteAttestationStore(":memory:", crash=NoCrash()))),
            clock=self.clock,
            observer=self.observer,
        )

    async def lock_everywhere(self) -> list[PublicationId]:
        """Publications that home has locked and whose mirror's answers nobody has carried yet."""
        publisher = await self.world.publisher(_MOST * MIN_DEPOSIT)
        deadline = max(await self.world.now(), self.clock.now()) + 20_000
        calls: list[bytes] = []
        identifiers: list[PublicationId] = []
        for number in range(_MOST):
            publication = publisher.publication(
                home=self.world.lane, mirror=_MIRROR, deadline=deadline, tag=f"-{number}"
            )
            identifiers.append(publisher.identifier(publication))
            calls.append(publisher.lock(publication))
        for first in range(0, _MOST, 64):
            batch = encode_call("multicall", tuple(calls[first : first + 64]))
            await self.world.do(batch)
            mirror = self.mirror("somebody")
            await mirror.send(await mirror.prepare(batch, slot=None))
            self.ledger.mine()
        return identifiers

    async def turn(self) -> None:
        self.clock.advance(1)
        self.ledger.mine()
        await self.world.advance()
        for validator in self.validators:
            await validator.turn()
        await self.relay.turn()

    async def until_all_follow(self, identifiers: list[PublicationId]) -> None:
        for _ in range(_TURNS):
            records = self.ledger.tip.registry.state.publications
            if all(records[i].state is State.COMMITTED for i in identifiers):
                return
            await self.turn()
        raise AssertionError(self.observer.steps[-8:])


def test_longest_run_gets_through_in_parts_and_nothing_twice(anvil: AnvilNode) -> None:
    async def scene() -> None:
        async with ethereum_world(anvil, "maximal run") as world:
            with ExitStack() as stack:
                network = _Network(world, stack)
                identifiers = await network.lock_everywhere()
                assert len(await all_events(network.mirror("reader"))) == _MOST
                await network.until_all_follow(identifiers)
                await _check(network, identifiers)

    asyncio.run(scene())


async def _check(network: _Network, identifiers: list[PublicationId]) -> None:
    events = await all_events(network.world.port)
    assert [event.item.sequence for event in events] == list(range(1, 2 * _MOST + 1))
    happened = Counter((event.item.event.kind, event.item.event.subject) for event in events)
    assert happened == Counter({(kind, i): 1 for kind in (Kind.LOCKED, Kind.OUTCOME) for i in identifiers})
    for number in range(1, _MOST + 1):
        assert await network.world.port.is_marked(_MIRROR, Generation(1), Sequence(number))
    assert not await network.world.port.is_marked(_MIRROR, Generation(1), Sequence(_MOST + 1))
    await _check_transactions(network, [e for e in events if e.item.event.kind == Kind.OUTCOME])


async def _check_transactions(network: _Network, outcomes: list[FinalEvent]) -> None:
    parts = Counter(event.transaction for event in outcomes)
    assert sum(parts.values()) == _MOST
    assert len(parts) >= 4, "one transaction has taken more than the gas cap lets it"
    port = network.world.port
    assert isinstance(port, EthereumRegistry)
    for transaction in parts:
        receipt = await port.rpc.call("eth_getTransactionReceipt", transaction)
        assert receipt["status"] == "0x1"
        assert int(receipt["gasUsed"], 16) <= TX_GAS_CAP
    refused = [step for step in network.observer.named("relay.not-prepared") if step["lane"] == "ethereum"]
    assert {step["error"] for step in refused} == {"CallTooLarge"}
    # The whole run once, then its halves: no part that fitted was made smaller, none was sent in vain.
    assert len(refused) == len(parts) - 1
