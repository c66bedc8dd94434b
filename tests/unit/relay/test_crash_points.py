"""A relay killed at any persisted step and started again finishes what it began, once.

The steps are those of the code: a step without a scenario that reaches it fails here.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

from caimi.ports.call_errors import FeeTooLow
from caimi.ports.chain import PreparedCall
from caimi.ports.relay_store import RelayStep
from caimi.protocol.publication import State
from caimi.simulators.chain import SimulatedChain
from caimi.storage import sqlite_attestations, sqlite_database, sqlite_relay
from caimi.types.primitives import PublicationId, Sequence, UnixSeconds
from caimi.types.records import Funding, Lane, Publication
from caimi.wire.codec import encode
from caimi.wire.digests import typed_digest
from caimi.wire.functions import encode_call
from caimi.wire.keccak import keccak256
from tests.unit.relay.batch_world import SignedBatch, sign_batch
from tests.unit.relay.faulty_ports import FaultyPort, HoldsOneItem, LiesAtFirst, RefusesTheEpochOnce
from tests.unit.relay.world import Crashed, Stop, World, Wrap, conserved, run

NOWHERE = Lane(chain=keccak256(b"nowhere"), registry=keccak256(b"nowhere"))
Outcome = dict[PublicationId, State]
Signed = tuple[Publication, bytes, PublicationId]


class Client:
    """A user's program: hands its publications to the relay until that says yes, and restarts it when it died."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.expected: Outcome = {}
        self.expected_at_home: dict[tuple[str, PublicationId], State] = {}
        self.until: Callable[[], bool] = lambda: True
        self._waiting: list[tuple[bytes, bytes]] = []

    def publish(self, signed: Signed, expected: State) -> None:
        publication, signature, identifier = signed
        self._waiting.append((encode(publication), signature))
        self.expected[identifier] = expected

    async def turn(self) -> None:
        """Hand over what waits."""
        for publication, signature in list(self._waiting):
            await self.survive(lambda p=publication, s=signature: self.world.relays[0].intake.publish(p, s))
        # What came with the crash is asked for again: it is stored already, or not.
        if all(self.world.stores[0].publication(i) for i in self.expected):
            self._waiting.clear()

    def is_done(self) -> bool:
        """Whether everything is where it must end."""
        world = self.world
        everywhere = all(world.all_at(state, i) for i, state in self.expected.items())
        return everywhere and self.until() and all(world.state(*k) is s for k, s in self.expected_at_home.items())

    async def step(self) -> None:
        """A second of everybody."""
        await self.survive(self.world.step)

    async def survive(self, doing: Callable[[], Awaitable[object]]) -> None:
        try:
            await doing()
        except Crashed:
            self.world.restart()


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What users and ledgers do; the client knows where every publication must end."""

    act: Callable[[World, Client], Awaitable[None]]
    wrap: Wrap | None = None
    skip_seconds: int = 0
    """By how much the clock jumps after a few steps."""


async def _commit(world: World, client: Client) -> None:
    await world.fund("fabric", 100)
    client.publish(world.publication("fabric", "ethereum"), State.COMMITTED)


async def _commit_two(world: World, client: Client) -> None:
    await world.fund("fabric", 100)
    for number in (1, 2):
        signed = world.publication("fabric", "ethereum", name=f"model-{number}", nonce=keccak256(bytes([number])))
        client.publish(signed, State.COMMITTED)


async def _abort(world: World, client: Client) -> None:
    await world.fund("fabric", 100)
    client.publish(world.publication("fabric", "ethereum", NOWHERE), State.ABORTED)


async def _found(world: World, client: Client) -> None:
    # Locked by somebody else, at home and on one of two mirrors; the relay never gets the signed bytes.
    await world.fund("fabric", 100)
    publication, signature, identifier = world.publication("fabric", "ethereum", NOWHERE)
    await world.send("fabric", encode_call("lockModel", publication, signature))
    await world.send("ethereum", encode_call("lockModel", publication, signature))
    client.expected[identifier] = State.ABORTED


async def _elsewhere(world: World, client: Client) -> None:
    await world.fund("fabric", 100)
    signed = world.publication("fabric", "ethereum")
    await world.send("ethereum", encode_call("lockModel", *signed[:2]))
    world.ledgers["ethereum"].mine()
    client.publish(signed, State.COMMITTED)


async def _lost(world: World, client: Client) -> None:
    # Somebody uses the relay's own account: its first transaction on ethereum finds its slot taken.
    await world.fund("fabric", 100)
    funding = Funding(
        at=world.lane("ethereum"),
        account=world.publisher.address,
        amount=1,
        nonce=keccak256(b"rogue"),
        deadline=UnixSeconds(2**40),
    )
    call = encode_call("fund", funding, world.publisher.sign(typed_digest(world.network, funding)).to_bytes())
    client.publish(world.publication("fabric", "ethereum"), State.COMMITTED)
    await client.turn()
    await world.send("ethereum", call, sender="relay 0")
    await client.survive(world.relays[0].turn)


async def _funded_late(world: World, client: Client) -> None:
    client.publish(world.publication("fabric", "ethereum"), State.COMMITTED)
    await client.turn()
    for _ in range(3):
        await client.step()
    await world.fund("fabric", 100)


async def _name_taken(world: World, client: Client) -> None:
    await world.fund("fabric", 100)
    first = world.publication("fabric", "ethereum")
    client.publish(first, State.COMMITTED)
    while world.state("fabric", first[2]) is not State.COMMITTED:
        await client.turn()
        await client.step()
    client.publish(world.publication("fabric", "ethereum", nonce=keccak256(b"other")), State.ABORTED)


async def _gap(world: World, client: Client) -> None:
    # The ledger forgets the transaction of slot 0, which was final, while the lock waits in slot 1 and the relay is not
    # there to see it.
    await world.fund("fabric", 100)
    funding = Funding(
        at=world.lane("ethereum"),
        account=world.publisher.address,
        amount=1,
        nonce=keccak256(b"forgotten"),
        deadline=UnixSeconds(2**40),
    )
    call = encode_call("fund", funding, world.publisher.sign(typed_digest(world.network, funding)).to_bytes())
    await world.relays[0].intake.call(world.lane("ethereum"), call)
    for _ in range(6):
        await client.step()
    client.publish(world.publication("fabric", "ethereum"), State.COMMITTED)
    await client.turn()
    await client.survive(world.relays[0].turn)
    world.ledgers["ethereum"].reorganise(100)
    world.ledgers["ethereum"].drop_pool()
    world.relays[0] = world.relay("relay 0", world.stores[0])


async def _bring(world: World, client: Client, batch: SignedBatch) -> None:
    # The user's program repeats what it does not know to be stored.
    for _ in range(3):
        await client.survive(batch.bring)


async def _unfunded_batch(world: World, client: Client) -> None:
    # Home never locks it; a publication beside it goes its way.
    await world.fund("ethereum", 100)
    await _bring(world, client, sign_batch(world, "fabric", "ethereum", deadlines=(100, 100, 100)))
    client.publish(world.publication("ethereum", "fabric", name="other"), State.COMMITTED)
    client.until = lambda: not world.stores[0].undecided(world.lane("fabric"))


async def _late_batch(world: World, client: Client) -> None:
    await world.fund("fabric", 100)
    batch = sign_batch(world, "fabric", "ethereum", NOWHERE, deadlines=(100, 110, 120))
    await _bring(world, client, batch)
    for identifier in batch.ids:
        client.expected_at_home["fabric", identifier] = State.ABORTED


async def _taken_back(world: World, client: Client) -> None:
    # A final block that no validator signed anything of is gone, with the lock in it.
    await world.fund("ethereum", 100)
    height = world.ledgers["ethereum"].tip.height
    publication, signature, identifier = world.publication("ethereum", NOWHERE)
    await world.publish(publication, signature)
    client.expected_at_home["ethereum", identifier] = State.ABORTED
    for _ in range(6):
        await client.step()
    assert world.stores[0].last_followed(world.lane("ethereum")) > 0
    world.ledgers["ethereum"].reorganise(world.ledgers["ethereum"].tip.height - height)
    world.ledgers["ethereum"].drop_pool()


class Underpriced(FaultyPort):
    """A node to which the first price of everything is too low."""

    async def send(self, prepared: PreparedCall) -> None:
        if prepared.raw[0] == _FIRST_PRICE:
            raise FeeTooLow("max fee per gas less than block base fee")
        await self.port.send(prepared)


def _on(lane: str, kind: Callable[[SimulatedChain], FaultyPort]) -> Wrap:
    return lambda name, port: kind(port) if name == lane else port


# How the bytes of a numbered transaction begin that was not repriced.
_FIRST_PRICE = 8
COMMIT = Scenario(act=_commit)
SCENARIOS = {
    RelayStep.FOLLOWED: COMMIT,
    RelayStep.ACCEPTED: COMMIT,
    RelayStep.PASSED: COMMIT,
    RelayStep.CARRIED: COMMIT,
    RelayStep.PREPARED: COMMIT,
    RelayStep.REPRICED: Scenario(act=_commit, wrap=_on("ethereum", Underpriced)),
    RelayStep.FILLED: Scenario(act=_gap),
    RelayStep.SENT: COMMIT,
    RelayStep.INCLUDED: COMMIT,
    RelayStep.DONE: COMMIT,
    RelayStep.ABORT_QUEUED: Scenario(act=_abort, skip_seconds=130),
    RelayStep.WATCHED: Scenario(act=_found, skip_seconds=130),
    RelayStep.ELSEWHERE: Scenario(act=_elsewhere),
    RelayStep.RETRIED: Scenario(act=_lost),
    RelayStep.POSTPONED: Scenario(act=_funded_late),
    RelayStep.REFUSED: Scenario(act=_name_taken, skip_seconds=130),
    RelayStep.SPLIT: Scenario(act=_commit_two, wrap=_on("ethereum", HoldsOneItem)),
    RelayStep.RECERTIFIED: Scenario(act=_commit, wrap=_on("fabric", RefusesTheEpochOnce)),
    RelayStep.ABANDONED: Scenario(act=_unfunded_batch, skip_seconds=400),
    RelayStep.TAKE_OUTS_QUEUED: Scenario(act=_late_batch, skip_seconds=130),
    RelayStep.REWOUND: Scenario(act=_commit, wrap=_on("ethereum", LiesAtFirst)),
}


async def _play(scenario: Scenario, folder: Path, stop: Stop) -> World:
    world = World(path=str(folder / "relay.sqlite"), crash=stop, wrap=scenario.wrap)
    client = Client(world)
    await scenario.act(world, client)
    for number in range(150):
        if number == 20:
            world.clock.advance(scenario.skip_seconds)
        await client.turn()
        await client.step()
        if number > 20 and client.is_done():
            break
    assert client.expected or client.expected_at_home
    assert client.is_done(), (world.states(), world.observer.steps[-8:])
    return world


@pytest.mark.parametrize("step", list(RelayStep), ids=lambda step: step.value)
@pytest.mark.parametrize("count", [1, 2])
def test_relay_killed_at_a_step_finishes_once(step: RelayStep, count: int, tmp_path: Path) -> None:
    async def scenario() -> None:
        stop = Stop(step.value, count)
        with await _play(SCENARIOS[step], tmp_path, stop) as world:
            if count == 1:
                assert stop.left == 0, f"{step.value} was not reached: {stop.seen}"
            assert all(conserved(world, name) for name in world.ledgers)

    run(scenario())


def test_relay_killed_when_final_blocks_are_gone_reads_the_other_branch(tmp_path: Path) -> None:
    async def scenario() -> None:
        stop = Stop(RelayStep.REWOUND.value)
        with await _play(Scenario(act=_taken_back, skip_seconds=130), tmp_path, stop) as world:
            assert stop.left == 0, stop.seen
            ledger, stored = world.ledgers["ethereum"], world.stores[0].followed(world.lane("ethereum"), Sequence(1), 9)
            there = ledger.events(1, 9, upto=ledger.final)
            assert [(f.item, f.block_hash) for f in stored] == [(event.item, block.hash) for event, block in there]
            assert stored
            assert all(conserved(world, name) for name in world.ledgers)

    run(scenario())


_WRITES = ("INSERT", "UPDATE", "DELETE", "REPLACE", "COMMIT")


def _writing_functions(module: ModuleType) -> dict[str, ast.FunctionDef]:
    """Functions of a store that hold an SQL statement which writes."""
    found: dict[str, ast.FunctionDef] = {}
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.FunctionDef):
            texts = [n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
            if any(text.lstrip().startswith(_WRITES) for text in texts):
                found[node.name] = node
    return found


@pytest.mark.parametrize("module", [sqlite_relay, sqlite_attestations], ids=lambda m: m.__name__)
def test_every_persisted_write_names_its_step(module: ModuleType) -> None:
    for name, function in _writing_functions(module).items():
        arguments = {a.arg for a in function.args.args}
        opens = any(
            isinstance(item.context_expr, ast.Call) and ast.unparse(item.context_expr) == "self._database.step(step)"
            for node in ast.walk(function)
            if isinstance(node, ast.With)
            for item in node.items
        )
        # Either it writes inside a named step, or it is given the cursor of one.
        assert ("step" in arguments and opens) or "cursor" in arguments, name


def test_only_a_step_commits() -> None:
    assert set(_writing_functions(sqlite_database)) == {"_prepare", "step"}
