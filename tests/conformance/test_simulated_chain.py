"""The simulated ledgers under the suite that the real adapters pass, and what only they can do."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from caimi.protocol.registry_state import RegistryConfig
from caimi.simulators.chain import SimulatedChain, SimulatedNode
from caimi.simulators.ledger import SimulatedLedger, Slots
from caimi.types.primitives import UnixSeconds
from caimi.types.records import Funding, Lane
from caimi.wire.chain_ids import chain_hash
from caimi.wire.digests import network_id
from caimi.wire.functions import encode_call
from tests.conformance.chain_contract import ChainPortContract, SlottedChainContract
from tests.conformance.chain_world import World
from tests.conformance.scenario import CLOCK_WINDOW, MIN_DEPOSIT, Signer, genesis, key, word

_LANE = Lane(chain=chain_hash("caimi:simulated"), registry=word("registry"))
_GENESIS = genesis(word("simulated"))
_START = 1_800_000_000
_RICH = key("rich")
_PLENTY = 1_000_000


class _Entropy:
    def __init__(self) -> None:
        self._count = 0

    def __call__(self, length: int) -> bytes:
        self._count += 1
        return self._count.to_bytes(length, "big")


class _Clock:
    def __init__(self) -> None:
        self.seconds = _START

    def __call__(self) -> UnixSeconds:
        return UnixSeconds(self.seconds)


@asynccontextmanager
async def _world(label: str, slots: Slots, depth: int) -> AsyncGenerator[World]:
    clock, entropy = _Clock(), _Entropy()
    config = RegistryConfig(lane=_LANE, genesis=_GENESIS, min_deposit=MIN_DEPOSIT, clock_window=CLOCK_WINDOW)
    people = {key(f"{label} publisher").address: 0}
    ledger = SimulatedLedger(config, slots=slots, depth=depth, now=clock, tokens=people)

    def port(name: str, node: SimulatedNode) -> SimulatedChain:
        return SimulatedChain(node, sender=key(name).address, entropy=entropy)

    async def advance() -> None:
        clock.seconds += 1
        ledger.mine()

    good = port("sender", SimulatedNode(ledger=ledger))

    async def endow(account: Signer, amount: int) -> None:
        # The model has no mint: tokens are there, and the account's signature moves them into the registry.
        ledger.tip.registry.state.tokens[account.address] = amount
        funding = Funding(
            at=_LANE, account=account.address, amount=amount, nonce=word(label), deadline=UnixSeconds(_START + 10_000)
        )
        await world.do(encode_call("fund", funding, account.sign(funding)))

    world = World(
        label=label,
        network=network_id(_GENESIS),
        port=good,
        rival=port("rival", SimulatedNode(ledger=ledger)),
        reader=lambda: port("reader", SimulatedNode(ledger=ledger)),
        unreachable=port("sender", SimulatedNode(ledger=ledger, is_up=False)),
        foreign=port("sender", SimulatedNode(ledger=ledger, names_chain=word("another chain"))),
        advance=advance,
        endow=endow,
    )
    await advance()
    yield world


class TestSimulatedEthereum(SlottedChainContract):
    """Numbered transactions, final two blocks below the tip."""

    keeps_answers = False

    @asynccontextmanager
    async def open_world(self, label: str) -> AsyncGenerator[World]:
        """A ledger of its own for each test."""
        async with _world(label, Slots.NUMBERED, 2) as world:
            yield world


class TestSimulatedFabric(ChainPortContract):
    """No slots, everything final at once."""

    keeps_answers = False

    @asynccontextmanager
    async def open_world(self, label: str) -> AsyncGenerator[World]:
        """A ledger of its own for each test."""
        async with _world(label, Slots.NONE, 0) as world:
            yield world
