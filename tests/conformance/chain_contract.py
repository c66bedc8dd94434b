"""What every `ChainPort` does: one suite, run over the simulated ledgers and over each real adapter."""

from __future__ import annotations

import asyncio
import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from caimi.crypto.ecdsa import HALF_ORDER
from caimi.ports.call_errors import CallRejected
from caimi.ports.chain import (
    CallStatus,
    ChainPort,
    ChainReader,
    ChainUnavailable,
    FinalEvent,
    Included,
    Lost,
    NotIncluded,
    PreparedCall,
    Reverted,
    StatusUnknown,
)
from caimi.protocol.publication import AbortReason, Role, State
from caimi.types import errors as e
from caimi.types.primitives import ZERO32, Address, Bytes32, Epoch, Generation, Sequence
from caimi.types.records import Cid, Event, Item, Kind, Lane, Publication, Terms
from caimi.wire.digests import typed_digest
from caimi.wire.functions import encode_body, encode_call
from tests.conformance.scenario import (
    CLOCK_WINDOW,
    ELSEWHERE,
    MIN_DEPOSIT,
    VALIDATORS,
    Signer,
    aborted,
    certificate,
    key,
    locked,
    run_call,
    word,
)

__all__ = ["ChainPortContract", "SlottedChainContract", "World"]

HOUR = 3_600
_PATIENCE = 400


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """One registry as a test meets it."""

    label: str
    """Of this test only: keys and nonces depend on it."""
    network: Bytes32
    port: ChainPort
    rival: ChainPort
    """Another sender."""
    reader: Callable[[], ChainReader]
    """A reader that knows nothing yet."""
    unreachable: ChainPort
    """Its node is down."""
    foreign: ChainPort
    """Its node is of another chain."""
    advance: Callable[[], Awaitable[None]]
    """Let the ledger make its next block."""
    endow: Callable[[Signer, int], Awaitable[None]]
    """Give an account a registry balance."""

    @property
    def lane(self) -> Lane:
        """The registry under test."""
        return self.port.lane

    def person(self, name: str) -> Signer:
        """Somebody with a key."""
        return Signer(network=self.network, key=key(f"{self.label} {name}"), label=f"{self.label} {name}")

    async def publisher(self, deposit: int = 1_000) -> Signer:
        """Somebody with a registry balance."""
        person = self.person("publisher")
        await self.endow(person, deposit)
        return person

    async def now(self) -> int:
        """The chain's clock."""
        return (await self.port.head()).time

    async def at_home(self, signer: Signer, tag: str = "", **changes: Any) -> Publication:
        """A publication of which this registry is the home."""
        deadline = changes.pop("deadline", None) or await self.now() + HOUR
        return signer.publication(home=self.lane, mirror=ELSEWHERE, deadline=deadline, tag=tag, **changes)

    async def mirrored(self, signer: Signer, tag: str = "", **changes: Any) -> Publication:
        """A publication of which this registry is the mirror."""
        deadline = changes.pop("deadline", None) or await self.now() + HOUR
        return signer.publication(home=ELSEWHERE, mirror=self.lane, deadline=deadline, tag=tag, **changes)

    async def next_number(self) -> Sequence:
        """The number that the next event will have."""
        return Sequence(len(await all_events(self.port)) + 1)

    async def do(self, call: bytes) -> Included:
        """Send a call and wait until it is final; it has to take effect."""
        status = await self.settle(self.port, await self.port.prepare(call, slot=await self.port.next_slot()))
        assert isinstance(status, Included), status
        return status

    async def settle(self, port: ChainPort, prepared: PreparedCall) -> CallStatus:
        """Send and wait for an end that stays."""
        await port.send(prepared)
        status: CallStatus = NotIncluded()
        for _ in range(_PATIENCE):
            status = await port.status(prepared)
            if isinstance(status, Lost) or (isinstance(status, (Included, Reverted)) and status.final):
                return status
            await self.advance()
        raise AssertionError(f"no end after {_PATIENCE} blocks: {status}")


async def all_events(reader: ChainReader, first: int = 1) -> tuple[FinalEvent, ...]:
    """Every final event from `first` on."""
    found: list[FinalEvent] = []
    while more := await reader.events(Sequence(first + len(found)), 100):
        found += more
    return tuple(found)


def _high_s(signature: bytes) -> bytes:
    s = 2 * HALF_ORDER + 1 - int.from_bytes(signature[32:64], "big")
    return signature[:32] + s.to_bytes(32, "big") + bytes((55 - signature[64],))


class ChainPortContract(ABC):
    """Subclasses say where the world comes from."""

    @abstractmethod
    def open_world(self, label: str) -> AbstractAsyncContextManager[World]:
        """A world for one test."""

    def play(self, scene: Callable[[World], Awaitable[None]]) -> None:
        """Run one scene in a world of its own."""

        async def whole() -> None:
            async with self.open_world(scene.__qualname__.split(".")[1]) as world:
                await scene(world)

        self.run(whole())

    def run(self, scene: Coroutine[None, None, None]) -> None:
        """Run in an event loop."""
        asyncio.run(scene)

    # --- reading

    def test_head_names_the_final_block(self) -> None:
        async def scene(world: World) -> None:
            head = await world.port.head()
            assert head.final_height <= head.height
            assert await world.port.block_hash(head.final_height) == head.final_hash
            assert await world.port.block_hash(head.height + 1_000_000) is None

        self.play(scene)

    def test_validator_set_is_that_of_the_genesis(self) -> None:
        async def scene(world: World) -> None:
            there = await world.port.validator_set()
            assert there.validators == tuple(v.address for v in VALIDATORS)
            assert (there.epoch, there.f, there.t) == (Epoch(1), 1, 2)

        self.play(scene)

    def test_unknown_things_are_none_or_zero(self) -> None:
        async def scene(world: World) -> None:
            assert await world.port.publication(world.person("x").identifier(await _any(world))) is None
            assert await world.port.receipt_of(word("no request")) is None
            assert await world.port.balance(world.person("x").address) == 0
            assert await world.port.tokens(world.person("x").address) == 0
            assert not await world.port.is_marked(ELSEWHERE, Generation(1), Sequence(1 << 40))
            assert await world.port.events(Sequence(1 << 40), 10) == ()

        self.play(scene)

    def test_rejects_event_number_zero(self) -> None:
        async def scene(world: World) -> None:
            with pytest.raises(e.OutOfRange):
                await world.port.events(Sequence(0), 10)

        self.play(scene)

    def test_events_are_gapless_and_the_same_for_every_reader(self) -> None:
        async def scene(world: World) -> None:
            publisher = await world.publisher()
            first = await world.next_number()
            batch = [publisher.lock(await world.at_home(publisher, f"-{n}")) for n in range(5)]
            await world.do(encode_call("multicall", tuple(batch)))
            await world.do(publisher.lock(await world.mirrored(publisher, "-m")))
            events = await all_events(world.port, first)
            assert [event.item.sequence for event in events] == list(range(first, first + 6))
            assert [event.item.event.kind for event in events] == [Kind.LOCKED] * 6
            assert len({event.transaction for event in events}) == 2
            assert len({(event.height, event.block_hash) for event in events}) == 2
            fresh = world.reader()
            assert [await fresh.events(Sequence(first + n), 1) for n in range(6)] == [(event,) for event in events]
            assert await world.reader().events(Sequence(first + 2), 3) == events[2:5]
            assert await all_events(world.reader()) == await all_events(world.port)

        self.play(scene)

    # --- locks

    def test_lock_at_home_escrows_and_is_event(self) -> None:
        async def scene(world: World) -> None:
            publisher = await world.publisher(25)
            publication = await world.at_home(publisher)
            identifier, first = publisher.identifier(publication), await world.next_number()
            prepared = await world.port.prepare(publisher.lock(publication), slot=await world.port.next_slot())
            status = await world.settle(world.port, prepared)
            assert isinstance(status, Included)
            (event,) = await all_events(world.port, first)
            assert event.item == Item(sequence=first, event=locked(Role.HOME, publication, identifier))
            assert (event.transaction, event.height) == (prepared.transaction, status.height)
            assert await world.port.block_hash(event.height) == event.block_hash
            assert event.time <= await world.now()
            record = await world.port.publication(identifier)
            assert record is not None
            assert (record.role, record.state, record.awaited) == (Role.HOME, State.LOCKED, 1)
            assert (record.publisher, record.name, record.version) == (publisher.address, publication.name, 1)
            assert (record.home, record.mirrors) == (publication.home, publication.mirrors)
            assert (record.deposit, record.deadline) == (MIN_DEPOSIT, publication.deadline)
            assert record.reason is AbortReason.NONE
            assert await world.port.balance(publisher.address) == 25 - MIN_DEPOSIT

        self.play(scene)

    def test_lock_at_mirror_moves_no_money(self) -> None:
        async def scene(world: World) -> None:
            publisher = world.person("publisher")
            publication = await world.mirrored(publisher)
            identifier, first = publisher.identifier(publication), await world.next_number()
            await world.do(publisher.lock(publication))
            (event,) = await all_events(world.port, first)
            assert event.item.event == locked(Role.MIRROR, publication, identifier)
            record = await world.port.publication(identifier)
            assert record is not None
            assert (record.role, record.state, record.deposit) == (Role.MIRROR, State.LOCKED, 0)

        self.play(scene)

    def test_mirror_answers_refused_to_unlawful_bytes(self) -> None:
        async def scene(world: World) -> None:
            publisher = world.person("publisher")
            publication = await world.mirrored(publisher, version=0)
            identifier, first = publisher.identifier(publication), await world.next_number()
            await world.do(publisher.lock(publication))
            (event,) = await all_events(world.port, first)
            assert event.item.event.kind == Kind.REFUSED
            assert event.item.event.body == encode_body(Kind.REFUSED, e.BadVersion.code, ELSEWHERE)
            record = await world.port.publication(identifier)
            assert record is not None
            assert record.state is State.REFUSED

        self.play(scene)

    def test_repeated_lock_is_a_no_op(self) -> None:
        async def scene(world: World) -> None:
            publisher = await world.publisher(25)
            call = publisher.lock(await world.at_home(publisher))
            await world.do(call)
            first = await world.next_number()
            await world.do(call)
            assert await all_events(world.port, first) == ()
            assert await world.port.balance(publisher.address) == 25 - MIN_DEPOSIT

        self.play(scene)

    def test_rejects_locks_with_the_class_and_values_of_the_table(self) -> None:
        async def scene(world: World) -> None:
            publisher, stranger = await world.publisher(25), world.person("stranger")
            lawful = await world.at_home(publisher, "-lawful")
            await world.do(publisher.lock(lawful))
            before = await all_events(world.port)
            cases = await _unlawful_locks(world, publisher, stranger, lawful)
            for call, expected in cases:
                with pytest.raises(type(expected)) as caught:
                    await world.port.prepare(call, slot=await world.port.next_slot())
                if expected.values:
                    assert caught.value.values == expected.values
            assert await all_events(world.port) == before
            assert await world.port.balance(publisher.address) == 25 - MIN_DEPOSIT

        self.play(scene)

    def test_rejects_locks_near_or_past_the_deadline(self) -> None:
        async def scene(world: World) -> None:
            publisher = await world.publisher(25)
            now = await world.now()
            near = await world.at_home(publisher, "-near", deadline=now + CLOCK_WINDOW)
            past = await world.at_home(publisher, "-past", deadline=now - HOUR)
            for publication, expected in ((near, e.NearDeadline), (past, e.PastDeadline)):
                with pytest.raises(expected) as caught:
                    await world.port.prepare(publisher.lock(publication), slot=await world.port.next_slot())
                assert caught.value.values[0] == publication.deadline

        self.play(scene)

    def test_multicall_is_all_or_nothing(self) -> None:
        async def scene(world: World) -> None:
            publisher = await world.publisher(25)
            good = await world.at_home(publisher, "-good")
            bad = await world.at_home(publisher, "-bad", deposit=MIN_DEPOSIT - 1)
            calls = (publisher.lock(good), publisher.lock(bad))
            with pytest.raises(e.SmallDeposit):
                await world.port.prepare(encode_call("multicall", calls), slot=await world.port.next_slot())
            assert await world.port.publication(publisher.identifier(good)) is None

        self.play(scene)

    # --- decisions

    def test_certified_run_commits_at_home_once(self) -> None:
        async def scene(world: World) -> None:
            publisher = await world.publisher()
            publication = await world.at_home(publisher)
            identifier = publisher.identifier(publication)
            await world.do(publisher.lock(publication))
            first = await world.next_number()
            number = _number_elsewhere(world)
            call = run_call(world.network, ELSEWHERE, [locked(Role.MIRROR, publication, identifier)], number)
            await world.do(call)
            record = await world.port.publication(identifier)
            assert record is not None
            assert (record.state, record.awaited, record.deposit) == (State.COMMITTED, 0, MIN_DEPOSIT)
            assert await world.port.is_marked(ELSEWHERE, Generation(1), Sequence(number))
            assert not await world.port.is_marked(ELSEWHERE, Generation(1), Sequence(number + 1))
            (event,) = await all_events(world.port, first)
            assert event.item.event.kind == Kind.OUTCOME
            assert event.item.event.body == encode_body(Kind.OUTCOME, State.COMMITTED, AbortReason.NONE)
            await world.do(call)
            assert len(await all_events(world.port, first)) == 1

        self.play(scene)

    def test_mirror_follows_a_certified_outcome(self) -> None:
        async def scene(world: World) -> None:
            publisher = world.person("publisher")
            publication = await world.mirrored(publisher)
            identifier = publisher.identifier(publication)
            await world.do(publisher.lock(publication))
            outcome = aborted(publication, identifier, AbortReason.DEADLINE)
            await world.do(run_call(world.network, ELSEWHERE, [outcome], _number_elsewhere(world)))
            record = await world.port.publication(identifier)
            assert record is not None
            assert record.state is State.ABORTED

        self.play(scene)

    def test_abort_unlocked_after_the_deadline(self) -> None:
        async def scene(world: World) -> None:
            publisher = world.person("publisher")
            publication = await world.at_home(publisher, deadline=await world.now() - HOUR)
            identifier, first = publisher.identifier(publication), await world.next_number()
            await world.do(publisher.abort_unlocked(publication))
            (event,) = await all_events(world.port, first)
            assert event.item.event == aborted(publication, identifier, AbortReason.NEVER_LOCKED)

        self.play(scene)

    def test_rejects_aborts_out_of_time_or_place(self) -> None:
        async def scene(world: World) -> None:
            publisher = await world.publisher()
            at_home, mirrored = await world.at_home(publisher), await world.mirrored(publisher, "-m")
            await world.do(publisher.lock(at_home))
            await world.do(publisher.lock(mirrored))
            cases: list[tuple[bytes, type[e.Refusal]]] = [
                (encode_call("abort", publisher.identifier(at_home)), e.DeadlineNotPassed),
                (encode_call("abort", publisher.identifier(mirrored)), e.NotHome),
                (encode_call("abort", word("no publication")), e.UnknownPublication),
                (publisher.abort_unlocked(await world.at_home(publisher, "-later")), e.DeadlineNotPassed),
            ]
            await _check_refusals(world, cases)

        self.play(scene)

    def test_rejects_certificates_that_prove_nothing(self) -> None:
        async def scene(world: World) -> None:
            event = Event(schema=1, kind=Kind.GOVERNANCE, destinations=(), subject=word("x"), body=b"")
            items = (Item(sequence=Sequence(1), event=event),)
            good = certificate(world.network, ELSEWHERE, items)
            two = dataclasses.replace(good, signatures=good.signatures[:2])
            twice = dataclasses.replace(good, signatures=(good.signatures[0], *good.signatures[:2]))
            back = dataclasses.replace(good, signatures=good.signatures[::-1])
            unknown = (*good.signatures[:2], dataclasses.replace(good.signatures[2], signer=4))
            swapped = (*good.signatures[:2], dataclasses.replace(good.signatures[2], signer=3))
            other = dataclasses.replace(items[0], event=dataclasses.replace(event, subject=word("y")))
            own = certificate(world.network, world.lane, items)
            cases: list[tuple[Any, tuple[Item, ...], type[e.Refusal]]] = [
                (two, items, e.TooFewSignatures),
                (twice, items, e.DuplicateSigner),
                (back, items, e.UnsortedSigners),
                (dataclasses.replace(good, signatures=unknown), items, e.UnknownSigner),
                (dataclasses.replace(good, signatures=swapped), items, e.WrongSigner),
                (certificate(world.network, ELSEWHERE, items, epoch=Epoch(2)), items, e.WrongEpoch),
                (certificate(world.network, ELSEWHERE, items, generation=Generation(2)), items, e.WrongGeneration),
                (certificate(world.network, ELSEWHERE, items, root=ZERO32), items, e.ZeroRoot),
                (certificate(word("another network"), ELSEWHERE, items), items, e.WrongSigner),
                (own, items, e.OwnEvents),
                (good, (), e.EmptyRun),
                (good, (dataclasses.replace(items[0], sequence=Sequence(2)),), e.ItemOutOfRun),
                (good, (other,), e.WrongRoot),
            ]
            calls = [(encode_call("applyRun", proof, run, ()), refusal) for proof, run, refusal in cases]
            await _check_refusals(world, calls)
            assert not await world.port.is_marked(ELSEWHERE, Generation(1), Sequence(1))

        self.play(scene)

    # --- money, inference, calls

    def test_withdrawal_moves_balance_to_tokens_once(self) -> None:
        async def scene(world: World) -> None:
            account = await world.publisher(30)
            withdrawal = account.withdrawal(at=world.lane, amount=20, deadline=await world.now() + HOUR)
            await world.do(account.withdraw(withdrawal))
            await world.do(account.withdraw(withdrawal))
            assert await world.port.balance(account.address) == 10
            assert await world.port.tokens(account.address) == 20
            cases: list[tuple[bytes, type[e.Refusal]]] = [
                (account.withdraw(dataclasses.replace(withdrawal, amount=1)), e.NonceUsed),
                (account.withdraw(_renamed(withdrawal, amount=11)), e.LowBalance),
                (account.withdraw(_renamed(withdrawal, amount=0)), e.ZeroAmount),
                (account.withdraw(_renamed(withdrawal, deadline=await world.now() - HOUR)), e.Expired),
                (account.withdraw(_renamed(withdrawal, at=ELSEWHERE)), e.WrongRegistry),
                (encode_call("withdraw", _renamed(withdrawal), world.person("thief").sign(withdrawal)), e.WrongSigner),
            ]
            await _check_refusals(world, cases)

        self.play(scene)

    def test_request_is_answered_where_it_was_made(self) -> None:
        async def scene(world: World) -> None:
            publisher, host = await world.publisher(), world.person("host")
            publication = await world.at_home(publisher)
            identifier = publisher.identifier(publication)
            request = publisher.request(at=world.lane, publication=identifier, deadline=await world.now() + HOUR)
            call = encode_call("requestInference", request, publisher.sign(request))
            await _check_refusals(world, [(call, e.UnknownPublication), (host.answer(request), e.UnknownRequest)])
            await world.do(publisher.lock(publication))
            await _check_refusals(world, [(call, e.NotCommitted)])
            answer = locked(Role.MIRROR, publication, identifier)
            await world.do(run_call(world.network, ELSEWHERE, [answer], _number_elsewhere(world)))
            first = await world.next_number()
            await world.do(call)
            await world.do(host.answer(request))
            kinds = [event.item.event.kind for event in await all_events(world.port, first)]
            assert kinds == [Kind.REQUESTED, Kind.ANSWERED]
            assert await world.port.receipt_of(typed_digest(world.network, request)) == word("receipt")

        self.play(scene)

    def test_rejects_unknown_functions_and_malformed_calls(self) -> None:
        async def scene(world: World) -> None:
            await _check_refusals(world, [(b"\xde\xad\xbe\xef", e.UnknownFunction)])
            publisher = await world.publisher()
            with pytest.raises((e.BadEncoding, CallRejected)):
                call = publisher.lock(await world.at_home(publisher))[:-40]
                await world.port.prepare(call, slot=await world.port.next_slot())

        self.play(scene)

    # --- transactions

    def test_status_goes_from_not_included_to_final(self) -> None:
        async def scene(world: World) -> None:
            publisher = await world.publisher()
            call = publisher.lock(await world.at_home(publisher))
            prepared = await world.port.prepare(call, slot=await world.port.next_slot())
            assert isinstance(await world.port.status(prepared), NotIncluded)
            first = await world.next_number()
            status = await world.settle(world.port, prepared)
            assert isinstance(status, Included)
            # The same bytes again are harmless.
            await world.port.send(prepared)
            await world.advance()
            assert await world.port.status(prepared) == status
            assert len(await all_events(world.port, first)) == 1

        self.play(scene)

    def test_two_senders_of_one_publication_lock_it_once(self) -> None:
        async def scene(world: World) -> None:
            publisher = await world.publisher(25)
            publication = await world.at_home(publisher)
            first = await world.next_number()
            ends = await _race(world, publisher.lock(publication), publisher.lock(publication))
            assert any(isinstance(end, Included) for end in ends)
            assert len(await all_events(world.port, first)) == 1
            assert await world.port.balance(publisher.address) == 25 - MIN_DEPOSIT

        self.play(scene)

    def test_two_senders_of_one_nonce_use_it_once(self) -> None:
        async def scene(world: World) -> None:
            publisher = await world.publisher()
            one = await world.at_home(publisher, "-one")
            other = dataclasses.replace(await world.at_home(publisher, "-other"), nonce=one.nonce)
            ends = await _race(world, publisher.lock(one), publisher.lock(other))
            assert sorted(type(end).__name__ for end in ends) == ["Included", "Reverted"]
            (reverted,) = (end for end in ends if isinstance(end, Reverted))
            assert reverted.cause
            states = [await world.port.publication(publisher.identifier(p)) for p in (one, other)]
            assert sum(state is not None for state in states) == 1

        self.play(scene)

    # --- nodes

    def test_node_that_is_down(self) -> None:
        async def scene(world: World) -> None:
            port = world.unreachable
            await _check_everything(port, ChainUnavailable, world)
            prepared = await world.port.prepare(await _some_call(world), slot=await world.port.next_slot())
            with pytest.raises(ChainUnavailable):
                await port.send(prepared)
            assert isinstance(await port.status(prepared), StatusUnknown)

        self.play(scene)

    def test_rejects_a_node_of_another_chain(self) -> None:
        async def scene(world: World) -> None:
            port = world.foreign
            await _check_everything(port, e.WrongChain, world)
            prepared = await world.port.prepare(await _some_call(world), slot=await world.port.next_slot())
            with pytest.raises(e.WrongChain):
                await port.send(prepared)
            with pytest.raises(e.WrongChain):
                await port.status(prepared)

        self.play(scene)


class SlottedChainContract(ChainPortContract):
    """Where a sender's transactions are numbered."""

    def test_slot_counts_the_senders_transactions(self) -> None:
        async def scene(world: World) -> None:
            slot = await world.port.next_slot()
            assert slot is not None
            await world.do(await _some_call(world))
            assert await world.port.next_slot() == slot + 1

        self.play(scene)

    def test_transactions_in_flight_keep_their_order(self) -> None:
        async def scene(world: World) -> None:
            publisher = await world.publisher()
            first, slot = await world.next_number(), await world.port.next_slot()
            assert slot is not None
            calls = [publisher.lock(await world.mirrored(publisher, f"-{n}")) for n in range(3)]
            prepared = [await world.port.prepare(call, slot=slot + n) for n, call in enumerate(calls)]
            for one in reversed(prepared):
                await world.port.send(one)
            assert isinstance(await world.settle(world.port, prepared[2]), Included)
            assert [x.transaction for x in await all_events(world.port, first)] == [x.transaction for x in prepared]

        self.play(scene)

    def test_transaction_whose_slot_is_taken_is_lost(self) -> None:
        async def scene(world: World) -> None:
            publisher = await world.publisher()
            slot = await world.port.next_slot()
            one = await world.port.prepare(publisher.lock(await world.mirrored(publisher, "-1")), slot=slot)
            two = await world.port.prepare(publisher.lock(await world.mirrored(publisher, "-2")), slot=slot)
            assert isinstance(await world.settle(world.port, one), Included)
            await world.port.send(two)
            assert isinstance(await world.port.status(two), Lost)

        self.play(scene)


async def _any(world: World) -> Publication:
    return await world.at_home(world.person("x"))


async def _some_call(world: World) -> bytes:
    publisher = world.person("somebody")
    return publisher.lock(await world.mirrored(publisher, "-some"))


def _number_elsewhere(world: World) -> int:
    # A stretch of the other registry's numbers for each test, because some ledgers are shared by all tests.
    return 1 + int.from_bytes(word(world.label)[:4], "big")


def _renamed(withdrawal: Any, **changes: Any) -> Any:
    return dataclasses.replace(withdrawal, nonce=word(f"another nonce {sorted(changes)}"), **changes)


async def _check_refusals(world: World, cases: list[tuple[bytes, type[e.Refusal]]]) -> None:
    for call, expected in cases:
        with pytest.raises(expected):
            await world.port.prepare(call, slot=await world.port.next_slot())


async def _check_everything(port: ChainPort, expected: type[Exception], world: World) -> None:
    account: Address = world.person("x").address
    call = await _some_call(world)
    questions: list[Callable[[], Awaitable[object]]] = [
        port.head,
        port.validator_set,
        lambda: port.events(Sequence(1), 10),
        lambda: port.block_hash(0),
        lambda: port.balance(account),
        lambda: port.prepare(call, slot=0),
    ]
    for question in questions:
        with pytest.raises(expected):
            await question()


async def _race(world: World, one: bytes, other: bytes) -> list[CallStatus]:
    # Both are tried on the same state, so that both go through when they are prepared.
    prepared = [
        (port, await port.prepare(call, slot=await port.next_slot()))
        for port, call in ((world.port, one), (world.rival, other))
    ]
    for port, transaction in prepared:
        await port.send(transaction)
    return [await world.settle(port, transaction) for port, transaction in prepared]


async def _unlawful_locks(
    world: World, publisher: Signer, stranger: Signer, lawful: Publication
) -> list[tuple[bytes, e.Refusal]]:
    fresh = await world.at_home(publisher, "-fresh")
    signature = publisher.sign(fresh)
    elsewhere = publisher.publication(
        home=ELSEWHERE, mirror=dataclasses.replace(ELSEWHERE, registry=word("y")), deadline=lawful.deadline
    )

    def change(**changes: Any) -> bytes:
        return publisher.lock(dataclasses.replace(fresh, **changes))

    small = MIN_DEPOSIT - 1
    return [
        (encode_call("lockModel", fresh, stranger.sign(fresh)), e.WrongSigner(publisher.address, stranger.address)),
        (encode_call("lockModel", fresh, _high_s(signature)), e.HighS()),
        (encode_call("lockModel", fresh, signature[:-1]), e.BadSignature()),
        (encode_call("lockModel", fresh, signature[:-1] + b"\x00"), e.BadSignature()),
        (publisher.lock(elsewhere), e.WrongRegistry(ELSEWHERE.registry, world.lane.registry)),
        (change(format=2), e.UnsupportedFormat(2)),
        (change(kind=3), e.UnsupportedKind(3)),
        (change(name="Digits"), e.BadName()),
        (change(version=0), e.BadVersion()),
        (change(ciphertext=Cid(codec=0x71, digest=word("x"))), e.BadCid(0x71)),
        (change(policy_hash=word("policy")), e.UnsupportedPolicy(word("policy"))),
        (change(terms=Terms(currency=ZERO32, unit=0, price=1)), e.UnsupportedTerms()),
        (change(extension_hash=word("more")), e.UnsupportedExtension(word("more"))),
        (change(mirrors=()), e.BadMirrors()),
        (change(deposit=small), e.SmallDeposit(MIN_DEPOSIT, small)),
        (change(nonce=lawful.nonce), e.NonceUsed(lawful.nonce)),
        (change(name=lawful.name), e.NameTaken()),
        (change(deposit=26), e.LowBalance(26, 15)),
    ]
