"""The small decisions: what concerns a lane, what is there already, how a publication is ended."""

from __future__ import annotations

import dataclasses

import pytest

from caimi.ports.chain import PublicationView
from caimi.ports.relay_store import CallState, DropEvents, PublicationRow, RelayStep
from caimi.protocol.publication import AbortReason, Role, State
from caimi.relay.calls import concerns, subjects_of
from caimi.relay.effects import effect_present
from caimi.relay.follower import Follower
from caimi.relay.lanes import RelayLane
from caimi.relay.resumption import LaneDecisions
from caimi.relay.watcher import abort_call
from caimi.types.primitives import ZERO32, Generation, Sequence, UnixSeconds
from caimi.types.records import Certificate, Cid, Event, Item, Kind, Lane
from caimi.wire.codec import encode
from caimi.wire.functions import decode_call, encode_body, encode_call
from caimi.wire.keccak import keccak256
from tests.unit.relay.faulty_ports import FaultyPort, LiesAtFirst, LiesUntilForgotten
from tests.unit.relay.world import World, key, run

HERE = Lane(chain=keccak256(b"here"), registry=keccak256(b"here"))
THERE = Lane(chain=keccak256(b"there"), registry=keccak256(b"there"))
SUBJECT = keccak256(b"subject")
MIRROR_LOCKED = encode_body(Kind.LOCKED, Role.MIRROR, HERE)
HOME_LOCKED = encode_body(Kind.LOCKED, Role.HOME, THERE)
ANSWERED = encode_body(Kind.ANSWERED, keccak256(b"request"), keccak256(b"r"), Cid(codec=0x55, digest=ZERO32))


@pytest.mark.parametrize(
    ("event", "carried"),
    [
        (Event(schema=1, kind=Kind.LOCKED, destinations=(HERE,), subject=SUBJECT, body=MIRROR_LOCKED), True),
        (Event(schema=1, kind=Kind.LOCKED, destinations=(), subject=SUBJECT, body=MIRROR_LOCKED), True),
        (Event(schema=1, kind=Kind.LOCKED, destinations=(THERE,), subject=SUBJECT, body=MIRROR_LOCKED), False),
        (Event(schema=1, kind=Kind.LOCKED, destinations=(THERE, HERE), subject=SUBJECT, body=MIRROR_LOCKED), True),
        (Event(schema=1, kind=Kind.LOCKED, destinations=(HERE,), subject=SUBJECT, body=HOME_LOCKED), False),
        (Event(schema=1, kind=Kind.LOCKED, destinations=(HERE,), subject=SUBJECT, body=b"?"), True),
        (Event(schema=1, kind=Kind.REQUESTED, destinations=(), subject=SUBJECT, body=b""), False),
        (Event(schema=1, kind=Kind.ANSWERED, destinations=(HERE,), subject=SUBJECT, body=ANSWERED), True),
        (Event(schema=1, kind=Kind.GRANT, destinations=(), subject=SUBJECT, body=b"later"), True),
        (Event(schema=1, kind=999, destinations=(HERE,), subject=SUBJECT, body=b"later"), True),
        (Event(schema=2, kind=Kind.REQUESTED, destinations=(HERE,), subject=SUBJECT, body=b"later"), True),
    ],
)
def test_only_what_can_do_something_there_is_carried(event: Event, carried: bool) -> None:
    assert concerns(event, HERE) is carried


def test_event_is_about_its_request_if_there_is_one() -> None:
    answered = Event(schema=1, kind=Kind.ANSWERED, destinations=(HERE,), subject=SUBJECT, body=ANSWERED)
    assert subjects_of(answered) == (keccak256(b"request"),)
    assert subjects_of(dataclasses.replace(answered, body=b"malformed")) == (SUBJECT,)
    assert subjects_of(dataclasses.replace(answered, kind=Kind.OUTCOME)) == (SUBJECT,)


def _view(state: State) -> PublicationView:
    return PublicationView(
        role=Role.HOME,
        state=state,
        publisher=key("publisher").address,
        name="m",
        version=1,
        home=HERE,
        mirrors=(THERE,),
        deposit=1,
        deadline=UnixSeconds(1),
        awaited=0,
        reason=AbortReason.NONE,
    )


@pytest.mark.parametrize(
    ("view", "has_bytes", "function"),
    [
        (_view(State.LOCKED), True, "abort"),
        (_view(State.LOCKED), False, "abort"),
        (_view(State.COMMITTED), True, None),
        (_view(State.ABORTED), True, None),
        (_view(State.SUPERSEDED), True, None),
        (None, True, "abortUnlocked"),
        (None, False, None),
    ],
)
def test_publication_is_ended_in_the_one_way_that_home_takes(
    view: PublicationView | None, has_bytes: bool, function: str | None
) -> None:
    with World() as world:
        publication, signature, identifier = world.publication("fabric", "ethereum")
    row = PublicationRow(
        id=identifier,
        publication=encode(publication) if has_bytes else None,
        signature=signature if has_bytes else None,
        home=publication.home,
        mirrors=publication.mirrors,
        deadline=publication.deadline,
        outcome=None,
        accepted=UnixSeconds(0),
    )
    call = abort_call(row, view)
    assert (None if call is None else decode_call(call)[0]) == function


def test_effects_are_seen_where_they_can_be() -> None:
    async def scenario() -> None:
        with World() as world:
            await world.fund("fabric", 100)
            port = world.port("fabric", "reader")
            publication, signature, identifier = world.publication("fabric", "ethereum")
            lock, abort = encode_call("lockModel", publication, signature), encode_call("abort", identifier)

            async def present(call: bytes) -> bool:
                return await effect_present(port, call, world.network)

            assert [await present(lock), await present(abort)] == [False, False]
            await world.publish(publication, signature)
            await world.until(lambda: world.state("fabric", identifier) is State.LOCKED)
            assert [await present(lock), await present(abort)] == [True, False]
            await world.until(lambda: world.all_at(State.COMMITTED, identifier))
            assert await present(abort)
            carried = next(
                c for c in world.stores[0].calls_about(identifier) if c.lane == port.lane and "carry" in c.key
            )
            assert await present(carried.call)
            certificate: Certificate
            certificate, items, proof = decode_call(carried.call)[1]
            more = Item(sequence=Sequence(99), event=items[0].event)
            assert not await present(encode_call("applyRun", certificate, (*items, more), proof))
            later = dataclasses.replace(certificate.checkpoint, generation=Generation(2))
            other = dataclasses.replace(certificate, checkpoint=later)
            assert not await present(encode_call("applyRun", other, items, proof))

    run(scenario())


def test_what_somebody_else_did_counts_when_it_is_final() -> None:
    async def scenario() -> None:
        with World() as world:
            await world.fund("fabric", 100)
            publication, signature, identifier = world.publication("fabric", "ethereum")
            await world.send("ethereum", encode_call("lockModel", publication, signature))
            ledger, relay, store = world.ledgers["ethereum"], world.relays[0], world.stores[0]
            ledger.mine()
            await world.publish(publication, signature)

            def lock() -> tuple[CallState, str | None]:
                row = store.call(f"lock/{identifier.hex()}/ethereum")
                assert row is not None
                return row.state, row.transaction

            for _ in range(3):
                await relay.turn()
                assert lock() == (CallState.ELSEWHERE, None)
                if ledger.tip.height < 2:
                    ledger.mine()
            ledger.mine()
            await relay.turn()
            assert lock() == (CallState.DONE, None)

    run(scenario())


def test_what_somebody_else_did_and_the_chain_took_back_is_done_by_us() -> None:
    async def scenario() -> None:
        with World() as world:
            await world.fund("fabric", 100)
            publication, signature, identifier = world.publication("fabric", "ethereum")
            await world.send("ethereum", encode_call("lockModel", publication, signature))
            ledger, relay, store = world.ledgers["ethereum"], world.relays[0], world.stores[0]
            ledger.mine()
            await world.publish(publication, signature)
            await relay.turn()
            ledger.reorganise(1)
            ledger.drop_pool()
            for _ in range(3):
                ledger.mine()
            await relay.turn()
            row = store.call(f"lock/{identifier.hex()}/ethereum")
            assert row is not None
            assert row.state is CallState.BOUND
            assert row.transaction is not None
            await world.until(lambda: world.all_at(State.COMMITTED, identifier))

    run(scenario())


def test_lock_on_a_mirror_does_not_make_it_a_home() -> None:
    async def scenario() -> None:
        with World() as world:
            publication, signature, identifier = world.publication("fabric", "ethereum")
            await world.send("ethereum", encode_call("lockModel", publication, signature))
            for _ in range(5):
                await world.step()
            assert len(world.stores[0].followed_about(identifier)) == 1
            assert world.stores[0].publication(identifier) is None

    run(scenario())


def test_dropped_events_are_read_again_though_no_block_is_new() -> None:
    async def scenario() -> None:
        with World() as world:
            await world.fund("fabric", 100)
            publication, signature, identifier = world.publication("fabric", "ethereum")
            await world.send("fabric", encode_call("lockModel", publication, signature))
            world.ledgers["fabric"].mine()
            liar = LiesAtFirst(world.port("fabric", "reader"))
            lane = RelayLane(name="fabric", port=liar, generation=Generation(1))  # pyright: ignore[reportArgumentType]
            store = world.stores[0]
            follower = Follower(
                lane,
                decisions=LaneDecisions(world.relays[0].lanes, store),
                store=store,
                clock=world.clock,
                observer=world.observer,
            )
            await follower.turn()
            await follower.turn()
            assert store.followed_about(identifier) == ()
            store.write(RelayStep.REWOUND, DropEvents(lane=lane.lane, first=Sequence(1)))
            await follower.turn()
            assert store.last_followed(lane.lane) == 0
            follower.read_again()
            await follower.turn()
            assert len(store.followed_about(identifier)) == 1

    run(scenario())


@pytest.mark.parametrize("liar", [LiesAtFirst, LiesUntilForgotten])
def test_contradicted_source_is_read_again_at_once(liar: type[FaultyPort]) -> None:
    async def scenario() -> None:
        with World(wrap=lambda name, port: liar(port) if name == "ethereum" else port) as world:
            publication, signature, identifier = world.publication("fabric", "ethereum")
            await world.send("ethereum", encode_call("lockModel", publication, signature))
            for _ in range(3):
                world.ledgers["ethereum"].mine()
            await world.relays[0].turn()
            assert len(world.observer.named("relay.source-contradicted")) == 1
            assert world.stores[0].last_followed(world.lane("ethereum")) == 0
            await world.relays[0].turn()
            assert len(world.stores[0].followed_about(identifier)) == 1
            assert world.stores[0].cursor(world.lane("ethereum"), world.lane("fabric")) == 1

    run(scenario())
