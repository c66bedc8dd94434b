"""The host's HTTP interface, and what a host asks of validators and of a relay, in process."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest

from caimi.apps.hex_values import hex_of
from caimi.apps.host_api import HostParts, host_app
from caimi.apps.host_clients import HttpHostRelay, HttpKeyRelease
from caimi.apps.host_config import HostConfig
from caimi.apps.host_readiness import HostReadiness
from caimi.apps.http_server import bearer_check
from caimi.apps.json_observer import JsonObserver
from caimi.apps.problem import NoSuchThing, problem_of
from caimi.apps.process_config import GenesisConfig
from caimi.apps.reachability import Reachability
from caimi.apps.strict_json import ConfigRefused, read_json
from caimi.apps.validator_api import validator_app
from caimi.host.call_errors import HostBusy, NotYetAnswered
from caimi.host.errors import InputMismatch
from caimi.host.registry_call import CallLimits, RegistryCalls
from caimi.ports.host_relay import PublicationUnknown, RelayUnavailable, SignedBytes
from caimi.ports.key_release import ForeignPublication, NoShareYet
from caimi.ports.validators import ValidatorUnavailable
from caimi.types.errors import CaimiError, Expired, UnknownLease, WrongSigner
from caimi.types.primitives import ZERO32, Bytes32
from caimi.validator.attestor import Attestor
from caimi.validator.keys import ValidatorKeys
from caimi.validator.rate_limit import RateLimiter
from caimi.wire.codec import encode
from caimi.wire.digests import network_id, typed_digest
from tests.unit.host.host_world import Asked, HostWorld
from tests.unit.relay.world import key
from tests.unit.validator.key_world import EPOCH

TOKEN = "a token of the state folder"
AUTHORISED = {"Authorization": f"Bearer {TOKEN}"}


@asynccontextmanager
async def interface(
    world: HostWorld, limits: CallLimits | None = None, others: tuple[Reachability, ...] = ()
) -> AsyncGenerator[httpx2.AsyncClient]:
    calls = RegistryCalls(
        world.keys.chains.network,
        limits or CallLimits(longest_wait_s=5.0),
        relay=world.relay,
        content=world.content,
        store=world.store,
        clock=world.clock,
    )
    lanes = {name: ledger.lane for name, ledger in world.keys.chains.ledgers.items()}
    parts = HostParts(
        identity=world.identity,
        host=world.host,
        shelf=world.shelf,
        registry_calls=calls,
        serving=world.serving,
        keys=world.key_client,
        lanes=lanes,
    )
    ready = HostReadiness(world.host, world.key_client, lanes=lanes, others=others).missing
    observer = JsonObserver("host", io.StringIO())
    app = host_app(parts, observer, may_change=bearer_check(TOKEN), ready=ready, longest_call=1 << 20)
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://host") as client:
        yield client


async def signed_request(world: HostWorld, publication: Bytes32, **fields: Any) -> tuple[Asked, bytes]:
    """A request that only the host was asked to bring to its ledger, and the sealed input."""
    relay, world.relay.request = world.relay.request, _swallow  # pyright: ignore[reportAttributeAccessIssue]
    chains_until = world.keys.chains.until

    async def not_waiting(*_: Any, **__: Any) -> None:
        return

    world.keys.chains.until = not_waiting  # pyright: ignore[reportAttributeAccessIssue]
    try:
        asked = await world.ask(publication, **fields)
    finally:
        world.relay.request = relay  # pyright: ignore[reportAttributeAccessIssue]
        world.keys.chains.until = chains_until  # pyright: ignore[reportAttributeAccessIssue]
    stream = await world.content.open(asked.record.input, max_content_bytes=1 << 20)
    return asked, b"".join([bytes(leaf) async for leaf in stream])


async def _swallow(request: bytes, signature: bytes) -> None:
    del request, signature


def body_of(asked: Asked, sealed: bytes | None) -> dict[str, Any]:
    body: dict[str, Any] = {"request": hex_of(encode(asked.record)), "signature": hex_of(asked.signature)}
    return body if sealed is None else {**body, "sealed_input": hex_of(sealed)}


def test_everything_says_unattested_and_shows_the_keys() -> None:
    async def scenario() -> None:
        async with HostWorld() as world, interface(world) as client:
            asked = await world.ask(await world.publish())
            await world.until_settled(asked)
            shown = (await client.get("/v1/host")).json()
            assert shown["sealing_key"] == hex_of(world.identity.key.sealing_key)
            assert shown["host_key"] == hex_of(encode(world.identity.key))
            assert {lane["name"] for lane in shown["lanes"]} == {"fabric", "ethereum"}
            request = (await client.get(f"/v1/requests/{hex_of(asked.id)}")).json()
            models = (await client.get("/v1/models")).json()
            status = (await client.get("/v1/status")).json()
            assert {one["attestation"] for one in (shown, request, *models, status)} == {"UNATTESTED"}
            assert (request["state"], status["requests"], status["models"]) == ("answered", {"answered": 1}, 1)
            assert models[0]["inputs"] == [{"name": "x", "dtype": "float32", "shape": ["N", 4]}]
            signed = world.row(asked).signed
            assert signed is not None
            assert request["receipt"] == hex_of(signed.receipt)
            assert request["operator_signature"] == hex_of(signed.operator_signature)
            # Nothing secret is among it.
            everything = json.dumps([shown, request, models, status])
            assert world.identity.sealing.reveal().hex() not in everything
            assert asked.salted.salt.hex() not in everything

    asyncio.run(scenario())


def test_rejects_unknown_and_malformed_requests() -> None:
    async def scenario() -> None:
        async with HostWorld() as world, interface(world) as client:
            for path, code, error in (
                (f"/v1/requests/{hex_of(ZERO32)}", 404, "NoSuchThing"),
                ("/v1/requests/0x12", 422, "BadLength"),
                ("/v1/requests/nothing", 400, "BadEncoding"),
            ):
                answer = await client.get(path)
                assert (answer.status_code, answer.json()["error"]) == (code, error)

    asyncio.run(scenario())


def test_shows_why_a_request_waits() -> None:
    async def scenario() -> None:
        async with HostWorld() as world, interface(world) as client:
            publication = await world.publish()
            for validator in world.validators:
                validator.is_up = False
            asked = await world.ask(publication)
            await world.turns(1)
            shown = (await client.get(f"/v1/requests/{hex_of(asked.id)}")).json()
            assert (shown["state"], shown["reason"], shown["receipt"]) == ("seen", "NoGroupKey", None)

    asyncio.run(scenario())


def test_infer_brings_input_and_request_and_waits_for_the_answer() -> None:
    async def scenario() -> None:
        # The world's time passes while the call waits, faster than its ledgers go on: five seconds are not enough.
        patient = CallLimits(longest_wait_s=600.0)
        async with HostWorld() as world, interface(world, patient) as client:
            publication = await world.publish()
            asked, sealed = await signed_request(world, publication)
            world.blocks._blocks.pop(asked.record.input)
            calling = asyncio.create_task(client.post("/v1/infer", json=body_of(asked, sealed), headers=AUTHORISED))
            while not calling.done():
                await world.turns(1)
                await asyncio.sleep(0)
            answer = (await calling).json()
            assert answer["state"] in ("signed", "sent", "answered")
            assert answer["id"] == hex_of(asked.id)

    asyncio.run(scenario())


def test_infer_says_that_it_is_not_answered_yet() -> None:
    async def scenario() -> None:
        async with HostWorld() as world, interface(world) as client:
            asked, sealed = await signed_request(world, await world.publish())
            answer = await client.post("/v1/infer", json=body_of(asked, sealed), headers=AUTHORISED)
            assert (answer.status_code, answer.json()["error"]) == (425, NotYetAnswered.__name__)

    asyncio.run(scenario())


def test_infer_refuses() -> None:
    async def scenario() -> None:
        async with HostWorld() as world, interface(world) as client:
            publication = await world.publish()
            asked, sealed = await signed_request(world, publication)
            good = body_of(asked, sealed)
            foreign = key("stranger").sign(asked.id).to_bytes()
            past = dataclasses.replace(asked.record, deadline=0)
            past_signature = world.consumer.sign(typed_digest(world.keys.chains.network, past)).to_bytes()
            for body, headers, code, error in (
                (good, {}, 401, "Forbidden"),
                ({**good, "signature": hex_of(foreign)}, AUTHORISED, 400, WrongSigner.__name__),
                ({**good, "sealed_input": hex_of(sealed + b"x")}, AUTHORISED, 422, InputMismatch.__name__),
                ({**good, "request": "0x00"}, AUTHORISED, 400, "BadEncoding"),
                ({**good, "request": "nothing"}, AUTHORISED, 400, "MalformedRequest"),
                ({"request": good["request"]}, AUTHORISED, 400, "MalformedRequest"),
                (
                    {"request": hex_of(encode(past)), "signature": hex_of(past_signature)},
                    AUTHORISED,
                    422,
                    Expired.__name__,
                ),
            ):
                answer = await client.post("/v1/infer", json=body, headers=headers)
                assert (answer.status_code, answer.json()["error"]) == (code, error)
            assert world.relay.answers == []
        async with HostWorld() as world, interface(world, CallLimits(calls=0)) as client:
            asked, _ = await signed_request(world, await world.publish())
            answer = await client.post("/v1/infer", json=body_of(asked, None), headers=AUTHORISED)
            assert (answer.status_code, answer.json()["error"]) == (429, HostBusy.__name__)

    asyncio.run(scenario())


# --- readiness


def test_a_host_says_what_it_misses() -> None:
    def away(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused")

    async def scenario() -> None:
        async with (
            HostWorld() as world,
            httpx2.AsyncClient(transport=httpx2.MockTransport(away)) as nobody,
            interface(world) as client,
            interface(world, others=(Reachability("the relay", "http://r", nobody, clock=world.clock),)) as alone,
        ):
            assert (await client.get("/readyz")).json() == {"ready": True, "missing": []}
            assert (await alone.get("/readyz")).json()["missing"] == [
                "the relay at http://r does not answer: ConnectError"
            ]
            world.key_client._key = None
            for validator in world.validators[:2]:
                validator.is_up = False
            assert (await client.get("/readyz")).json()["missing"] == ["NoGroupKey: 2 of 3 validators agree"]
            for validator in world.validators[:2]:
                validator.is_up = True
            world.keys.chains.clock.advance(20)
            missing = (await client.get("/readyz")).json()["missing"]
            assert [text.split(":")[0] for text in missing] == ["lane fabric", "lane ethereum"]
            await world.host.turn()
            assert (await client.get("/readyz")).status_code == 200
            world.keys.chains.clock.advance(world.identity.key.until - world.clock.now())
            missing = (await client.get("/readyz")).json()["missing"]
            assert missing[-1].startswith("HostKeysEnded")

    asyncio.run(scenario())


# --- clients


def test_a_validator_is_asked_for_keys_and_releases() -> None:
    async def scenario() -> None:
        async with HostWorld() as world:
            publication = await world.publish()
            true = await world.relay.publication(publication)
            lease = await world.desk.open(publication, opening=ZERO32)
            holder = world.keys.validators[0]
            observer = JsonObserver("v", io.StringIO())
            keys = ValidatorKeys(
                holder.generation,
                epoch=EPOCH,
                vault=holder.vault,
                make_release=lambda share: holder.release(),
                clock=world.clock,
                observer=observer,
            )
            attestor = world.keys.chains.peers[0]
            assert isinstance(attestor, Attestor)
            limiter = RateLimiter(world.clock, per_second=1, burst=3)
            app = validator_app(attestor, keys, limiter, observer, releases=limiter)
            async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app)) as client:
                port = HttpKeyRelease("http://validator", client)
                assert await port.public_key() == world.keys.key
                with pytest.raises(NoShareYet):
                    await port.release(lease.id, true.publication, true.capsule)
                await keys.run()
                await port.release(lease.id, true.publication, true.capsule)
                assert (lease.id, 1) in world.keys.board.partials
                with pytest.raises(UnknownLease):
                    await port.release(ZERO32, true.publication, true.capsule)
                # Asked too often: not now, and no refusal of the key.
                with pytest.raises(ValidatorUnavailable):
                    await port.release(ZERO32, true.publication, true.capsule)
                world.keys.chains.clock.advance(10)
                other = encode(world.keys.publication(name="other")[0])
                with pytest.raises(ForeignPublication):
                    await port.release(lease.id, other, true.capsule)
                status = (await client.get("http://validator/v1/status")).json()["keys"]
                assert (status["phase"], status["releases"]) == ("done", 1)
                assert (await client.get("http://validator/v1/keys")).json()["threshold"] == 2

    asyncio.run(scenario())


def _answering(status: int, content: bytes) -> httpx2.AsyncClient:
    def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(status, content=content)

    return httpx2.AsyncClient(transport=httpx2.MockTransport(answer))


def _problem(error: CaimiError) -> tuple[int, bytes]:
    status, problem = problem_of(error)
    return status, problem.model_dump_json().encode()


KEYS: dict[str, Any] = {
    "epoch": 1,
    "threshold": 1,
    "group_key": "0x" + "02" * 33,
    "verification_keys": [],
    "transcript": "0x",
}


@pytest.mark.parametrize(
    ("status", "content"),
    [
        (200, b"[]"),
        (200, b"nonsense"),
        (200, b"{}"),
        (200, json.dumps(KEYS).encode()),
        (200, json.dumps({**KEYS, "epoch": "1"}).encode()),
        (200, b" " * ((1 << 20) + 1)),
        (500, b"{}"),
        (503, b"<html>"),
    ],
)
def test_a_validator_that_answers_nonsense_is_unavailable(status: int, content: bytes) -> None:
    async def scenario() -> None:
        async with _answering(status, content) as client:
            with pytest.raises(ValidatorUnavailable):
                await HttpKeyRelease("http://validator", client).public_key()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (PublicationUnknown, (404, b'{"error":"NoSuchThing"}')),
        (PublicationUnknown, (200, b'{"publication":null,"capsule":"0x"}')),
        (PublicationUnknown, (200, b'{"publication":"0x","capsule":null}')),
        (RelayUnavailable, (200, b'{"publication":"zz","capsule":"0x"}')),
        (RelayUnavailable, (200, b'{"publication":1,"capsule":"0x"}')),
    ],
)
def test_a_relay_without_the_publication_is_told_from_one_that_answers_nonsense(
    error: type[CaimiError], answer: tuple[int, bytes]
) -> None:
    async def scenario() -> None:
        status, content = answer
        if status == 404:
            status, content = _problem(NoSuchThing("x"))
        async with _answering(status, content) as client:
            with pytest.raises(error):
                await HttpHostRelay("http://relay", client, token=TOKEN).publication(ZERO32)

    asyncio.run(scenario())


def test_a_relays_refusal_of_an_answer_is_typed() -> None:
    async def scenario() -> None:
        signed = SignedBytes(answer=b"", signature=b"", host_key=b"", operator_signature=b"")
        async with _answering(*_problem(Expired(1, 2))) as client:
            with pytest.raises(Expired):
                await HttpHostRelay("http://relay", client, token=TOKEN).answer(signed)

    asyncio.run(scenario())


# --- configuration


def config(change: Callable[[dict[str, Any]], None]) -> str:
    genesis = {
        "root_genesis": hex_of(ZERO32),
        "validators": [hex_of(bytes([i + 1]) * 20) for i in range(4)],
        "f": 1,
        "t": 2,
        "operators": [],
        "attestation": 0,
        "nonce": hex_of(ZERO32),
    }
    record = read_json(GenesisConfig, json.dumps(genesis)).record()
    lane = {
        "kind": "fabric",
        "name": "fabric",
        "caip2": "fabric:" + "0" * 32,
        "registry": hex_of(ZERO32),
        "channel": "c",
        "chaincode": "r",
        "peers": [{"endpoint": "127.0.0.1:1", "tls_ca": "/ca"}],
        "member": {"msp": "M", "certificate": "/c", "private_key": "/k"},
    }
    value: dict[str, Any] = {
        "process": "host",
        "name": "host",
        "network": {"id": hex_of(network_id(record)), "genesis": genesis},
        "lanes": [lane],
        "board": "fabric",
        "http": {"port": 1},
        "store": "/s",
        "token_file": "/t",
        "operator": {"file": "/f", "password_file": "/p", "purpose": "o"},
        "relay": "http://r",
        "content": "http://c",
        "validators": [{"signer": 0, "url": "http://v"}],
    }
    change(value)
    return json.dumps(value)


def test_a_host_configuration_is_read_and_its_faults_are_named() -> None:
    assert read_json(HostConfig, config(lambda value: None)).board_lane.name == "fabric"
    faults: list[Callable[[dict[str, Any]], Any]] = [
        lambda value: value.update(board="ethereum"),
        lambda value: value.update(validators=value["validators"] * 2),
        lambda value: value.update(crash_at={"step": "host.signed"}),
        lambda value: value.update(crash_at={"step": "host.nothing"}, devnet=True),
        lambda value: value.pop("operator"),
        lambda value: value.update(limits={"models": "many"}),
    ]
    for fault in faults:
        with pytest.raises(ConfigRefused):
            read_json(HostConfig, config(lambda value, fault=fault: fault(value)))
