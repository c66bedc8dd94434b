"""Which orders a validator signs for its operator, over HTTP and in process, and which it never does."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from caimi.apps.hex_values import hex_of, read_hex
from caimi.apps.http_server import bearer_check, new_app
from caimi.apps.json_observer import JsonObserver
from caimi.apps.order_api import add_orders
from caimi.crypto.ecdsa import EcdsaSignature, recover
from caimi.ports.attestation_store import AttestedBlock
from caimi.ports.validators import Abstains
from caimi.types.errors import BadGovernance, CaimiError, LaneDropped, NotPaused, NotRoot, WrongCounter, WrongEpoch
from caimi.types.primitives import ZERO32, Bytes32, Epoch, Generation, Sequence, SignerIndex
from caimi.types.records import Governance, GovernanceAction, Lane, Pause, Resume, Signature
from caimi.validator.attestor import Attestor, Seat
from caimi.validator.orders import Order, Orders
from caimi.validator.rate_limit import RateLimiter
from caimi.wire.codec import decode, encode
from caimi.wire.digests import typed_digest
from caimi.wire.functions import encode_call
from caimi.wire.keccak import keccak256
from tests.unit.relay.world import World, run

ONE = Epoch(1)
TOKEN = "the operator's own token"


def orders(world: World, index: int = 2) -> Orders:
    attestor = world.peers[index]
    assert isinstance(attestor, Attestor)
    seat = Seat(network=world.network, epoch=ONE, signer=SignerIndex(index), root=world.lane("fabric"))
    return Orders(seat, attestor, key=world.validator_keys[index], observer=world.observer)


def decision(world: World, **fields: Any) -> Governance:
    values: dict[str, Any] = {
        "at": world.lane("fabric"),
        "epoch": ONE,
        "action": GovernanceAction.DROP_LANE,
        "lane": world.lane("ethereum"),
        "version": 1,
        "generation": Generation(1),
        "height": 0,
        "block_hash": ZERO32,
    }
    return Governance(**(values | fields))


async def locked_events(world: World, count: int, tag: bytes = b"") -> None:
    for number in range(count):
        nonce = keccak256(tag + bytes([number]))
        publication, signature, _ = world.publication("fabric", "ethereum", nonce=nonce)
        await world.send("ethereum", encode_call("lockModel", publication, signature))
        world.ledgers["ethereum"].mine()
    for _ in range(2):
        world.ledgers["ethereum"].mine()


def test_signature_is_the_validators_and_the_same_every_time() -> None:
    async def scenario() -> None:
        with World() as world:
            order = Pause(at=world.lane("ethereum"), epoch=ONE, counter=1)
            signature = await orders(world).sign(order)
            assert signature.signer == 2
            digest = typed_digest(world.network, order)
            assert recover(digest, EcdsaSignature.from_record(signature)) == world.validator_keys[2].address
            assert await orders(world).sign(order) == signature
            assert world.observer.named("validator.ordered")[0]["order"] == "Pause"

    run(scenario())


ELSEWHERE = Lane(chain=keccak256(b"elsewhere"), registry=keccak256(b"elsewhere"))
REFUSED: dict[str, tuple[Callable[[World], Order], type[CaimiError]]] = {
    "another epoch": (lambda w: Pause(at=w.lane("ethereum"), epoch=Epoch(2), counter=1), WrongEpoch),
    "a counter in advance": (lambda w: Pause(at=w.lane("ethereum"), epoch=ONE, counter=2), WrongCounter),
    "an old counter": (lambda w: Pause(at=w.lane("ethereum"), epoch=ONE, counter=0), WrongCounter),
    "a lane not read": (lambda w: Pause(at=ELSEWHERE, epoch=ONE, counter=1), Abstains),
    "no pause to end": (lambda w: Resume(at=w.lane("ethereum"), epoch=ONE, counter=1), NotPaused),
    "not at the root": (lambda w: decision(w, at=w.lane("ethereum"), lane=w.lane("fabric")), NotRoot),
    "the root's own lane": (lambda w: decision(w, lane=w.lane("fabric")), BadGovernance),
    "a version in advance": (lambda w: decision(w, version=2), WrongCounter),
    "another generation": (lambda w: decision(w, generation=Generation(2)), BadGovernance),
    "a drop that keeps": (lambda w: decision(w, height=3, block_hash=keccak256(b"kept")), BadGovernance),
    "an unknown action": (lambda w: decision(w, action=3), BadGovernance),
    "a resumption of a lane not read": (
        lambda w: decision(
            w,
            action=GovernanceAction.RESUME_LANE,
            lane=ELSEWHERE,
            generation=Generation(2),
            block_hash=keccak256(b"kept"),
        ),
        Abstains,
    ),
    "a resumption on a block that is not there": (
        lambda w: decision(
            w, action=GovernanceAction.RESUME_LANE, generation=Generation(2), block_hash=keccak256(b"kept")
        ),
        Abstains,
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refuses(case: str) -> None:
    make, error = REFUSED[case]

    async def scenario() -> None:
        with World() as world, pytest.raises(error):
            await orders(world).sign(make(world))

    run(scenario())


def test_nothing_is_decided_about_a_lane_after_it_was_dropped() -> None:
    async def scenario() -> None:
        with World() as world:
            await world.send("fabric", world.order(decision(world), 0, 1, 2))
            world.ledgers["fabric"].mine()
            with pytest.raises(LaneDropped):
                await orders(world).sign(decision(world, version=2))

    run(scenario())


def test_resumed_lane_keeps_what_this_validator_signed() -> None:
    async def scenario() -> None:
        with World() as world:
            lane, ledger = world.lane("ethereum"), world.ledgers["ethereum"]
            await locked_events(world, 4)
            attestor = world.peers[2]
            signed = [
                (await attestor.checkpoint(lane, Generation(1), Sequence(n), Sequence(n)))[0] for n in range(1, 5)
            ]
            assert await orders(world).kept_block(lane) == _block(signed[3])
            # The blocks of events 3 and 4 are taken back.
            ledger.reorganise(ledger.tip.height - signed[1].height)
            ledger.drop_pool()
            await locked_events(world, 2, b"other")
            assert await orders(world).kept_block(lane) == _block(signed[1])
            resumption = {"action": GovernanceAction.RESUME_LANE, "generation": Generation(2)}
            there = ledger.blocks[signed[2].height]
            for height, block_hash in ((there.height, there.hash), (signed[2].height, signed[2].block_hash)):
                order = decision(world, **resumption, height=height, block_hash=block_hash)
                with pytest.raises(Abstains, match="would be kept"):
                    await orders(world).sign(order)
            kept = decision(world, **resumption, height=signed[1].height, block_hash=signed[1].block_hash)
            assert (await orders(world).sign(kept)).signer == 2

    run(scenario())


def test_lane_of_which_nothing_that_was_signed_is_left_begins_with_its_first_block() -> None:
    async def scenario() -> None:
        with World() as world:
            first = world.ledgers["ethereum"].blocks[0]
            assert await orders(world).kept_block(world.lane("ethereum")) == AttestedBlock(
                height=0, block_hash=first.hash
            )

    run(scenario())


@pytest.mark.parametrize(("token", "given", "status"), [(TOKEN, TOKEN, 200), (TOKEN, "x" * 24, 401), (None, "", 401)])
def test_only_the_operator_orders(token: str | None, given: str, status: int) -> None:
    async def scenario() -> None:
        with World() as world:
            app = new_app("v", JsonObserver("v", io.StringIO()), ready=_nothing)
            limiter = RateLimiter(world.clock, per_second=1, burst=10)
            add_orders(app, orders(world), limiter, may_order=bearer_check(token))
            order = Pause(at=world.lane("ethereum"), epoch=ONE, counter=1)
            body = {"kind": "pause", "order": hex_of(encode(order))}
            transport = httpx2.ASGITransport(app=app)
            async with httpx2.AsyncClient(transport=transport, base_url="http://v") as client:
                answer = await client.post("/v1/orders", json=body, headers={"Authorization": f"Bearer {given}"})
                assert answer.status_code == status
                if status == 200:
                    signature = decode(Signature, read_hex(answer.json()["signature"]))
                    assert signature == await orders(world).sign(order)
                    wrong = await client.post(
                        "/v1/orders", json=body | {"kind": "govern"}, headers={"Authorization": f"Bearer {given}"}
                    )
                    assert (wrong.status_code, wrong.json()["error"]) == (400, "BadEncoding")
                query = {"chain": hex_of(order.at.chain), "registry": hex_of(order.at.registry)}
                kept = await client.get("/v1/kept-block", params=query)
                assert kept.json()["height"] == 0

    run(scenario())


async def _nothing() -> list[str]:
    return []


def _block(checkpoint: Any) -> AttestedBlock:
    return AttestedBlock(height=checkpoint.height, block_hash=Bytes32(checkpoint.block_hash))
