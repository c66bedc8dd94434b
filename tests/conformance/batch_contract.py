"""What every `ChainPort` shows of batches: locked at home, followed at a mirror, taken out, and what is refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence as Listing

import pytest

from caimi.ports.call_errors import CallTooLarge
from caimi.ports.chain import BatchView
from caimi.protocol.batches import MAX_BATCH, RULES_VERSION, batch_root
from caimi.protocol.publication import AbortReason, Role, State
from caimi.types import errors as e
from caimi.types.primitives import ZERO32, Bytes32, UnixSeconds
from caimi.types.records import BatchProof, Event, Kind, Publication
from caimi.wire.digests import batch_leaf
from caimi.wire.functions import encode_body, encode_call
from caimi.wire.merkle import merkle_multiproof
from tests.conformance.chain_world import Scenes, World, all_events, check_refusals, number_elsewhere
from tests.conformance.scenario import ELSEWHERE, MIN_DEPOSIT, Signer, run_call

__all__ = ["BatchContract", "at_home"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """Publications of one signer, in the order of their batch."""

    signer: Signer
    publications: tuple[Publication, ...]

    @property
    def root(self) -> Bytes32:
        """The batch's name."""
        return batch_root(tuple(self.signer.identifier(p) for p in self.publications))

    def proof(self, index: int) -> BatchProof:
        """That the publication is at `index`."""
        leaves = [batch_leaf(i, self.signer.identifier(p)) for i, p in enumerate(self.publications)]
        home = self.publications[0].home
        return BatchProof(home=home, root=self.root, index=index, siblings=merkle_multiproof(leaves, [index]))

    def lock(self) -> bytes:
        """The call that locks it at home."""
        return lock_call(self.signer, self.publications)

    def take_out(self, index: int) -> bytes:
        """The call that gives one of them its own record."""
        publication = self.publications[index]
        return encode_call("takeOut", publication, self.signer.sign(publication), self.proof(index))


def lock_call(signer: Signer, publications: Listing[Publication]) -> bytes:
    """The call that locks publications as one batch."""
    return encode_call("lockBatch", tuple(publications), tuple(signer.sign(p) for p in publications))


async def at_home(world: World, signer: Signer, count: int) -> Gathered:
    """A batch of which the registry is the home."""
    deadline = await world.now() + 3_600
    made = [await world.at_home(signer, f"-{n}", deadline=deadline) for n in range(count)]
    return Gathered(signer=signer, publications=tuple(made))


async def mirrored(world: World, signer: Signer, count: int) -> Gathered:
    """A batch of which the registry is the mirror."""
    deadline = await world.now() + 3_600
    made = [await world.mirrored(signer, f"-{n}", deadline=deadline) for n in range(count)]
    return Gathered(signer=signer, publications=tuple(made))


def told(world: World, kind: Kind, root: Bytes32, *values: object) -> Event:
    """An event of a batch that the other registry tells this one."""
    return Event(schema=1, kind=kind, destinations=(world.lane,), subject=root, body=encode_body(kind, *values))


class BatchContract(Scenes):
    """Calls about batches and what they change."""

    def test_batch_is_locked_logged_committed_and_taken_out(self) -> None:
        async def scene(world: World) -> None:
            publisher = await world.publisher(35)
            batch = await at_home(world, publisher, 3)
            root, first = batch.root, await world.next_number()
            identifiers = tuple(publisher.identifier(p) for p in batch.publications)
            assert await world.port.batch(world.lane, root) is None
            assert await world.port.batch_ids(root) is None
            with pytest.raises(e.UnknownBatch):
                await world.port.state_in(identifiers[0], batch.proof(0))
            await world.do(batch.lock())
            (event,) = await all_events(world.port, first)
            body = encode_body(Kind.BATCH_LOCKED, 3)
            there = Event(schema=1, kind=Kind.BATCH_LOCKED, destinations=(ELSEWHERE,), subject=root, body=body)
            assert event.item.event == there
            assert await world.port.batch_ids(root) == identifiers
            assert await world.reader().batch_ids(root) == identifiers
            deadline = UnixSeconds(batch.publications[0].deadline)
            locked = BatchView(
                role=Role.HOME,
                state=State.LOCKED,
                count=3,
                taken=0,
                earliest=deadline,
                latest=deadline,
                deposits=3 * MIN_DEPOSIT,
                awaited=1,
                reason=AbortReason.NONE,
            )
            assert await world.port.batch(world.lane, root) == locked
            assert await world.port.balance(publisher.address) == 35 - 3 * MIN_DEPOSIT
            await world.do(batch.lock())
            answered = told(world, Kind.BATCH_ANSWERED, root, RULES_VERSION, world.lane)
            await world.do(run_call(world.network, ELSEWHERE, [answered], number_elsewhere(world)))
            assert await world.port.state_in(identifiers[2], batch.proof(2)) == (Role.HOME, State.COMMITTED)
            assert await world.port.publication(identifiers[2]) is None
            await world.do(batch.take_out(2))
            record = await world.port.publication(identifiers[2])
            assert record is not None
            assert (record.role, record.state, record.deposit) == (Role.HOME, State.COMMITTED, MIN_DEPOSIT)
            after = await world.port.batch(world.lane, root)
            changes = {"state": State.COMMITTED, "awaited": 0, "deposits": 2 * MIN_DEPOSIT}
            assert after == dataclasses.replace(locked, **changes)
            kinds = [x.item.event.kind for x in await all_events(world.port, first)]
            assert kinds == [Kind.BATCH_LOCKED, Kind.BATCH_OUTCOME]

        self.play(scene)

    def test_mirror_follows_a_batch(self) -> None:
        async def scene(world: World) -> None:
            batch = await mirrored(world, world.person("publisher"), 2)
            root, first = batch.root, await world.next_number()
            identifiers = tuple(batch.signer.identifier(p) for p in batch.publications)
            await world.do(encode_call("answerBatch", ELSEWHERE, root))
            (event,) = await all_events(world.port, first)
            assert (event.item.event.kind, event.item.event.destinations) == (Kind.BATCH_ANSWERED, (ELSEWHERE,))
            assert await world.port.batch_ids(root) is None
            assert await world.port.state_in(identifiers[0], batch.proof(0)) == (Role.MIRROR, State.LOCKED)
            outcome = told(world, Kind.BATCH_OUTCOME, root, State.COMMITTED, 0, 2, 0b10)
            await world.do(run_call(world.network, ELSEWHERE, [outcome], number_elsewhere(world)))
            view = await world.port.batch(ELSEWHERE, root)
            assert view is not None
            assert (view.role, view.state, view.count, view.taken) == (Role.MIRROR, State.COMMITTED, 2, 0b10)
            assert await world.port.state_in(identifiers[0], batch.proof(0)) == (Role.MIRROR, State.COMMITTED)
            assert await world.port.state_in(identifiers[1], batch.proof(1)) == (Role.MIRROR, State.NONE)
            with pytest.raises(e.WrongRoot) as caught:
                await world.port.state_in(identifiers[1], batch.proof(0))
            assert caught.value.values[0] == root
            await check_refusals(world, [(batch.take_out(1), e.TakenOut)])
            await world.do(batch.take_out(0))
            record = await world.port.publication(identifiers[0])
            assert record is not None
            assert (record.role, record.state) == (Role.MIRROR, State.COMMITTED)

        self.play(scene)

    def test_rejects_batches_and_names_the_culprit(self) -> None:
        async def scene(world: World) -> None:
            publisher = await world.publisher(35)
            batch = await at_home(world, publisher, 3)
            one, two, three = batch.publications
            stranger = world.person("stranger")
            signatures = tuple(publisher.sign(p) for p in batch.publications)
            unsigned = (*signatures[:2], stranger.sign(three))
            cases: list[tuple[bytes, e.Refusal]] = [
                (encode_call("lockBatch", (), ()), e.EmptyBatch()),
                (encode_call("lockBatch", (one, two), signatures[:1]), e.BadEncoding()),
                (encode_call("lockBatch", batch.publications, unsigned), e.BatchItem(2, e.WrongSigner.code)),
                (lock_call(publisher, (one, two, one)), e.BatchItem(2, e.KnownPublication.code)),
                (
                    lock_call(publisher, (one, dataclasses.replace(two, deposit=16), three)),
                    e.BatchItem(2, e.LowBalance.code),
                ),
                (
                    lock_call(publisher, (one, dataclasses.replace(two, nonce=one.nonce))),
                    e.BatchItem(1, e.NonceUsed.code),
                ),
                (
                    lock_call(publisher, (one, dataclasses.replace(two, home=ELSEWHERE))),
                    e.BatchItem(1, e.NotHome.code),
                ),
                (encode_call("abortBatch", batch.root), e.UnknownBatch(batch.root)),
                (batch.take_out(0), e.UnknownBatch(batch.root)),
                (encode_call("answerBatch", world.lane, batch.root), e.OwnEvents()),
                (encode_call("answerBatch", ELSEWHERE, ZERO32), e.ZeroRoot()),
            ]
            for call, expected in cases:
                with pytest.raises(type(expected)) as caught:
                    await world.port.prepare(call, slot=await world.port.next_slot())
                assert caught.value.values == expected.values

        self.play(scene)

    def test_rejects_what_a_locked_batch_does_not_allow(self) -> None:
        async def scene(world: World) -> None:
            publisher, stranger = await world.publisher(35), world.person("stranger")
            batch = await at_home(world, publisher, 3)
            one = batch.publications[0]
            await world.do(batch.lock())
            refusals: list[tuple[bytes, type[e.Refusal]]] = [
                (encode_call("abortBatch", batch.root), e.DeadlineNotPassed),
                (batch.take_out(0), e.DeadlineNotPassed),
                (publisher.abort_unlocked(one), e.InBatch),
                (encode_call("abort", publisher.identifier(one)), e.UnknownPublication),
                (
                    encode_call("takeOut", one, publisher.sign(one), dataclasses.replace(batch.proof(0), index=3)),
                    e.ItemOutOfRun,
                ),
                (
                    encode_call("takeOut", one, publisher.sign(one), dataclasses.replace(batch.proof(0), siblings=())),
                    e.ProofTooShort,
                ),
                (encode_call("takeOut", one, stranger.sign(one), batch.proof(0)), e.WrongSigner),
            ]
            await check_refusals(world, refusals)

        self.play(scene)

    def test_rejects_a_batch_that_is_too_long(self) -> None:
        async def scene(world: World) -> None:
            batch = await at_home(world, world.person("publisher"), MAX_BATCH + 1)
            # Where one transaction cannot even hold it, nobody asks the registry.
            with pytest.raises((e.BatchTooLong, CallTooLarge)):
                await world.port.prepare(batch.lock(), slot=await world.port.next_slot())

        self.play(scene)
