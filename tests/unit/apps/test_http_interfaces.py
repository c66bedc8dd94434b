"""The HTTP interfaces of validator and relay, in process: what they answer, to whom, and how errors look."""

from __future__ import annotations

import io
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest

from caimi.apps.hex_values import hex_of
from caimi.apps.http_server import bearer_check
from caimi.apps.json_observer import JsonObserver
from caimi.apps.problem import RemoteError, problem_of, read_problem
from caimi.apps.relay_api import relay_app
from caimi.apps.validator_api import validator_app
from caimi.apps.validator_client import ValidatorClient
from caimi.ports.chain import ChainUnavailable
from caimi.ports.metrics import LANE_HEIGHT, TRANSACTIONS
from caimi.ports.validators import Abstains, NotYet, ValidatorUnavailable
from caimi.protocol.publication import State
from caimi.relay.lanes import UnknownLane
from caimi.types.errors import BadQuorum, CaimiError, RunTooLong, WrongEpoch, WrongGeneration, WrongSigner
from caimi.types.primitives import Address, Generation, Sequence
from caimi.validator.attestor import Attestor
from caimi.validator.keygen import GenerationStatus
from caimi.validator.keys import KeyStatus
from caimi.validator.rate_limit import RateLimiter
from caimi.wire.codec import encode
from caimi.wire.functions import encode_call
from tests.unit.relay.world import World, run

TOKEN = "a token of the state folder"
AUTHORISED = {"Authorization": f"Bearer {TOKEN}"}
PUBLIC = {"error", "blame", "certainty", "retry", "hint", "values"}


class NoKeysYet:
    """The key-holding part of a validator whose key generation has not begun: tests of that part are its own."""

    def status(self) -> KeyStatus:
        generation = GenerationStatus(attempt=0, phase="starting", waits_for=(), fault=None)
        return KeyStatus(generation=generation, group_key=None, releases=0)


@asynccontextmanager
async def _client(app: Any) -> AsyncGenerator[httpx2.AsyncClient, None]:
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://process") as client:
        yield client


@asynccontextmanager
async def _validator(world: World, *, burst: int = 100) -> AsyncGenerator[tuple[httpx2.AsyncClient, Attestor], None]:
    attestor = world.peers[1]
    assert isinstance(attestor, Attestor)
    limiter = RateLimiter(world.clock, per_second=1, burst=burst)
    keys: Any = NoKeysYet()
    app = validator_app(attestor, keys, limiter, JsonObserver("validator", io.StringIO()), releases=limiter)
    async with _client(app) as client:
        yield client, attestor


@asynccontextmanager
async def _relay(world: World) -> AsyncGenerator[httpx2.AsyncClient, None]:
    observer = JsonObserver("relay", io.StringIO())
    app = relay_app(world.relays[0], world.stores[0], observer, may_change=bearer_check(TOKEN))
    async with _client(app) as client:
        yield client


async def _lock(world: World) -> None:
    publication, signature, _ = world.publication("fabric", "ethereum")
    await world.send("ethereum", encode_call("lockModel", publication, signature))
    for _ in range(3):
        world.ledgers["ethereum"].mine()


# --- validator


def test_client_gets_what_the_validator_signs() -> None:
    async def scenario() -> None:
        with World() as world:
            await _lock(world)
            async with _validator(world) as (client, attestor):
                remote = ValidatorClient("http://process", client)
                asked = world.lane("ethereum"), Generation(1), Sequence(1), Sequence(1)
                assert await remote.checkpoint(*asked) == await attestor.checkpoint(*asked)

    run(scenario())


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ((1, 1, 2), NotYet),
        ((2, 1, 1), WrongGeneration),
        ((1, 1, 2000), RunTooLong),
    ],
)
def test_client_raises_what_the_validator_says(asked: tuple[int, int, int], error: type[CaimiError]) -> None:
    async def scenario() -> None:
        with World() as world:
            await _lock(world)
            async with _validator(world) as (client, attestor):
                remote = ValidatorClient("http://process", client)
                question = Generation(asked[0]), Sequence(asked[1]), Sequence(asked[2])
                with pytest.raises(error) as there:
                    await remote.checkpoint(world.lane("ethereum"), *question)
                with pytest.raises(error) as here:
                    await attestor.checkpoint(world.lane("ethereum"), *question)
                assert str(there.value) == str(here.value)

    run(scenario())


def test_abstaining_validator_says_so() -> None:
    async def scenario() -> None:
        with World() as world:
            world.nodes["ethereum"].is_up = False
            async with _validator(world) as (client, attestor):
                await attestor.turn()
                with pytest.raises(Abstains, match="the simulated node is down"):
                    await ValidatorClient("http://process", client).checkpoint(
                        world.lane("ethereum"), Generation(1), Sequence(1), Sequence(1)
                    )
                lanes = (await client.get("/v1/status")).json()["lanes"]
                assert [(lane["name"], lane["condition"]) for lane in lanes] == [
                    ("fabric", "following"),
                    ("ethereum", "unreachable"),
                ]
                assert "the simulated node is down" in lanes[1]["cause"]

    run(scenario())


def test_asking_too_often_is_refused_with_a_time() -> None:
    async def scenario() -> None:
        with World() as world:
            async with _validator(world, burst=2) as (client, _):
                lane = world.lane("fabric")
                query = {"source_chain": hex_of(lane.chain), "source_registry": hex_of(lane.registry)}
                query |= {"generation": "1", "first": "1", "last": "1"}
                answers = [await client.get("/v1/checkpoints", params=query) for _ in range(3)]
                assert [a.status_code for a in answers] == [425, 425, 429]
                assert answers[2].json()["error"] == "TooManyRequests"
                assert answers[2].headers["Retry-After"] == "2"
                assert (await client.get("/v1/status")).status_code == 200

    run(scenario())


@pytest.mark.parametrize(
    "change",
    [{"first": "-1"}, {"first": str(2**64)}, {"last": "x"}, {"source_chain": "0x12"}, {"source_chain": "nothing"}],
)
def test_rejects_malformed_question(change: dict[str, str]) -> None:
    async def scenario() -> None:
        with World() as world:
            async with _validator(world) as (client, _):
                lane = world.lane("fabric")
                query = {"source_chain": hex_of(lane.chain), "source_registry": hex_of(lane.registry)}
                query |= {"generation": "1", "first": "1", "last": "1", **change}
                answer = await client.get("/v1/checkpoints", params=query)
                assert answer.status_code in (400, 422)
                assert set(answer.json()) == PUBLIC

    run(scenario())


@pytest.mark.parametrize(
    "content",
    [b"", b"not JSON", b"[]", b"{}", b'{"checkpoint": "0x", "signature": 1}', b'"' + b"x" * (1 << 17) + b'"'],
)
@pytest.mark.parametrize("status", [200, 500])
def test_nonsense_of_a_validator_is_a_typed_error(content: bytes, status: int) -> None:
    async def answer(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": content})

    async def scenario() -> None:
        with World() as world:
            async with _client(answer) as client:
                with pytest.raises(CaimiError):
                    await ValidatorClient("http://process", client).checkpoint(
                        world.lane("fabric"), Generation(1), Sequence(1), Sequence(1)
                    )

    run(scenario())


# --- relay


def test_publication_by_http_commits_and_is_traced() -> None:
    async def scenario() -> None:
        with World() as world:
            await world.fund("fabric", 100)
            publication, signature, identifier = world.publication("fabric", "ethereum")
            body = {"publication": hex_of(encode(publication)), "signature": hex_of(signature)}
            async with _relay(world) as client:
                answer = await client.post("/v1/publications", json=body, headers=AUTHORISED)
                assert (answer.status_code, answer.json()["id"]) == (202, hex_of(identifier))
                await world.until(lambda: world.all_at(State.COMMITTED, identifier))
                for _ in range(4):
                    await world.step()
                shown = (await client.get(f"/v1/publications/{hex_of(identifier)}")).json()
                assert shown["states"] == {"fabric": "COMMITTED", "ethereum": "COMMITTED"}
                assert shown["waits_for"] == "nothing: all lanes have the outcome"
                listed = (await client.get("/v1/publications")).json()
                assert [(p["id"], p["outcome"]) for p in listed] == [(hex_of(identifier), "COMMITTED")]
                call = (await client.get(f"/v1/calls/lock/{identifier.hex()}/fabric")).json()
                assert (call["state"], call["transaction_state"], call["lane"]) == ("done", "done", "fabric")
                lanes = (await client.get("/v1/status")).json()["lanes"]
                assert {(lane["name"], lane["in_flight"], lane["hint"]) for lane in lanes} == {
                    ("fabric", 0, ""),
                    ("ethereum", 0, ""),
                }

    run(scenario())


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer x"}, {"Authorization": TOKEN}])
@pytest.mark.parametrize("path", ["publications", "requests", "answers", "calls"])
def test_rejects_change_without_the_token(headers: dict[str, str], path: str) -> None:
    async def scenario() -> None:
        with World() as world:
            publication, signature, _ = world.publication("fabric", "ethereum")
            body = {"publication": hex_of(encode(publication)), "signature": hex_of(signature)}
            async with _relay(world) as client:
                answer = await client.post(f"/v1/{path}", json=body, headers=headers)
                assert (answer.status_code, answer.json()["error"]) == (401, "Forbidden")
                assert world.stores[0].publications(1) == ()

    run(scenario())


def test_rejects_wrong_signature_by_name_and_values() -> None:
    async def scenario() -> None:
        with World() as world:
            publication, _, identifier = world.publication("fabric", "ethereum")
            forged = world.validator_keys[0].sign(identifier).to_bytes()
            body = {"publication": hex_of(encode(publication)), "signature": hex_of(forged)}
            async with _relay(world) as client:
                answer = await client.post("/v1/publications", json=body, headers=AUTHORISED)
                assert answer.status_code == 400
                assert answer.json()["error"] == "WrongSigner"
                assert answer.json()["values"] == {
                    "expected": hex_of(world.publisher.address),
                    "actual": hex_of(world.validator_keys[0].address),
                }

    run(scenario())


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'{"publication": "0x1", "signature": "0x"}', b'{"publication": "zz", "signature": "0x00"}'],
)
def test_rejects_malformed_body(body: bytes) -> None:
    async def scenario() -> None:
        with World() as world:
            async with _relay(world) as client:
                answer = await client.post(
                    "/v1/publications", content=body, headers={**AUTHORISED, "content-type": "application/json"}
                )
                assert answer.status_code == 400
                assert set(answer.json()) == PUBLIC

    run(scenario())


def test_rejects_body_longer_than_a_mebibyte() -> None:
    async def scenario() -> None:
        with World() as world:
            async with _relay(world) as client:
                answer = await client.post(
                    "/v1/publications",
                    json={"publication": "0x" + "00" * (1 << 20), "signature": "0x"},
                    headers=AUTHORISED,
                )
                assert (answer.status_code, answer.json()["error"]) == (400, "MalformedRequest")

    run(scenario())


@pytest.mark.parametrize(
    "path", ["/v1/publications/0x" + "00" * 32, "/v1/requests/0x" + "00" * 32, "/v1/calls/nothing", "/v1/nothing"]
)
def test_unknown_things_are_not_found(path: str) -> None:
    async def scenario() -> None:
        with World() as world:
            async with _relay(world) as client:
                answer = await client.get(path)
                assert (answer.status_code, answer.json()["error"]) == (404, "NoSuchThing")

    run(scenario())


def test_health_and_metrics() -> None:
    async def scenario() -> None:
        with World() as world:
            output = io.StringIO()
            observer = JsonObserver("relay", output)
            observer.gauge(LANE_HEIGHT, 7, lane='a"b')
            observer.count(TRANSACTIONS, lane="x", state="done")
            observer.step("relay.x", key="k", nothing=None)
            app = relay_app(world.relays[0], world.stores[0], observer, may_change=bearer_check(TOKEN))
            async with _client(app) as client:
                assert (await client.get("/healthz")).text == "ok\n"
                answer = await client.get("/metrics")
            assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
            assert '# TYPE caimi_lane_height gauge\ncaimi_lane_height{lane="a\\"b"} 7\n' in answer.text
            assert 'caimi_relay_transactions_total{lane="x",state="done"} 1\n' in answer.text
            assert '"process": "relay", "step": "relay.x", "key": "k"}' in output.getvalue()

    run(scenario())


# --- problems


@pytest.mark.parametrize(
    "error",
    [
        NotYet("not now"),
        Abstains("why"),
        ValidatorUnavailable("down"),
        ChainUnavailable("down"),
        UnknownLane("0x"),
        WrongEpoch(1, 2),
        BadQuorum(3, 1, 2),
        WrongSigner(Address(b"\1" * 20), Address(b"\2" * 20)),
    ],
)
def test_error_comes_back_as_it_was(error: CaimiError) -> None:
    _, problem = problem_of(error)
    back = read_problem(problem.model_dump())
    assert (type(back), str(back)) == (type(error), str(error))


def test_unknown_error_stays_readable() -> None:
    class FromTheFuture(CaimiError):
        pass

    back = read_problem(problem_of(FromTheFuture("text"))[1].model_dump())
    assert isinstance(back, RemoteError)
    assert back.problem.error == "FromTheFuture"
    assert "text" in str(back)


def test_rejects_a_path_that_the_framework_would_send_elsewhere() -> None:
    # Where to is a header of the request: an answer that follows it leads a client to whoever wrote that.
    async def scenario() -> None:
        with World() as world:
            async with _relay(world) as client:
                answer = await client.get("/v1/status/", headers={"Host": "elsewhere.test"})
                assert (answer.status_code, answer.json()["error"]) == (404, "NoSuchThing")

    run(scenario())
