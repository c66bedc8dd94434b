"""The ground on which everybody stands: ledgers, board, content, time, randomness, connections."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import ExitStack
from typing import Final

from caimi.apps.simulation.plan import Plan
from caimi.crypto.ecdsa import SigningKey
from caimi.crypto.quorum import ValidatorSet
from caimi.ports.chain import ChainUnavailable
from caimi.ports.content import StoreUnavailable
from caimi.protocol.publication import Role, State
from caimi.protocol.registry_state import RegistryConfig, RegistryState
from caimi.simulators.actors import Identifiers, SeededEntropy, Trace
from caimi.simulators.blocks import UnreliableBlocks
from caimi.simulators.board import SimulatedBoard, SimulatedBoardNode
from caimi.simulators.board_line import UnreliableBoard
from caimi.simulators.chain import SimulatedChain, SimulatedNode
from caimi.simulators.ledger import SimulatedLedger, Slots
from caimi.simulators.lines import Line
from caimi.simulators.processes import Process
from caimi.simulators.virtual_time import VirtualClock
from caimi.simulators.wiretap import Wiretap
from caimi.storage.memory import MemoryBlockStore
from caimi.storage.transfer import Content
from caimi.types.errors import CaimiError
from caimi.types.primitives import ZERO32, Epoch, UnixSeconds
from caimi.types.records import Attestation, Genesis, Lane
from caimi.wire.digests import network_id
from caimi.wire.keccak import keccak256

__all__ = ["EPOCH", "NOWHERE", "START", "TOKENS", "World", "key"]

START: Final = UnixSeconds(1_800_000_000)
TOKENS: Final = 1_000
"""What the publisher has on each ledger at the beginning."""
EPOCH: Final = Epoch(1)
_HTTP_S: Final = 30.0
_READ_S: Final = 10.0
_POST_S: Final = 60.0
# How long the clients of content stores and of Fabric wait: a post is endorsed, ordered and committed.
NOWHERE: Final = Lane(chain=keccak256(b"no such chain"), registry=keccak256(b"no such registry"))


def key(name: str) -> SigningKey:
    """The key of a named actor."""
    return SigningKey(keccak256(name.encode()))


class World:
    """One seed's world, and all processes and connections in it."""

    def __init__(self, seed: int, plan: Plan) -> None:
        self.seed = seed
        self.plan = plan
        self.has_inference = plan.has_inference(seed)
        self.trace = Trace(Identifiers.NUMBERED if self.has_inference else Identifiers.AS_THEY_ARE)
        self.wiretap = Wiretap()
        self.clock = VirtualClock(START)
        self.at_end = ExitStack()
        """Lets go of what processes kept beyond their lives."""
        self.validator_keys = [key(f"validator {i}") for i in range(plan.n)]
        self.publisher = key("publisher")
        self.operator = key("operator")
        self.genesis = Genesis(
            root_genesis=keccak256(seed.to_bytes(8, "big")),
            validators=tuple(k.address for k in self.validator_keys),
            f=plan.f,
            t=max(plan.f + 1, min((plan.n + 1) // 2, plan.n - plan.f)),
            operators=(self.operator.address,),
            attestation=Attestation.SIMULATED,
            nonce=ZERO32,
        )
        self.network = network_id(self.genesis)
        self.validator_set = ValidatorSet.from_genesis(self.genesis)
        self.bad = frozenset(self.rng("who is bad").sample(range(plan.n), plan.f))
        """Signer indices."""
        self.nodes: list[SimulatedNode] = []
        self.board_nodes: list[SimulatedBoardNode] = []
        self.lines: list[Line] = []
        self.processes: list[Process] = []
        self.root = _lane("fabric")
        self.ledgers = {"fabric": self._ledger("fabric", 0), "ethereum": self._ledger("ethereum", 2)}
        self.board = SimulatedBoard(self.genesis, self.ledgers["fabric"].lane, now=self._chain_time, epoch=EPOCH)
        self.stored = MemoryBlockStore()
        self.blocks = UnreliableBlocks(
            self.stored,
            self.line("content", StoreUnavailable, patience_s=_HTTP_S),
            rng=self.rng("content gaps"),
            heard=self.wiretap.heard,
        )
        self.content = Content(sources=[self.blocks], store=self.blocks)

    def rng(self, name: str) -> random.Random:
        """Randomness of a named actor: what one draws changes nothing for the others."""
        return random.Random(f"{self.seed}/{name}")

    def line(self, name: str, unavailable: Callable[[str], CaimiError], *, patience_s: float) -> Line:
        """A connection that faults will hit; whoever asks waits as long as the client that is used in its place."""
        self.lines.append(Line(rng=self.rng(f"line {name}"), unavailable=unavailable, patience_s=patience_s))
        return self.lines[-1]

    def port(self, ledger: str, owner: str) -> SimulatedChain:
        """A ledger through a node of the owner's."""
        node = SimulatedNode(ledger=self.ledgers[ledger])
        self.nodes.append(node)
        return SimulatedChain(node, sender=key(owner).address, entropy=SeededEntropy(owner + ledger).take)

    def board_port(self, owner: str) -> UnreliableBoard:
        """The board through a node of the owner's."""
        node = SimulatedBoardNode(board=self.board)
        self.board_nodes.append(node)
        return UnreliableBoard(
            node,
            reads=self.line(f"board {owner}", ChainUnavailable, patience_s=_READ_S),
            posts=self.line(f"posts of {owner}", ChainUnavailable, patience_s=_POST_S),
            heard=self.wiretap.heard,
        )

    def registries(self) -> dict[str, RegistryState]:
        """What each ledger holds at its tip."""
        return {name: ledger.tip.registry.state for name, ledger in self.ledgers.items()}

    async def mine(self, name: str) -> None:
        """Make blocks for ever."""
        ledger, rng = self.ledgers[name], self.rng(f"miner {name}")
        while True:
            await self.clock.sleep(rng.uniform(0.5, 1.5))
            if self.plan.mirrors_have_timers:
                _time_out_mirrors(ledger.tip.registry.state, self.clock.now())
            block = ledger.mine()
            if block.transactions:
                self.trace.note(f"{name} block {block.height} {block.hash.hex()[:16]} {len(block.transactions)}")

    def _ledger(self, name: str, depth: int) -> SimulatedLedger:
        root = None if _lane(name) == self.root else self.root
        config = RegistryConfig(lane=_lane(name), genesis=self.genesis, min_deposit=1, clock_window=5, root=root)
        ledger = SimulatedLedger(
            config, slots=Slots.NUMBERED if depth else Slots.NONE, depth=depth, now=self._chain_time
        )
        ledger.tip.registry.state.balances[self.publisher.address] = TOKENS
        return ledger

    def _chain_time(self) -> UnixSeconds:
        try:
            return self.clock.now()
        except RuntimeError:
            return START  # the first block is made before the loop runs


def _lane(name: str) -> Lane:
    return Lane(chain=keccak256(name.encode()), registry=keccak256(b"registry " + name.encode()))


def _time_out_mirrors(state: RegistryState, now: UnixSeconds) -> None:
    for record in state.publications.values():
        if record.role is Role.MIRROR and record.state is State.LOCKED and now > record.deadline:
            record.state = State.ABORTED
