"""What a relay takes from users, and what it refuses before anything is stored."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from caimi.ports.relay_store import AddCall, CallRow, CallState, Purpose, PutCall, RelayStep
from caimi.protocol.publication import State
from caimi.relay.calls import Failure, brought_again, failed, new_call
from caimi.relay.effects import effect_present
from caimi.relay.lanes import UnknownLane
from caimi.types.errors import (
    BadCid,
    BadEncoding,
    BadMirrors,
    BadName,
    BadSignature,
    BadVersion,
    CaimiError,
    Expired,
    HighS,
    PastDeadline,
    UnknownFunction,
    UnsupportedExtension,
    UnsupportedFormat,
    UnsupportedKind,
    UnsupportedPolicy,
    UnsupportedTerms,
    WrongCommitment,
    WrongSigner,
)
from caimi.types.primitives import ZERO32, Bytes32, Epoch, PublicationId, UnixSeconds
from caimi.types.records import Answer, Cid, HostKey, InferenceRequest, Lane, Terms
from caimi.wire.codec import encode
from caimi.wire.digests import typed_digest
from caimi.wire.functions import encode_call
from caimi.wire.keccak import keccak256
from tests.unit.relay.world import START, Stop, World, key, run

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
NOWHERE = Lane(chain=keccak256(b"nowhere"), registry=keccak256(b"nowhere"))


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"format": 2}, UnsupportedFormat),
        ({"kind": 3}, UnsupportedKind),
        ({"name": "Bad Name"}, BadName),
        ({"version": 0}, BadVersion),
        ({"ciphertext": Cid(codec=0x71, digest=keccak256(b"x"))}, BadCid),
        ({"policy_hash": ZERO32}, UnsupportedPolicy),
        ({"terms": Terms(currency=ZERO32, unit=0, price=1)}, UnsupportedTerms),
        ({"extension_hash": keccak256(b"x")}, UnsupportedExtension),
        ({"mirrors": ()}, BadMirrors),
        ({"deadline": UnixSeconds(START - 1)}, PastDeadline),
        ({"home": NOWHERE}, UnknownLane),
    ],
)
def test_rejects_publication_that_no_registry_would_lock(fields: dict[str, Any], error: type[CaimiError]) -> None:
    async def scenario() -> None:
        with World() as world:
            await world.step()
            lawful, _, _ = world.publication("fabric", "ethereum")
            publication = dataclasses.replace(lawful, **fields)
            with pytest.raises(error):
                await world.publish(publication, _signed(world, "publisher", publication))
            assert world.stores[0].publications(10) == ()
            assert all(not world.stores[0].call_counts(world.lane(name)) for name in world.ledgers)

    run(scenario())


def _high(signature: bytes) -> bytes:
    s = ORDER - int.from_bytes(signature[32:64], "big")
    return signature[:32] + s.to_bytes(32, "big") + bytes([55 - signature[64]])


def _short(signature: bytes) -> bytes:
    return signature[:64]


def _odd(signature: bytes) -> bytes:
    return signature[:64] + b"\x1d"


def _changed(signature: bytes) -> bytes:
    return signature[:31] + bytes([signature[31] ^ 1]) + signature[32:]


@pytest.mark.parametrize(
    ("change", "errors"),
    [
        (_short, (BadSignature,)),
        (_odd, (BadSignature,)),
        (_high, (HighS,)),
        (_changed, (WrongSigner, BadSignature)),
    ],
)
def test_rejects_publication_that_its_publisher_did_not_sign(
    change: Callable[[bytes], bytes], errors: tuple[type[CaimiError], ...]
) -> None:
    async def scenario() -> None:
        with World() as world:
            publication, signature, _ = world.publication("fabric", "ethereum")
            with pytest.raises(errors):
                await world.publish(publication, change(signature))
            assert world.stores[0].publications(10) == ()

    run(scenario())


def test_rejects_bytes_that_are_no_publication() -> None:
    async def scenario() -> None:
        with World() as world:
            publication, signature, _ = world.publication("fabric", "ethereum")
            right = encode(publication)
            for wrong in (right[:-1], right + b"\0", b"", right + bytes(1 << 18)):
                with pytest.raises(BadEncoding):
                    await world.relays[0].intake.publish(wrong, signature)
            with pytest.raises(WrongSigner):
                await world.relays[0].intake.publish(right.replace(b"digits", b"digitt"), signature)
            assert world.stores[0].publications(10) == ()

    run(scenario())


def test_farthest_deadline_is_kept() -> None:
    async def scenario() -> None:
        with World() as world:
            publication, signature, _ = world.publication("fabric", "ethereum", deadline=UnixSeconds(2**64 - 1))
            identifier = await world.publish(publication, signature)
            row = world.stores[0].publication(identifier)
            assert row is not None
            assert row.deadline == 2**63 - 1

    run(scenario())


def test_repeated_publication_queues_nothing_more() -> None:
    async def scenario() -> None:
        with World() as world:
            publication, signature, identifier = world.publication("fabric", "ethereum")
            first = await world.publish(publication, signature)
            assert await world.publish(publication, signature) == first == identifier
            assert len(world.stores[0].calls_about(identifier)) == 2

    run(scenario())


def test_what_arrives_together_is_committed_together() -> None:
    async def scenario() -> None:
        stop = Stop("never")
        with World(crash=stop) as world:
            signed = [world.publication("fabric", "ethereum", nonce=keccak256(bytes([n]))) for n in range(20)]
            await asyncio.gather(*(world.publish(publication, signature) for publication, signature, _ in signed))
            assert stop.seen == ["relay.accepted"]
            assert len(world.stores[0].publications(100)) == 20

    run(scenario())


def _request(world: World, publication: PublicationId, **fields: Any) -> InferenceRequest:
    request = InferenceRequest(
        at=world.lane("ethereum"),
        publication=publication,
        consumer=key("consumer").address,
        input=Cid(codec=0x55, digest=keccak256(b"input")),
        input_commitment=keccak256(b"commitment"),
        client_key=keccak256(b"client"),
        nonce=keccak256(b"request"),
        deadline=UnixSeconds(START + 1000),
    )
    return dataclasses.replace(request, **fields)


def _signed(world: World, who: str, record: object) -> bytes:
    return key(who).sign(typed_digest(world.network, record)).to_bytes()


@pytest.mark.parametrize(
    ("fields", "signer", "error"),
    [
        ({}, "somebody else", WrongSigner),
        ({"deadline": UnixSeconds(START)}, "consumer", Expired),
        ({"input": Cid(codec=1, digest=keccak256(b"x"))}, "consumer", BadCid),
        ({"at": NOWHERE}, "consumer", UnknownLane),
    ],
)
def test_rejects_request(fields: dict[str, Any], signer: str, error: type[CaimiError]) -> None:
    async def scenario() -> None:
        with World() as world:
            await world.step()
            request = _request(world, PublicationId(keccak256(b"p")), **fields)
            with pytest.raises(error):
                await world.relays[0].intake.request(encode(request), _signed(world, signer, request))
            assert not world.stores[0].call_counts(world.lane("ethereum"))

    run(scenario())


def _answer(world: World, request: Bytes32, publication: PublicationId) -> tuple[Answer, HostKey]:
    host_key = HostKey(
        sealing_key=keccak256(b"sealing"),
        signing_key=key("host").address,
        epoch=Epoch(1),
        until=UnixSeconds(START + 10_000),
    )
    answer = Answer(
        at=world.lane("ethereum"),
        request=request,
        publication=publication,
        lease=keccak256(b"lease"),
        output=Cid(codec=0x55, digest=keccak256(b"output")),
        input_commitment=keccak256(b"commitment"),
        output_commitment=keccak256(b"output commitment"),
        receipt_hash=keccak256(b"receipt"),
        answered_at=UnixSeconds(START),
    )
    return answer, host_key


def test_request_is_answered_and_its_receipt_reaches_home() -> None:
    async def scenario() -> None:
        with World() as world:
            await world.fund("fabric", 100)
            publication, signature, identifier = world.publication("fabric", "ethereum")
            await world.publish(publication, signature)
            await world.until(lambda: world.all_at(State.COMMITTED, identifier))
            intake, ledgers = world.relays[0].intake, world.ledgers
            record = _request(world, identifier)
            request = await intake.request(encode(record), _signed(world, "consumer", record))
            await world.until(lambda: request.id in ledgers["ethereum"].tip.registry.state.requests)
            answer, host_key = _answer(world, request.id, identifier)
            signatures = _signed(world, "host", answer), _signed(world, "operator", host_key)
            call = encode_call("answerInference", answer, signatures[0], host_key, signatures[1])
            port = world.port("ethereum", "reader")
            assert not await effect_present(port, call, world.network)
            await intake.answer(encode(answer), signatures[0], encode(host_key), signatures[1])
            await world.until(
                lambda: ledgers["ethereum"].tip.registry.state.requests[request.id].receipt_hash != ZERO32
            )
            assert await effect_present(port, call, world.network)
            carried = ledgers["fabric"]
            await world.until(lambda: request.id in carried.tip.registry.state.carried_receipts)
            timeline = world.relays[0].timelines.request(request.id)
            assert timeline is not None
            assert (timeline.state, timeline.lane, timeline.waits_for) == ("ANSWERED", "ethereum", "nothing")
            assert (timeline.receipt_hash, timeline.output) == (answer.receipt_hash, answer.output)
            assert timeline.publication == identifier
            whats = {step.what for step in timeline.steps}
            assert whats == {"call request", "call answer", "call carry", "event REQUESTED", "event ANSWERED"}
            assert all(len(s.signers) == 3 for s in timeline.steps if s.what == "call carry")

    run(scenario())


@pytest.mark.parametrize(
    ("fields", "signer", "error"),
    [
        ({}, "somebody else", WrongSigner),
        ({"output": Cid(codec=1, digest=keccak256(b"x"))}, "host", BadCid),
        ({"receipt_hash": ZERO32}, "host", WrongCommitment),
        ({"at": NOWHERE}, "host", UnknownLane),
    ],
)
def test_rejects_answer(fields: dict[str, Any], signer: str, error: type[CaimiError]) -> None:
    async def scenario() -> None:
        with World() as world:
            answer, host_key = _answer(world, keccak256(b"request"), PublicationId(keccak256(b"p")))
            changed = dataclasses.replace(answer, **fields)
            operator = _signed(world, "operator", host_key)
            with pytest.raises(error):
                await world.relays[0].intake.answer(
                    encode(changed), _signed(world, signer, changed), encode(host_key), operator
                )
            with pytest.raises(BadSignature):
                await world.relays[0].intake.answer(
                    encode(answer), _signed(world, "host", answer), encode(host_key), operator[:64] + b"\0"
                )
            assert not world.stores[0].call_counts(world.lane("ethereum"))

    run(scenario())


def test_rejects_calls_that_are_none_of_a_registry() -> None:
    async def scenario() -> None:
        with World() as world:
            intake, lane = world.relays[0].intake, world.lane("fabric")
            abort = encode_call("abort", keccak256(b"p"))
            with pytest.raises(UnknownFunction):
                await intake.call(lane, b"\0\1\2\3" + abort[4:])
            with pytest.raises(BadEncoding):
                await intake.call(lane, abort + b"\0")
            with pytest.raises(BadEncoding):
                await intake.call(lane, encode_call("multicall", (abort,)))
            with pytest.raises(UnknownLane):
                await intake.call(NOWHERE, abort)
            assert not world.stores[0].call_counts(lane)

    run(scenario())


def test_publication_timeline_says_what_it_waits_for() -> None:
    async def scenario() -> None:
        with World() as world:
            await world.fund("fabric", 100)
            publication, signature, identifier = world.publication("fabric", "ethereum")
            timelines = world.relays[0].timelines
            assert await timelines.publication(identifier) is None
            await world.publish(publication, signature)
            said: list[str] = []
            for _ in range(14):
                timeline = await timelines.publication(identifier)
                assert timeline is not None
                if timeline.waits_for not in said:
                    said.append(timeline.waits_for)
                await world.step()
            assert said[0].startswith("the lock on fabric to be final: queued")
            assert any("certified answers of the mirrors" in text for text in said)
            assert said[-1] == "nothing: all lanes have the outcome"
            timeline = await timelines.publication(identifier)
            assert timeline is not None
            assert timeline.states == {"fabric": "COMMITTED", "ethereum": "COMMITTED"}
            assert timeline.outcome == "COMMITTED"
            carried = [step for step in timeline.steps if step.what == "call carry"]
            assert {step.lane for step in carried} == {"fabric", "ethereum"}
            assert all(len(step.signers) == 3 and step.height and step.transaction for step in carried)

    run(scenario())


def test_what_was_committed_may_be_brought_again_after_its_deadline() -> None:
    async def scenario() -> None:
        with World() as world:
            await world.fund("fabric", 100)
            publication, signature, identifier = world.publication("fabric", "ethereum")
            await world.publish(publication, signature)
            await world.until(lambda: world.all_at(State.COMMITTED, identifier))
            world.clock.advance(publication.deadline - world.clock.now() + 1000.0)
            await world.step()
            assert await world.publish(publication, signature) == identifier
            unknown, its_signature, _ = world.publication(
                "fabric", "ethereum", nonce=keccak256(b"late"), deadline=publication.deadline
            )
            with pytest.raises(PastDeadline):
                await world.publish(unknown, its_signature)

    run(scenario())


def _refused(row: CallRow, name: str) -> CallRow:
    return failed(row, CallState.REFUSED, Failure(name=name, values={}), UnixSeconds(START))


@pytest.mark.parametrize(
    ("before", "is_tried"),
    [
        (None, False),
        (CallState.QUEUED, False),
        (CallState.BOUND, False),
        (CallState.DONE, False),
        ("UnknownOperator", False),
        ("NotLocked", False),
        ("UnknownRequest", True),
        ("CallRejected", True),
    ],
)
def test_only_what_was_given_up_is_tried_anew(before: CallState | str | None, is_tried: bool) -> None:
    call = encode_call("abort", keccak256(b"p"))
    lane = Lane(chain=keccak256(b"chain"), registry=keccak256(b"registry"))
    row = new_call("answer/1", lane, call, purpose=Purpose.ANSWER, subjects=(), now=UnixSeconds(START))
    known = None
    if isinstance(before, CallState):
        known = dataclasses.replace(row, state=before)
    elif before is not None:
        known = _refused(row, before)
    assert isinstance(brought_again(known, row), PutCall if is_tried else AddCall)


def test_a_bogus_answer_does_not_bar_the_true_one() -> None:
    call = encode_call("abort", keccak256(b"p"))
    lane = Lane(chain=keccak256(b"chain"), registry=keccak256(b"registry"))
    bogus = new_call("answer/1", lane, call[:-1] + b"\1", purpose=Purpose.ANSWER, subjects=(), now=UnixSeconds(START))
    true = new_call("answer/1", lane, call, purpose=Purpose.ANSWER, subjects=(), now=UnixSeconds(START))
    assert brought_again(_refused(bogus, "UnknownOperator"), true) == PutCall(row=true)
    assert brought_again(bogus, true) == AddCall(row=true)


def test_a_request_and_a_lock_that_were_given_up_are_queued_again() -> None:
    async def scenario() -> None:
        with World() as world:
            publication, signature, identifier = world.publication("fabric", "ethereum")
            record, store = _request(world, identifier), world.stores[0]

            async def bring() -> list[CallRow]:
                await world.publish(publication, signature)
                accepted = await world.relays[0].intake.request(encode(record), _signed(world, "consumer", record))
                rows = [*store.calls_about(identifier), store.call(accepted.key)]
                return [row for row in rows if row is not None]

            rows = await bring()
            store.write(RelayStep.REFUSED, *[PutCall(row=_refused(row, "LowBalance")) for row in rows])
            again = await bring()
            assert [(row.state, row.attempts, row.refusal) for row in again] == [(CallState.QUEUED, 0, None)] * 3
            assert [row.key for row in again] == [row.key for row in rows]

    run(scenario())
