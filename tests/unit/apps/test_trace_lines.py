"""Every log line of a workflow carries its trace and id, in each process through which it goes."""

from __future__ import annotations

import asyncio
import io
import json
from contextlib import AsyncExitStack
from typing import Any

import httpx2
import pytest

from caimi.apps.hex_values import hex_of
from caimi.apps.http_server import bearer_check
from caimi.apps.json_observer import JsonObserver
from caimi.apps.relay_api import relay_app
from caimi.apps.validator_api import validator_app
from caimi.apps.validator_client import ValidatorClient
from caimi.ports.tracing import MOST_IDS, traced, working_on
from caimi.protocol.publication import State
from caimi.sdk.services import Service
from caimi.types.primitives import Generation, Sequence
from caimi.validator.attestor import Attestor
from caimi.validator.rate_limit import RateLimiter
from caimi.wire.codec import encode
from caimi.wire.functions import encode_call
from caimi.wire.keccak import keccak256
from tests.unit.apps.test_readiness import Keys
from tests.unit.relay.world import World, run

TOKEN = "a token of the state folder"
ID, OTHER = keccak256(b"one"), keccak256(b"other")
CALLER = "0af7651916cd43dd8448eb211c80319c"


def _lines(output: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.getvalue().splitlines()]


def test_a_line_carries_what_it_is_about() -> None:
    output = io.StringIO()
    observer = JsonObserver("test", output)
    observer.step("nothing")
    observer.step("one", about=(ID,), lane="fabric")
    observer.step("two", about=(ID, OTHER))
    with working_on(OTHER):
        observer.step("context")
        observer.step("named", about=(ID,))
    nothing, one, two, context, named = _lines(output)
    assert not {"trace", "id", "traces", "ids"} & set(nothing)
    assert (one["trace"], one["id"], one["lane"]) == (ID.hex()[:32], hex_of(ID), "fabric")
    assert (two["ids"], two["traces"]) == ([hex_of(ID), hex_of(OTHER)], [ID.hex()[:32], OTHER.hex()[:32]])
    assert (context["id"], named["id"]) == (hex_of(OTHER), hex_of(ID))


def test_a_line_about_very_many_becomes_several() -> None:
    output = io.StringIO()
    many = [keccak256(number.to_bytes(2, "big")) for number in range(MOST_IDS + 1)]
    JsonObserver("test", output).step("many", about=many, lane="a")
    first, second = _lines(output)
    assert [*first["ids"], second["id"]] == [hex_of(one) for one in many]
    assert first["lane"] == second["lane"] == "a"


def test_a_caller_with_a_trace_of_his_own_finds_it_beside_ours() -> None:
    output = io.StringIO()
    observer = JsonObserver("test", output)
    with traced({"traceparent": f"00-{CALLER}-b7ad6b7169203331-01"}):
        observer.step("unnamed")
        observer.step("named", about=(ID,))
    unnamed, named = _lines(output)
    assert unnamed["trace"] == CALLER and "id" not in unnamed
    assert (named["trace"], named["id"], named["caller_trace"]) == (ID.hex()[:32], hex_of(ID), CALLER)


@pytest.mark.parametrize("parent", [None, f"00-{CALLER}-b7ad6b7169203331-01"])
def test_a_publication_has_one_trace_from_its_client_over_the_relay_to_the_validators(parent: str | None) -> None:
    """The relay asks its validators over HTTP; each process writes a log of its own."""

    async def scenario() -> None:
        with World() as world:
            async with AsyncExitStack() as stack:
                logs = {name: io.StringIO() for name in ("relay", "validator")}
                observer = JsonObserver("relay", logs["relay"])
                for index in range(4):
                    await _over_http(world, index, JsonObserver("validator", logs["validator"]), stack)
                world.relay_observer = observer
                world.relays[0] = world.relay("relay 0", world.stores[0])
                app = relay_app(world.relays[0], world.stores[0], observer, may_change=bearer_check(TOKEN))
                client = await stack.enter_async_context(httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app)))
                await world.fund("fabric", 100)
                publication, signature, identifier = world.publication("fabric", "ethereum")
                body = {"publication": hex_of(encode(publication)), "signature": hex_of(signature)}
                with working_on(identifier) if parent is None else traced({"traceparent": parent}):
                    await Service("http://relay", client, token=TOKEN).post("/v1/publications", body)
                await world.until(lambda: world.all_at(State.COMMITTED, identifier))
                for _ in range(4):
                    await world.step()
            mine = {"trace": identifier.hex()[:32], "id": hex_of(identifier)}
            lines = [line for log in logs.values() for line in _lines(log) if line["step"] not in _LANE_STEPS]
            assert [line for line in lines if {key: line.get(key) for key in mine} != mine] == []
            steps = {line["step"] for line in lines}
            assert {
                "relay.accepted",
                "relay.prepared",
                "relay.transaction",
                "relay.followed",
                "relay.carried",
                "validator.signed",
            } <= steps
            accepted = next(line for line in lines if line["step"] == "relay.accepted")
            assert accepted.get("caller_trace") == (None if parent is None else CALLER)

    run(scenario())


_LANE_STEPS = ("validator.lane", "relay.waits")


async def _over_http(world: World, index: int, observer: JsonObserver, stack: AsyncExitStack) -> None:
    attestor = world.peers[index]
    assert isinstance(attestor, Attestor)
    attestor._observer = observer
    limiter = RateLimiter(world.clock, per_second=1_000, burst=1_000)
    keys: Any = Keys(None)
    app = validator_app(attestor, keys, limiter, observer, releases=limiter)
    client = await stack.enter_async_context(httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app)))
    remote = ValidatorClient(f"http://validator-{index}", client)
    world.peers[index] = remote
    # The world turns validators that it knows; this one is behind HTTP now.
    world.first_in_step.append(attestor.turn)


def test_a_validator_that_is_asked_without_headers_signs_all_the_same() -> None:
    async def scenario() -> None:
        with World() as world:
            async with AsyncExitStack() as stack:
                log = io.StringIO()
                await _over_http(world, 0, JsonObserver("validator", log), stack)
                publication, signature, identifier = world.publication("fabric", "ethereum")
                await world.send("ethereum", encode_call("lockModel", publication, signature))
                for _ in range(4):
                    await world.step()
                asked = world.lane("ethereum"), Generation(1), Sequence(1), Sequence(1)
                _, signature = await world.peers[0].checkpoint(*asked)
            assert signature.signer == 0
            *of_the_relay, signed = [line for line in _lines(log) if line["step"] == "validator.signed"]
            assert all(line["id"] == hex_of(identifier) for line in of_the_relay)
            assert "trace" not in signed and (signed["first"], signed["last"]) == (1, 1)

    asyncio.run(scenario())
