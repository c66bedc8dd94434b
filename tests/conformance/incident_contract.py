"""What felled other bridges, tried on a registry: the numbers are those of the table in spec 90 §8."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence as Several

from caimi.protocol.publication import AbortReason, Role, State
from caimi.types import errors as e
from caimi.types.primitives import ZERO32, Bytes32, Epoch, Generation, Sequence, SignerIndex
from caimi.types.records import Certificate, Event, Item, Kind, Signature
from caimi.wire.digests import leaf_hash, typed_digest
from caimi.wire.functions import encode_body, encode_call
from caimi.wire.merkle import merkle_multiproof, merkle_root, node_hash
from tests.conformance.chain_world import HOUR, Scenes, World, check_refusals, number_elsewhere
from tests.conformance.scenario import ELSEWHERE, certificate, key, run_call, word

__all__ = ["IncidentContract"]

_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def told(world: World, count: int = 1) -> tuple[Item, ...]:
    """Outcomes of publications that nobody knows, as another home tells them."""
    first = number_elsewhere(world)
    body = encode_body(Kind.OUTCOME, State.ABORTED, AbortReason.DEADLINE)
    return tuple(
        Item(
            sequence=Sequence(first + n),
            event=Event(
                schema=1,
                kind=Kind.OUTCOME,
                destinations=(world.lane,),
                subject=word(f"{world.label} {n}"),
                body=body,
            ),
        )
        for n in range(count)
    )


def applied(run: Certificate, items: Several[Item], proof: Several[Bytes32] = ()) -> bytes:
    return encode_call("applyRun", run, tuple(items), tuple(proof))


class IncidentContract(Scenes):
    """One test for each way in."""

    def test_t04_no_quorum_no_certificate(self) -> None:
        async def scene(world: World) -> None:
            items = told(world)
            good = certificate(world.network, ELSEWHERE, items)
            fewer = [dataclasses.replace(good, signatures=good.signatures[:count]) for count in (0, 1, 2)]
            await check_refusals(world, [(applied(run, items), e.TooFewSignatures) for run in fewer])

        self.play(scene)

    def test_t07_nobody_brings_his_own_verifier(self) -> None:
        # Other validators, other data that is signed, a seat that does not exist: what verifies is in the registry.
        async def scene(world: World) -> None:
            items = told(world)
            good = certificate(world.network, ELSEWHERE, items)
            foreign = certificate(word("another network"), ELSEWHERE, items)
            digest = typed_digest(world.network, good.checkpoint)
            strangers = tuple(key(f"stranger {n}").sign(digest).as_record(SignerIndex(n)) for n in range(3))
            beyond = (*good.signatures[:2], dataclasses.replace(good.signatures[2], signer=SignerIndex(9)))
            await check_refusals(
                world,
                [
                    (applied(foreign, items), e.WrongSigner),
                    (applied(dataclasses.replace(good, signatures=strangers), items), e.WrongSigner),
                    (applied(dataclasses.replace(good, signatures=beyond), items), e.UnknownSigner),
                ],
            )

        self.play(scene)

    def test_t09_zero_roots_and_empty_runs_prove_nothing(self) -> None:
        async def scene(world: World) -> None:
            items = told(world)
            zero = certificate(world.network, ELSEWHERE, items, root=ZERO32)
            nothing = certificate(world.network, ELSEWHERE, items, first_sequence=Sequence(0))
            backwards = certificate(world.network, ELSEWHERE, items, first_sequence=Sequence(items[0].sequence + 1))
            await check_refusals(
                world,
                [
                    (applied(zero, items), e.ZeroRoot),
                    (applied(certificate(world.network, ELSEWHERE, items), ()), e.EmptyRun),
                    (applied(nothing, items), e.EmptyRun),
                    (applied(backwards, items), e.EmptyRun),
                ],
            )

        self.play(scene)

    def test_t10_what_was_never_proven_is_not_processed(self) -> None:
        async def scene(world: World) -> None:
            items = told(world, 2)
            run = certificate(world.network, ELSEWHERE, items[:1])
            other = dataclasses.replace(items[0], event=items[1].event)
            await check_refusals(world, [(applied(run, (other,)), e.WrongRoot)])
            assert not await world.port.is_marked(ELSEWHERE, Generation(1), items[0].sequence)

        self.play(scene)

    def test_t11_a_carried_event_calls_nothing_and_moves_no_money_of_others(self) -> None:
        async def scene(world: World) -> None:
            publisher = await world.publisher(50)
            publication = await world.at_home(publisher)
            await world.do(publisher.lock(publication))
            identifier = publisher.identifier(publication)
            first = number_elsewhere(world)
            taking = publisher.withdrawal(at=world.lane, amount=1, deadline=await world.now() + HOUR)
            body = publisher.withdraw(taking)
            odd = [
                Event(schema=1, kind=kind, destinations=(), subject=identifier, body=body)
                for kind in (0, Kind.GRANT, Kind.SET_CHANGE, Kind.SETTLEMENT, 65_535)
            ]
            # A stranger to this publication tells its end.
            ends = Event(
                schema=1,
                kind=Kind.OUTCOME,
                destinations=(),
                subject=identifier,
                body=encode_body(Kind.OUTCOME, State.ABORTED, AbortReason.DEADLINE),
            )
            before = await world.port.balance(publisher.address)
            await world.do(run_call(world.network, ELSEWHERE, [*odd, ends], first))
            assert await world.port.balance(publisher.address) == before
            view = await world.port.publication(identifier)
            assert view is not None
            assert (view.role, view.state) == (Role.HOME, State.LOCKED)

        self.play(scene)

    def test_t15_t19_proofs_have_exactly_their_parts(self) -> None:
        async def scene(world: World) -> None:
            items = told(world, 5)
            leaves = [leaf_hash(ELSEWHERE, item) for item in items]
            run, proof = certificate(world.network, ELSEWHERE, items), merkle_multiproof(leaves, [1])
            await check_refusals(
                world,
                [
                    (applied(run, items[1:2], (*proof, ZERO32)), e.ProofTooLong),
                    (applied(run, items[1:2], proof[:-1]), e.ProofTooShort),
                    (applied(run, items[1:2], (proof[1], proof[0], *proof[2:])), e.WrongRoot),
                    (applied(run, items, proof[:1]), e.ProofTooLong),
                    (applied(run, (items[1], items[0]), proof), e.ItemOutOfRun),
                ],
            )

        self.play(scene)

    def test_t16_t18_an_inner_node_is_no_leaf_and_an_odd_leaf_counts_once(self) -> None:
        async def scene(world: World) -> None:
            items = told(world, 3)
            leaves = [leaf_hash(ELSEWHERE, item) for item in items]
            # The root of two leaves, passed off as that of one event; three leaves as four with the last one doubled.
            one = certificate(world.network, ELSEWHERE, items[:1], root=node_hash(leaves[0], leaves[1]))
            doubled = merkle_root([*leaves, leaves[2]])
            four = certificate(
                world.network,
                ELSEWHERE,
                items,
                last_sequence=Sequence(items[0].sequence + 3),
                root=merkle_root(leaves),
            )
            assert doubled != merkle_root(leaves)
            await check_refusals(
                world,
                [
                    (applied(one, items[:1]), e.WrongRoot),
                    (applied(one, items[:1], (leaves[1],)), e.ProofTooLong),
                    (applied(four, items, (leaves[2],)), e.WrongRoot),
                ],
            )

        self.play(scene)

    def test_t21_no_deposit_without_money(self) -> None:
        async def scene(world: World) -> None:
            poor = world.person("poor")
            await check_refusals(world, [(poor.lock(await world.at_home(poor)), e.LowBalance)])

        self.play(scene)

    def test_t27_what_counts_in_one_place_counts_in_no_other(self) -> None:
        async def scene(world: World) -> None:
            publisher = await world.publisher(50)
            items = told(world)
            now = await world.now()
            for_another = publisher.withdrawal(at=ELSEWHERE, amount=1, deadline=now + HOUR)
            here = publisher.withdrawal(at=world.lane, amount=1, deadline=now + HOUR)
            other_network = publisher.key.sign(typed_digest(word("another network"), here)).to_bytes()
            own = certificate(world.network, world.lane, items)
            await check_refusals(
                world,
                [
                    (publisher.withdraw(for_another), e.WrongRegistry),
                    (encode_call("withdraw", here, other_network), e.WrongSigner),
                    (applied(certificate(world.network, ELSEWHERE, items, epoch=Epoch(2)), items), e.WrongEpoch),
                    (applied(own, items), e.OwnEvents),
                    (
                        applied(certificate(world.network, ELSEWHERE, items, generation=Generation(2)), items),
                        e.WrongGeneration,
                    ),
                ],
            )

        self.play(scene)

    def test_t28_one_signature_has_one_form_and_counts_once(self) -> None:
        async def scene(world: World) -> None:
            items = told(world)
            good = certificate(world.network, ELSEWHERE, items)
            a, b, c = good.signatures
            high = dataclasses.replace(
                c, s=Bytes32((_ORDER - int.from_bytes(c.s, "big")).to_bytes(32, "big")), v=55 - c.v
            )
            cases: list[tuple[tuple[Signature, ...], type[e.Refusal]]] = [
                ((a, b, high), e.HighS),
                ((a, b, b), e.DuplicateSigner),
                ((a, c, b), e.UnsortedSigners),
                ((a, b, dataclasses.replace(c, v=29)), e.BadSignature),
                ((a, b, dataclasses.replace(c, v=55 - c.v)), e.WrongSigner),
                ((a, b, dataclasses.replace(c, r=ZERO32)), e.BadSignature),
            ]
            calls = [(applied(dataclasses.replace(good, signatures=some), items), error) for some, error in cases]
            await check_refusals(world, calls)

        self.play(scene)

    def test_t29_signatures_of_a_set_that_is_not_in_force_do_not_count(self) -> None:
        async def scene(world: World) -> None:
            items = told(world)
            old = certificate(world.network, ELSEWHERE, items, epoch=Epoch(0))
            await check_refusals(world, [(applied(old, items), e.WrongEpoch)])

        self.play(scene)
