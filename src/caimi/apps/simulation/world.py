"""The ground on which everybody stands: ledgers, board, content, time, randomness, connections."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import ExitStack
from typing import Final

from caimi.apps.simulation.fault_kinds import FaultKind
from caimi.apps.simulation.plan import Plan
from caimi.crypto.ecdsa import SigningKey
from caimi.crypto.quorum import ValidatorSet
from caimi.ports.chain import ChainUnavailable
from caimi.ports.content import StoreUnavailable
from caimi.protocol.publication import Role, State
from caimi.protocol.registry_state import Limits, RegistryConfig, RegistryState
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
from caimi.types.primitives import ZERO32, Bytes32, Epoch, PublicationId, UnixSeconds
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
        self.genesis = self._genesis()
        self.network = network_id(self.genesis)
        self.validator_set = ValidatorSet.from_genesis(self.genesis)
        self.bad = frozenset(self.rng("who is bad").sample(range(plan.n), plan.f))
        """Signer indices."""
        self.nodes: list[SimulatedNode] = []
        self.relay_nodes: list[SimulatedNode] = []
        """Of all nodes, those that relays read: whatever relays believe, a quorum is asked before it counts."""
        self.board_nodes: list[SimulatedBoardNode] = []
        self.lines: list[Line] = []
        self.processes: list[Process] = []
        self.struck: set[tuple[FaultKind, str]] = set()
        """Faults, and the named step at which each struck."""
        self.not_before = 0.0
        """Virtual second before which somebody still has to do something."""
        self.idle_until: dict[str, float] = {}
        """By ledger, the virtual second before which it makes no block."""
        self.root = _lane("fabric")
        self.limits = self._draw_limits()
        self.ledgers = {"fabric": self._ledger("fabric", 0), "ethereum": self._ledger("ethereum", 2)}
        self.board = SimulatedBoard(
            self.genesis,
            self.root,
            now=self._chain_time,
            epoch=EPOCH,
            lease_cap=self.limits.lease_cap,
            is_paused=lambda: self.ledgers["fabric"].tip.registry.state.brakes.paused,
            epochs=lambda: self.ledgers["fabric"].tip.registry.state.epochs,
        )
        self.stored = MemoryBlockStore()
        self.blocks = UnreliableBlocks(
            self.stored,
            self.line("content", StoreUnavailable, patience_s=_HTTP_S),
            rng=self.rng("content gaps"),
            heard=self.wiretap.heard,
        )
        self.content = Content(sources=[self.blocks], store=self.blocks)

    def _genesis(self) -> Genesis:
        plan = self.plan
        return Genesis(
            root_genesis=keccak256(self.seed.to_bytes(8, "big")),
            validators=tuple(k.address for k in self.validator_keys),
            f=plan.f,
            t=max(plan.f + 1, min((plan.n + 1) // 2, plan.n - plan.f)),
            operators=(self.operator.address,),
            attestation=Attestation.NONE,
            nonce=ZERO32,
        )

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
        if owner.startswith("relay"):
            self.relay_nodes.append(node)
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

    def revoked_at(self, publication: Bytes32) -> UnixSeconds | None:
        """When a publication's home knew that it is revoked, by the block that holds it now; None if it does not."""
        for ledger in self.ledgers.values():
            record = ledger.tip.registry.state.publications.get(PublicationId(publication))
            if record is None or record.home != ledger.lane or record.state is not State.REVOKED:
                continue
            for block in ledger.blocks:
                then = block.registry.state.publications.get(PublicationId(publication))
                if then is not None and then.state is State.REVOKED:
                    return block.time
        return None

    async def mine(self, name: str) -> None:
        """Make blocks for ever."""
        ledger, rng = self.ledgers[name], self.rng(f"miner {name}")
        while True:
            await self.clock.sleep(rng.uniform(0.5, 1.5))
            if self.clock.monotonic() < self.idle_until.get(name, 0.0):
                continue
            if self.plan.mirrors_have_timers:
                _time_out_mirrors(ledger.tip.registry.state, self.clock.now())
            block = ledger.mine()
            if block.transactions:
                self.trace.note(f"{name} block {block.height} {block.hash.hex()[:16]} {len(block.transactions)}")

    def _ledger(self, name: str, depth: int) -> SimulatedLedger:
        root = None if _lane(name) == self.root else self.root
        config = RegistryConfig(
            lane=_lane(name), genesis=self.genesis, min_deposit=1, clock_window=5, limits=self.limits, root=root
        )
        ledger = SimulatedLedger(
            config, slots=Slots.NUMBERED if depth else Slots.NONE, depth=depth, now=self._chain_time
        )
        ledger.tip.registry.state.balances[self.publisher.address] = TOKENS
        return ledger

    def _draw_limits(self) -> Limits:
        rng = self.rng("limits")
        return Limits(
            resume_delay=rng.randint(3, 12),
            withdrawal_cap=rng.choice((0, 100, 250)),
            lease_cap=rng.choice((0, 0, 0, rng.randint(8, 20))),
        )

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
