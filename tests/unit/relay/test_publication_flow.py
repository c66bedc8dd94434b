"""A publication runs to one outcome on all its lanes, whatever happens around it."""

from __future__ import annotations

from caimi.ports.relay_store import CallState, Purpose
from caimi.ports.validators import ValidatorUnavailable
from caimi.protocol.publication import AbortReason, State
from caimi.types.primitives import Generation, Sequence, UnixSeconds
from caimi.types.records import Checkpoint, Lane, Signature
from caimi.wire.functions import encode_call
from caimi.wire.keccak import keccak256
from tests.unit.relay.world import World, conserved, run


class Silent:
    """A validator that does not answer."""

    async def checkpoint(
        self, source: Lane, generation: Generation, first: Sequence, last: Sequence
    ) -> tuple[Checkpoint, Signature]:
        raise ValidatorUnavailable("down")


NOWHERE = Lane(chain=keccak256(b"nowhere"), registry=keccak256(b"nowhere"))


def test_publication_commits_on_home_and_mirror() -> None:
    async def scenario() -> None:
        with World() as world:
            await world.fund("fabric", 100)
            publication, signature, identifier = world.publication("fabric", "ethereum")
            await world.publish(publication, signature)
            await world.until(lambda: world.all_at(State.COMMITTED, identifier))
            assert conserved(world, "fabric")

    run(scenario())


def test_three_lanes_commit_whichever_is_home() -> None:
    async def scenario(home: str) -> None:
        with World(names=("fabric", "ethereum", "third")) as world:
            await world.fund(home, 100)
            others = {"fabric", "ethereum", "third"} - {home}
            publication, signature, identifier = world.publication(home, *others)
            await world.publish(publication, signature)
            await world.until(lambda: world.all_at(State.COMMITTED, identifier))

    for home in ("fabric", "ethereum", "third"):
        run(scenario(home))


def test_unknown_mirror_runs_to_the_abort_and_the_deposit_comes_back() -> None:
    async def scenario() -> None:
        with World() as world:
            await world.fund("ethereum", 100)
            publication, signature, identifier = world.publication("ethereum", "fabric", NOWHERE)
            await world.publish(publication, signature)
            await world.until(lambda: world.all_at(State.LOCKED, identifier))
            timeline = await world.relays[0].timelines.publication(identifier)
            assert timeline is not None
            assert timeline.unknown_mirrors == (f"0x{NOWHERE.chain.hex()}/0x{NOWHERE.registry.hex()}",)
            world.clock.advance(130)
            await world.until(lambda: world.all_at(State.ABORTED, identifier))
            assert world.ledgers["ethereum"].tip.registry.state.balances[world.publisher.address] == 100
            for _ in range(4):
                await world.step()
            timeline = await world.relays[0].timelines.publication(identifier)
            assert timeline is not None
            assert timeline.waits_for == f"nothing here: this relay does not serve {timeline.unknown_mirrors[0]}"

    run(scenario())


def test_never_locked_home_is_aborted_with_the_signed_bytes() -> None:
    async def scenario() -> None:
        with World() as world:
            publication, signature, identifier = world.publication("fabric", "ethereum")
            await world.publish(publication, signature)
            await world.until(lambda: world.state("ethereum", identifier) is State.LOCKED)
            assert world.state("fabric", identifier) is State.NONE
            world.clock.advance(130)
            await world.until(lambda: world.all_at(State.ABORTED, identifier))
            record = world.ledgers["fabric"].tip.registry.state.publications[identifier]
            assert record.reason is AbortReason.NEVER_LOCKED

    run(scenario())


def test_nothing_is_aborted_before_the_deadline_of_the_home_chain() -> None:
    async def scenario() -> None:
        with World() as world:
            await world.fund("fabric", 100)
            publication, signature, identifier = world.publication("fabric", "ethereum", NOWHERE)
            await world.publish(publication, signature)
            await world.until(lambda: world.state("fabric", identifier) is State.LOCKED)
            while world.ledgers["fabric"].tip.time < publication.deadline:
                await world.step()
            assert world.stores[0].call(f"abort/{identifier.hex()}") is None
            await world.until(lambda: world.state("fabric", identifier) is State.ABORTED)

    run(scenario())


def test_idle_home_whose_clock_stands_still_is_asked_to_abort() -> None:
    async def scenario() -> None:
        with World() as world:
            await world.fund("fabric", 100)
            publication, signature, identifier = world.publication("fabric", "ethereum", NOWHERE)
            await world.publish(publication, signature)
            await world.until(lambda: world.state("fabric", identifier) is State.LOCKED)
            tip = world.ledgers["fabric"].tip
            world.clock.advance(130)
            for _ in range(3):
                await world.relays[0].turn()
            assert world.ledgers["fabric"].tip is tip
            assert tip.time <= publication.deadline
            abort = world.stores[0].call(f"abort/{identifier.hex()}")
            assert abort is not None
            assert abort.state is CallState.BOUND
            world.ledgers["fabric"].mine()
            assert world.state("fabric", identifier) is State.ABORTED

    run(scenario())


def test_abort_that_comes_too_early_for_home_is_tried_again() -> None:
    # The relay's clock is two minutes fast.
    class Fast:
        def __init__(self, world: World) -> None:
            self.clock = world.clock

        def now(self) -> UnixSeconds:
            return UnixSeconds(self.clock.now() + 110)

        def monotonic(self) -> float:
            return self.clock.monotonic()

        async def sleep(self, seconds: float) -> None:
            await self.clock.sleep(seconds)

    async def scenario() -> None:
        with World() as world:
            await world.fund("fabric", 100)
            publication, signature, identifier = world.publication("fabric", "ethereum", NOWHERE)
            real = world.clock
            world.clock = Fast(world)  # pyright: ignore[reportAttributeAccessIssue]
            world.relays[0] = world.relay("relay 0", world.stores[0])
            world.clock = real
            await world.publish(publication, signature)
            for _ in range(40):
                await world.step()
            abort = world.stores[0].call(f"abort/{identifier.hex()}")
            assert abort is not None
            assert (abort.state, abort.refusal) == (CallState.QUEUED, "DeadlineNotPassed")
            assert world.state("fabric", identifier) is State.LOCKED
            await world.until(lambda: world.state("fabric", identifier) is State.ABORTED, steps=200)
            assert world.ledgers["fabric"].tip.time > publication.deadline

    run(scenario())


def test_publication_found_on_its_home_is_aborted_too() -> None:
    async def scenario() -> None:
        with World() as world:
            await world.fund("fabric", 100)
            publication, signature, identifier = world.publication("fabric", "ethereum")
            await world.send("fabric", encode_call("lockModel", publication, signature))
            await world.until(lambda: world.stores[0].publication(identifier) is not None)
            world.clock.advance(130)
            await world.until(lambda: world.state("fabric", identifier) is State.ABORTED)

    run(scenario())


def test_found_publication_commits_without_the_relay_having_its_bytes() -> None:
    async def scenario() -> None:
        with World() as world:
            await world.fund("fabric", 100)
            publication, signature, identifier = world.publication("fabric", "ethereum")
            call = encode_call("lockModel", publication, signature)
            await world.send("fabric", call)
            await world.send("ethereum", call)
            await world.until(lambda: world.all_at(State.COMMITTED, identifier))

    run(scenario())


def test_higher_version_supersedes_everywhere() -> None:
    async def scenario() -> None:
        with World() as world:
            await world.fund("fabric", 100)
            first, signature, identifier = world.publication("fabric", "ethereum")
            await world.publish(first, signature)
            await world.until(lambda: world.all_at(State.COMMITTED, identifier))
            second, signature, later = world.publication("fabric", "ethereum", version=2, nonce=keccak256(b"2"))
            await world.publish(second, signature)
            await world.until(lambda: world.all_at(State.COMMITTED, later))
            await world.until(lambda: world.all_at(State.SUPERSEDED, identifier))
            assert world.ledgers["fabric"].tip.registry.state.balances[world.publisher.address] == 90

    run(scenario())


def test_two_relays_at_once_do_no_harm() -> None:
    async def scenario() -> None:
        with World(relays=2) as world:
            await world.fund("fabric", 100)
            publication, signature, identifier = world.publication("fabric", "ethereum")
            await world.publish(publication, signature, relay=0)
            await world.publish(publication, signature, relay=1)
            await world.until(lambda: world.all_at(State.COMMITTED, identifier))
            for _ in range(10):
                await world.step()
            assert conserved(world, "fabric")
            for name in world.ledgers:
                kinds = [i.event.kind for i in world.ledgers[name].tip.registry.state.events]
                assert len(kinds) == len(set(kinds)), "an event happened twice"
            for store in world.stores:
                for name in world.ledgers:
                    counts = store.call_counts(world.lane(name))
                    assert set(counts) <= {CallState.DONE}, counts

    run(scenario())


def test_run_delivered_by_somebody_else_is_not_sent_again() -> None:
    async def scenario() -> None:
        with World(relays=2) as world:
            await world.fund("fabric", 100)
            publication, signature, identifier = world.publication("fabric", "ethereum")
            second = world.relays.pop()
            await world.publish(publication, signature)
            await world.until(lambda: world.all_at(State.COMMITTED, identifier))
            for _ in range(4):
                await world.step()
            world.relays = [second]
            for _ in range(8):
                await world.step()
            store = world.stores[1]
            carries = store.calls_about(identifier)
            assert {c.purpose for c in carries} == {Purpose.CARRY}
            assert {(c.state, c.transaction) for c in carries} == {(CallState.DONE, None)}

    run(scenario())


def test_reorganised_inclusion_is_sent_again() -> None:
    async def scenario() -> None:
        with World() as world:
            await world.fund("fabric", 100)
            publication, signature, identifier = world.publication("fabric", "ethereum")
            await world.publish(publication, signature)
            ledger = world.ledgers["ethereum"]
            await world.until(lambda: world.state("ethereum", identifier) is State.LOCKED)
            ledger.reorganise(1)
            ledger.drop_pool()
            assert world.state("ethereum", identifier) is State.NONE
            await world.step()
            await world.step()
            assert world.state("ethereum", identifier) is State.LOCKED, "sent again at once"
            await world.until(lambda: world.all_at(State.COMMITTED, identifier))

    run(scenario())


def test_node_that_is_down_delays_and_nothing_else() -> None:
    async def scenario() -> None:
        with World() as world:
            await world.fund("fabric", 100)
            publication, signature, identifier = world.publication("fabric", "ethereum")
            await world.publish(publication, signature)
            world.nodes["ethereum"].is_up = False
            for _ in range(5):
                await world.step()
            assert world.state("fabric", identifier) is State.LOCKED
            assert "ChainUnavailable" in world.relays[0].report()[1].hint
            world.nodes["ethereum"].is_up = True
            await world.until(lambda: world.all_at(State.COMMITTED, identifier))
            await world.step()
            assert world.relays[0].report()[1].hint == ""

    run(scenario())


def test_two_silent_validators_stall_and_one_does_not() -> None:
    async def scenario(silent: int) -> bool:
        with World() as world:
            await world.fund("fabric", 100)
            for place in range(silent):
                world.peers[place] = Silent()
            world.relays = [world.relay("relay 0", world.stores[0])]
            publication, signature, identifier = world.publication("fabric", "ethereum")
            await world.publish(publication, signature)
            for _ in range(40):
                await world.step()
            assert world.state("fabric", identifier) is not State.ABORTED
            return world.all_at(State.COMMITTED, identifier)

    async def both() -> None:
        assert await scenario(1)
        assert not await scenario(2)

    run(both())
