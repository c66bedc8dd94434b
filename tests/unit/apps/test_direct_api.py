"""Direct calls over HTTP: bytes in and out, room before the body, clients that go away."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import numpy as np
import pytest

from caimi.apps.direct_api import add_direct_calls
from caimi.apps.hex_values import hex_of
from caimi.apps.http_server import new_app
from caimi.apps.json_observer import JsonObserver
from caimi.host.serving import DirectServing, ServingLimits
from caimi.types.primitives import Bytes32
from tests.unit.host.direct_consumer import Consumer
from tests.unit.host.host_world import INPUT, WEIGHTS, HostWorld, InlineModel

BINARY = {"Content-Type": "application/octet-stream"}


async def nothing_missing() -> Sequence[str]:
    return ()


@asynccontextmanager
async def interface(serving: DirectServing) -> AsyncGenerator[httpx2.AsyncClient]:
    longer = {"/v1/models/": serving.most_body_bytes}
    app = new_app("host", JsonObserver("host", io.StringIO()), ready=nothing_missing, longer_bodies=longer)
    add_direct_calls(app, lambda: serving)
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://host") as client:
        yield client


def path(publication: Bytes32) -> str:
    return f"/v1/models/{hex_of(publication)}/infer"


def sent(world: HostWorld, publication: Bytes32, values: Any = INPUT, name: str = "consumer") -> tuple[Consumer, Any]:
    consumer = Consumer(world.identity, name)
    return consumer, consumer.call(publication, values, world.clock.now() + 30)


def test_a_call_is_answered_in_bytes() -> None:
    async def scenario() -> None:
        async with HostWorld() as world, interface(world.serving) as client:
            publication = await world.publish()
            consumer, call = sent(world, publication)
            answer = await client.post(path(publication), content=call.body, headers=BINARY)
            assert (answer.status_code, answer.headers["content-type"]) == (200, "application/octet-stream")
            output, _ = consumer.open(call, answer.content)
            assert np.array_equal(output, INPUT @ WEIGHTS)
            assert world.serving.numbers().in_flight == 0

    asyncio.run(scenario())


def test_refusals_have_their_status_and_say_nothing_of_plaintext() -> None:
    async def scenario() -> None:
        async with HostWorld() as world, interface(world.serving) as client:
            publication = await world.publish()
            _, call = sent(world, publication)
            _, wrong = sent(world, publication, INPUT[:, :3], name="wrong")
            bad: list[tuple[str, bytes, int, str]] = [
                (path(publication), call.body[:100], 400, "BadEncoding"),
                ("/v1/models/0x12/infer", call.body, 422, "BadLength"),
                ("/v1/models/nothing/infer", call.body, 400, "BadEncoding"),
                (path(Bytes32(bytes(32))), call.body, 400, "BadEncoding"),
                (path(publication), bytes(world.serving.most_body_bytes + 1), 400, "MalformedRequest"),
                (path(publication), wrong.body, 422, "WrongShape"),
            ]
            told: dict[str, Any] = {}
            for url, body, status, error in bad:
                answer = await client.post(url, content=body, headers=BINARY)
                told = answer.json()
                assert (answer.status_code, told["error"]) == (status, error)
            assert told["values"]["text"] == told["hint"]
            assert (await client.get(path(publication))).status_code == 400
            assert world.serving.numbers().in_flight == 0

    asyncio.run(scenario())


async def _chunks(body: bytes) -> AsyncIterator[bytes]:
    yield body


def test_a_body_is_announced_and_as_long_as_announced() -> None:
    async def scenario() -> None:
        async with HostWorld() as world, interface(world.serving) as client:
            publication = await world.publish()
            _, call = sent(world, publication)
            for headers in (
                {},
                {"Content-Length": str(len(call.body) - 1)},
                {"Content-Length": str(len(call.body) + 1)},
                {"Content-Length": "-1"},
                {"Content-Length": "1" * 13},
            ):
                answer = await client.post(path(publication), content=_chunks(call.body), headers={**BINARY, **headers})
                assert (answer.status_code, answer.json()["error"]) == (400, "MalformedRequest")
            assert world.runtime.models == []

    asyncio.run(scenario())


def test_a_busy_host_says_when_before_it_reads_and_an_ending_one_too() -> None:
    async def scenario() -> None:
        async with HostWorld() as world:
            world.serving_limits = ServingLimits(calls=0)
            await world.restart()
            async with interface(world.serving) as client:
                publication = await world.publish()
                answer = await client.post(path(publication), content=bytes(500), headers=BINARY)
                assert (answer.status_code, answer.json()["error"]) == (429, "HostBusy")
                assert int(answer.headers["Retry-After"]) >= 1
                await world.serving.drain(1.0)
                answer = await client.post(path(publication), content=bytes(500), headers=BINARY)
                assert (answer.status_code, answer.json()["error"]) == (503, "HostEnding")
                assert int(answer.headers["Retry-After"]) >= 1

    asyncio.run(scenario())


def test_no_model_is_503_with_its_cause() -> None:
    async def scenario() -> None:
        async with HostWorld() as world, interface(world.serving) as client:
            publication = await world.publish()
            for validator in world.validators:
                validator.is_up = False
            _, call = sent(world, publication)
            answer = await client.post(path(publication), content=call.body, headers=BINARY)
            assert (answer.status_code, answer.json()["error"]) == (503, "ModelNotReady")
            assert answer.json()["values"]["text"].startswith("NoGroupKey: ")
            assert int(answer.headers["Retry-After"]) >= 2

    asyncio.run(scenario())


def test_a_client_that_hangs_up_stops_its_work(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with HostWorld() as world:
            publication = await world.publish()
            app = new_app("host", JsonObserver("host", io.StringIO()), ready=nothing_missing)
            add_direct_calls(app, lambda: world.serving)
            _, call = sent(world, publication)
            started, stopped = asyncio.Event(), asyncio.Event()

            async def run(model: InlineModel, inputs: Any) -> Any:
                started.set()
                try:
                    await asyncio.Event().wait()
                finally:
                    stopped.set()

            monkeypatch.setattr(InlineModel, "run", run)
            messages = iter([{"type": "http.request", "body": call.body, "more_body": False}])

            async def receive() -> dict[str, Any]:
                for message in messages:
                    return message
                await started.wait()
                return {"type": "http.disconnect"}

            told: list[dict[str, Any]] = []

            async def send(message: Any) -> None:
                told.append(message)

            scope = {
                "type": "http",
                "method": "POST",
                "path": path(publication),
                "query_string": b"",
                "headers": [(b"content-length", str(len(call.body)).encode())],
            }
            await app(scope, receive, send)
            assert told[0]["status"] == 499
            assert world.serving.numbers().in_flight == 0
            server = next(iter(world.serving._servers.values()))
            assert len(server._queue) == 0

    asyncio.run(scenario())
