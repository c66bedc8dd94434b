"""Keys and leases: t partials and fewer, culprits by name, renewal, what validators refuse."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from caimi.crypto.key_share import ThresholdKey
from caimi.crypto.partial import make_partial, seal_partial
from caimi.host.errors import KeyNotReleased, KeyRefused, LeaseNotPosted, NoGroupKey
from caimi.host.leases import LeaseTerms
from caimi.host.publications import KnownPublication, Publications
from caimi.host.shelf import ShelfLimits
from caimi.ports.chain import ChainUnavailable
from caimi.ports.host_store import RequestState
from caimi.ports.key_release import KeyReleasePort
from caimi.simulators.board import SimulatedBoardNode
from caimi.simulators.virtual_time import VirtualClock, run_virtual
from caimi.types.errors import BadLease, CaimiError, HostKeyExpired, UnknownOperator
from caimi.types.primitives import ZERO32, Bytes32, Epoch, UnixSeconds
from caimi.wire.digests import capsule_label
from tests.unit.host.host_world import HostWorld
from tests.unit.relay.world import START, key


async def trouble(world: HostWorld, publication: Bytes32) -> tuple[Bytes32, CaimiError]:
    """Ask once; what keeps the request open."""
    asked = await world.ask(publication)
    await world.turns(1)
    assert world.row(asked).state is RequestState.SEEN
    found = world.host.trouble(asked.id)
    assert found is not None
    assert world.runtime.given == []
    return asked.id, found


def test_fewer_than_t_partials_open_nothing_and_t_do() -> None:
    async def scenario() -> None:
        async with HostWorld() as world:
            publication = await world.publish()
            await world.key_client.public_key()
            for validator in world.validators[:3]:
                validator.is_up = False
            request, error = await trouble(world, publication)
            assert type(error) is KeyNotReleased
            assert set(error.told) == {1, 2, 3}
            assert {text.split(":")[0] for text in error.told.values()} == {"ValidatorUnavailable"}
            assert len(world.keys.board.partials) == 1
            world.validators[0].is_up = True
            world.keys.chains.clock.advance(30)
            await world.turns(5)
            row = world.store.request(request)
            assert row is not None
            assert row.state is RequestState.ANSWERED
            # The lease that waited is the one that is used.
            assert len(world.keys.board.leases) == 1

    asyncio.run(scenario())


class SlowBoard(SimulatedBoardNode):
    """Silent to the first post until the time for posting the lease has passed."""

    def __init__(self, world: HostWorld) -> None:
        super().__init__(board=world.keys.board)
        self._clock = world.keys.chains.clock
        self._is_slow = True

    async def post(self, call: bytes) -> None:
        if self._is_slow:
            self._is_slow = False
            self._clock.advance(61)
            raise ChainUnavailable("slow")
        await super().post(call)


def test_a_lease_that_came_too_late_ends_no_request() -> None:
    async def scenario() -> None:
        async with HostWorld() as world:
            world.board = SlowBoard(world)
            await world.restart()
            request, error = await trouble(world, await world.publish())
            assert type(error) is LeaseNotPosted
            assert world.keys.board.leases == {}
            await world.turns(5)
            row = world.store.request(request)
            assert row is not None
            assert row.state is RequestState.ANSWERED

    asyncio.run(scenario())


def test_a_superseded_publication_gets_no_key_and_the_refusals_are_named() -> None:
    async def scenario() -> None:
        async with HostWorld() as world:
            publication = await world.publish()
            asked = await world.ask(publication)
            await world.publish(version=2, nonce=ZERO32)
            await world.turns(1)
            error = world.host.trouble(asked.id)
            assert type(error) is KeyRefused
            assert len(error.told) >= 3
            assert all(text.startswith("NotCommitted") for text in error.told.values())
            assert world.keys.board.partials == {}

    asyncio.run(scenario())


def test_a_lease_that_ends_is_renewed_with_a_new_release_and_no_new_loading() -> None:
    async def scenario() -> None:
        async with HostWorld() as world:
            world.terms = LeaseTerms(seconds=120, calls=10)
            await world.restart()
            publication = await world.publish()
            await world.until_settled(await world.ask(publication))
            world.keys.chains.clock.advance(121)
            (row,) = await world.until_settled(await world.ask(publication))
            assert row.state is RequestState.ANSWERED
            assert len(world.keys.board.leases) == 2
            assert {validator.vault.releases() for validator in world.keys.validators} <= {1, 2}
            assert len(world.runtime.given) == 1

    asyncio.run(scenario())


def test_a_lease_whose_calls_are_used_is_renewed_and_refused_once_superseded() -> None:
    async def scenario() -> None:
        async with HostWorld() as world:
            world.terms = LeaseTerms(calls=1)
            await world.restart()
            publication = await world.publish()
            await world.until_settled(await world.ask(publication))
            await world.until_settled(await world.ask(publication))
            assert len(world.keys.board.leases) == 2
            asked = await world.ask(publication)
            await world.publish(version=2, nonce=ZERO32)
            await world.turns(1)
            # The model is loaded, and still it is not run without a lease.
            assert type(world.host.trouble(asked.id)) is KeyRefused
            assert len(world.store.requests(RequestState.ANSWERED, 9)) == 2

    asyncio.run(scenario())


def test_a_bad_partial_names_its_validator_and_stops_nothing() -> None:
    async def scenario() -> None:
        async with HostWorld() as world:
            publication = await world.publish()
            lease = await world.desk.open(publication, opening=ZERO32)
            # Validator 1 signs a partial whose point is not its share's; validator 2 posts bytes that do not open.
            share = world.keys.validators[2].generation.share
            assert share is not None
            entry = await _known(world, publication)
            forged = make_partial(
                dataclasses.replace(share, index=1, verification_keys=share.verification_keys[2:] * 2),
                signing_key=world.keys.chains.validator_keys[0],
                capsule=entry.capsule,
                label=capsule_label(world.keys.chains.network, world.keys.key.group_key.encode(), entry.record),
                lease=lease.id,
                entropy=ZERO32,
            )
            world.keys.board.partials[lease.id, 1] = seal_partial(forged, recipient=world.identity.key.sealing_key)
            world.keys.board.partials[lease.id, 2] = b"x" * 252
            combined = await world.key_client.fetch(lease, entry)
            assert combined.used == (3, 4)
            blamed = {(step["index"], step["error"], step["certainty"]) for step in world.steps("host.bad_partial")}
            assert (1, "InvalidPartial", "proven") in blamed
            assert (2, "SealNotOpened", "suspected") in blamed

    asyncio.run(scenario())


async def _known(world: HostWorld, publication: Bytes32) -> KnownPublication:
    return await Publications(world.keys.chains.network, world.relay).get(publication)


class _Says:
    # A validator that reports a key of its own and releases nothing.
    def __init__(self, key: ThresholdKey) -> None:
        self._key = key

    async def public_key(self) -> ThresholdKey:
        return self._key

    async def release(self, lease: Bytes32, publication: bytes, capsule: bytes) -> None:
        raise NotImplementedError


def test_a_group_key_needs_a_quorum_that_agrees() -> None:
    async def scenario() -> None:
        async with HostWorld() as world:
            other = dataclasses.replace(world.keys.key, epoch=Epoch(7))
            ports = {1: _Says(other), 2: _Says(other), 3: world.validators[2], 4: world.validators[3]}
            with pytest.raises(NoGroupKey):
                await world.make_key_client(ports).public_key()
            # One liar among four is outvoted; three agreeing on a key of another epoch are not believed.
            ports[2] = world.validators[1]  # pyright: ignore[reportArgumentType]
            assert await world.make_key_client(ports).public_key() == world.keys.key
            with pytest.raises(NoGroupKey):
                await world.make_key_client({i: _Says(other) for i in (1, 2, 3)}).public_key()
            world.validators[3].is_up = world.validators[2].is_up = False
            with pytest.raises(NoGroupKey):
                await world.make_key_client({v.validator.index: v for v in world.validators}).public_key()

    asyncio.run(scenario())


def test_the_board_refuses_leases_that_are_not_the_operators_or_too_long() -> None:
    async def scenario() -> None:
        async with HostWorld() as world:
            world.terms = LeaseTerms(calls=(1 << 20) + 1)
            await world.restart()
            with pytest.raises(BadLease):
                await world.desk.open(ZERO32, opening=ZERO32)
            world.terms = LeaseTerms()
            await world.restart()
            stranger = key("stranger").sign(ZERO32).to_bytes()
            world.desk._identity = dataclasses.replace(world.identity, operator_signature=stranger)
            with pytest.raises(UnknownOperator):
                await world.desk.open(ZERO32, opening=ZERO32)
            await world.restart()
            world.keys.chains.clock.advance(86_401)
            with pytest.raises((HostKeyExpired, BadLease)):
                await world.desk.open(ZERO32, opening=ZERO32)
            assert world.keys.board.leases == {}

    asyncio.run(scenario())


def test_a_lost_answer_of_the_board_leaves_one_lease() -> None:
    async def scenario() -> None:
        async with HostWorld() as world:
            world.board.answers = False
            with pytest.raises(ChainUnavailable):
                await world.desk.open(ZERO32, opening=ZERO32)
            assert len(world.keys.board.leases) == 1

    asyncio.run(scenario())


class _LosesFirst:
    # A validator whose first question of each kind gets lost: no answer ever comes.
    def __init__(self, port: KeyReleasePort) -> None:
        self._port = port
        self._lost: set[str] = set()

    async def public_key(self) -> ThresholdKey:
        await self._lose("public_key")
        return await self._port.public_key()

    async def release(self, lease: Bytes32, publication: bytes, capsule: bytes) -> None:
        await self._lose("release")
        await self._port.release(lease, publication, capsule)

    async def _lose(self, question: str) -> None:
        if question not in self._lost:
            self._lost.add(question)
            await asyncio.Event().wait()


def test_a_silent_validator_keeps_nobody_from_the_key_that_the_others_report() -> None:
    async def scenario() -> float:
        async with HostWorld() as world:
            ports: dict[int, KeyReleasePort] = dict(enumerate(world.validators, start=1))
            ports[1] = _LosesFirst(ports[1])
            assert await world.make_key_client(ports).public_key() == world.keys.key
            return asyncio.get_running_loop().time()

    assert run_virtual(scenario()) == 0.0


def test_questions_that_got_lost_are_asked_again_after_ten_seconds() -> None:
    async def scenario() -> tuple[float, float]:
        async with HostWorld() as world:
            clock = VirtualClock(UnixSeconds(START))
            ports: dict[int, KeyReleasePort] = {i: _LosesFirst(v) for i, v in enumerate(world.validators, start=1)}
            client = world.make_key_client(ports, clock=clock, patience_s=30.0)
            with pytest.raises(NoGroupKey):
                await client.public_key()
            known = clock.monotonic()
            assert await client.public_key() == world.keys.key
            publication = await _known(world, await world.publish())
            lease = await world.desk.open(publication.id, opening=ZERO32)
            assert len((await client.fetch(lease, publication)).used) >= 2
            return known, clock.monotonic() - known

    known, fetched = run_virtual(scenario())
    assert known == 10.0
    assert 10.0 <= fetched < 11.0


def test_a_post_that_got_lost_is_repeated_while_its_lease_may_still_be_opened() -> None:
    class LosesFirst(SimulatedBoardNode):
        is_lost = False

        async def post(self, call: bytes) -> None:
            if not self.is_lost:
                self.is_lost = True
                await asyncio.Event().wait()
            await super().post(call)

    async def scenario() -> None:
        async with HostWorld() as world:
            clock = VirtualClock(UnixSeconds(START))
            world.board = LosesFirst(board=world.keys.board)
            lease = await world.make_desk(clock).open(ZERO32, opening=ZERO32)
            assert set(world.keys.board.leases) == {lease.id}
            assert 15.0 <= clock.monotonic() < 16.0

    run_virtual(scenario())


def test_the_model_that_was_not_used_for_the_longest_makes_room() -> None:
    async def scenario() -> None:
        async with HostWorld() as world:
            world.shelf_limits = ShelfLimits(models=1)
            await world.restart()
            first = await world.publish()
            second = await world.publish(name="second", nonce=ZERO32)
            await world.until_settled(await world.ask(first))
            await world.until_settled(await world.ask(second))
            assert [shown.publication.id for shown in world.shelf.shown()] == [second]
            assert [made.is_alive for made in world.runtime.models] == [False, True]
            (row,) = await world.until_settled(await world.ask(first))
            assert row.state is RequestState.ANSWERED

    asyncio.run(scenario())
