"""What every registry does, seen through its port: locks, decisions, money, inference, and what each refuses."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from caimi.crypto.ecdsa import HALF_ORDER
from caimi.ports.call_errors import CallRejected
from caimi.ports.chain import Included
from caimi.protocol.publication import AbortReason, Role, State
from caimi.types import errors as e
from caimi.types.primitives import ZERO32, Epoch, Generation, Sequence
from caimi.types.records import Cid, Event, Item, Kind, Publication, Terms
from caimi.wire.digests import typed_digest
from caimi.wire.functions import encode_body, encode_call
from tests.conformance.chain_world import HOUR, Scenes, World, all_events, check_refusals, number_elsewhere
from tests.conformance.scenario import (
    CLOCK_WINDOW,
    ELSEWHERE,
    MIN_DEPOSIT,
    Signer,
    aborted,
    certificate,
    locked,
    run_call,
    word,
)

__all__ = ["RegistryContract"]


class RegistryContract(Scenes):
    """Calls and what they change."""

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

    def test_rejects_calls_that_are_none(self) -> None:
        async def scene(world: World) -> None:
            person = world.person("publisher")
            lock = person.lock(await world.mirrored(person))
            withdraw = person.withdraw(person.withdrawal(at=world.lane, amount=1, deadline=await world.now() + HOUR))
            nested = encode_call("multicall", ())
            cases: list[tuple[bytes, type[e.Refusal]]] = [
                (b"", e.UnknownFunction),
                (lock[:3], e.UnknownFunction),
                (b"\x01\x02\x03\x04" + lock[4:], e.UnknownFunction),
                (lock[:4], e.BadEncoding),
                (lock[:400], e.BadEncoding),
                (lock[:4] + b"\xff" * 32 + lock[36:], e.BadEncoding),
                (withdraw[:-96], e.BadEncoding),
                (encode_call("multicall", (lock, lock[:400])), e.BadEncoding),
                (encode_call("multicall", (lock, lock[:3])), e.UnknownFunction),
                (encode_call("multicall", (lock, nested)), e.BadEncoding),
                (encode_call("multicall", (b"",) * 1_001), e.BadEncoding),
            ]
            await check_refusals(world, cases)
            await world.do(encode_call("multicall", (lock, lock)))

        self.play(scene)

    def test_name_that_is_no_text_is_refused_as_a_name(self) -> None:
        async def scene(world: World) -> None:
            publisher = await world.publisher()
            name = b"digits\xff".decode("utf-8", "surrogateescape")
            at_home = await world.at_home(publisher, "-h", name=name)
            await check_refusals(world, [(publisher.lock(at_home), e.BadName)])
            mirrored, first = await world.mirrored(publisher, "-m", name=name), await world.next_number()
            await world.do(publisher.lock(mirrored))
            (event,) = await all_events(world.port, first)
            assert event.item.event.body == encode_body(Kind.REFUSED, e.BadName.code, ELSEWHERE)
            record = await world.port.publication(publisher.identifier(mirrored))
            assert record is not None
            assert record.state is State.REFUSED

        self.play(scene)

    # --- decisions

    def test_certified_run_commits_at_home_once(self) -> None:
        async def scene(world: World) -> None:
            publisher = await world.publisher()
            publication = await world.at_home(publisher)
            identifier = publisher.identifier(publication)
            await world.do(publisher.lock(publication))
            first = await world.next_number()
            number = number_elsewhere(world)
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
            await world.do(run_call(world.network, ELSEWHERE, [outcome], number_elsewhere(world)))
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
            await check_refusals(world, cases)

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
            await check_refusals(world, calls)
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
            await check_refusals(world, cases)

        self.play(scene)

    def test_request_is_answered_where_it_was_made(self) -> None:
        async def scene(world: World) -> None:
            publisher, host = await world.publisher(), world.person("host")
            publication = await world.at_home(publisher)
            identifier = publisher.identifier(publication)
            request = publisher.request(at=world.lane, publication=identifier, deadline=await world.now() + HOUR)
            call = encode_call("requestInference", request, publisher.sign(request))
            await check_refusals(world, [(call, e.UnknownPublication), (host.answer(request), e.UnknownRequest)])
            await world.do(publisher.lock(publication))
            await check_refusals(world, [(call, e.NotCommitted)])
            answer = locked(Role.MIRROR, publication, identifier)
            await world.do(run_call(world.network, ELSEWHERE, [answer], number_elsewhere(world)))
            first = await world.next_number()
            await world.do(call)
            await world.do(host.answer(request))
            kinds = [event.item.event.kind for event in await all_events(world.port, first)]
            assert kinds == [Kind.REQUESTED, Kind.ANSWERED]
            assert await world.port.receipt_of(typed_digest(world.network, request)) == word("receipt")

        self.play(scene)

    def test_rejects_unknown_functions_and_malformed_calls(self) -> None:
        async def scene(world: World) -> None:
            await check_refusals(world, [(b"\xde\xad\xbe\xef", e.UnknownFunction)])
            publisher = await world.publisher()
            with pytest.raises((e.BadEncoding, CallRejected)):
                call = publisher.lock(await world.at_home(publisher))[:-40]
                await world.port.prepare(call, slot=await world.port.next_slot())

        self.play(scene)


def _high_s(signature: bytes) -> bytes:
    s = 2 * HALF_ORDER + 1 - int.from_bytes(signature[32:64], "big")
    return signature[:32] + s.to_bytes(32, "big") + bytes((55 - signature[64],))


def _renamed(withdrawal: Any, **changes: Any) -> Any:
    return dataclasses.replace(withdrawal, nonce=word(f"another nonce {sorted(changes)}"), **changes)


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
