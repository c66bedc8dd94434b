"""Direct calls from the client's side: what is asked again, what is made anew, and what is not believed."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx2
import numpy as np
import pytest

from caimi.apps.direct_api import add_direct_calls
from caimi.apps.http_server import new_app
from caimi.apps.json_observer import JsonObserver
from caimi.host.identity import HostIdentity
from caimi.sdk import direct, inference
from caimi.sdk.connections import Connections
from caimi.sdk.direct import DirectInference, DirectLine
from caimi.sdk.direct_wire import DirectWire, HostProblem
from caimi.sdk.errors import (
    HostOverloaded,
    InputRefused,
    ServiceAnswer,
    ServiceUnavailable,
    UnprovenAnswer,
    UnreadableInput,
)
from caimi.sdk.json_fields import Fields, hex_text
from caimi.sdk.receipts import parse_receipt, receipt_to_json
from caimi.sdk.verification import RegistryAnswer, Verdict, verify_receipt
from caimi.types.errors import CaimiError, Expired, WrongSigner
from caimi.types.failure import Blame, Retry
from caimi.types.primitives import Bytes32, PublicationId
from caimi.types.records import Receipt
from caimi.wire.direct_body import DirectReply
from tests.unit.host.host_world import INPUT, WEIGHTS, HostWorld
from tests.unit.sdk.network_fixture import a_network

GOOD = {"x": INPUT}


class World:
    """A host, and everything that its client asks besides it."""

    def __init__(self, hosts: HostWorld, monkeypatch: pytest.MonkeyPatch) -> None:
        self.hosts = hosts
        genesis = replace(a_network(Path("/nowhere")).genesis, operators=(_operator(hosts),))
        network = a_network(Path("/nowhere"))
        self.network = replace(
            network, id=hosts.keys.chains.network, genesis=genesis, epoch=hosts.identity.key.epoch, host_url="http://h"
        )
        self.bodies: list[bytes] = []
        self.before: Callable[[], None] = lambda: None
        self.change: Callable[[bytes], bytes] = lambda reply: reply
        self.slept: list[float] = []
        self.leases_asked = 0
        self.has_leases = True
        app = new_app("host", JsonObserver("h", io.StringIO()), ready=_ready, longer_bodies={"/v1/models/": 1 << 20})
        add_direct_calls(app, lambda: hosts.serving)
        self._wire = DirectWire("http://h", connections=8, transport=httpx2.ASGITransport(app=app))
        clock = SimpleNamespace(time=lambda: hosts.clock.now(), monotonic=hosts.clock.monotonic)
        monkeypatch.setattr(direct, "time", clock)
        monkeypatch.setattr(inference, "time", clock)
        monkeypatch.setattr(direct, "asyncio", _Asyncio(self))
        self.line = DirectLine(cast(Connections, self), hosts.consumer, cast(DirectWire, self))

    # --- as `DirectWire`

    async def post(self, publication: PublicationId, body: bytes, *, seconds: float) -> bytes:
        self.bodies.append(body)
        self.before()
        return self.change(await self._wire.post(publication, body, seconds=seconds))

    # --- as `Connections`

    @property
    def relay(self) -> Any:
        return self.service("")

    def service(self, url: str, **_: Any) -> Any:
        return SimpleNamespace(get=self._get, get_list=self._get_list)

    async def lease(self, identifier: Bytes32) -> Any:
        self.leases_asked += 1
        return await self.hosts.board.lease(identifier) if self.has_leases else None

    async def _get(self, path: str) -> Fields:
        identity = self.hosts.identity
        if path == "/v1/host":
            shown = {"host_key": hex_text(identity.encoded_key)}
            return Fields({**shown, "operator_signature": hex_text(identity.operator_signature)}, path)
        found = await self.hosts.relay.publication(Bytes32(bytes.fromhex(path.rpartition("0x")[2])))
        return Fields({"publication": hex_text(found.publication)}, path)

    async def _get_list(self, path: str) -> tuple[Fields, ...]:
        return tuple(
            Fields(
                {
                    "publication": hex_text(model.publication.id),
                    "inputs": [{"name": "x", "dtype": "float32", "shape": ["N", 4]}],
                },
                path,
            )
            for model in self.hosts.shelf.shown()
        )


class _Asyncio:
    # Time passes while somebody waits for it.

    def __init__(self, world: World) -> None:
        self._world = world

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)

    async def sleep(self, seconds: float) -> None:
        self._world.slept.append(seconds)
        await self._world.hosts.clock.sleep(seconds)


def _operator(hosts: HostWorld) -> Any:
    from tests.unit.relay.world import key

    return key("operator").address


async def _ready() -> tuple[str, ...]:
    return ()


@asynccontextmanager
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[tuple[World, PublicationId]]:
    async with HostWorld() as hosts:
        yield World(hosts, monkeypatch), await hosts.publish()


def busy(name: str, retry_after: int | None, error: CaimiError | None = None) -> HostProblem:
    return HostProblem(name, "told", error or ServiceUnavailable("told"), retry_after)


def raising(*errors: Exception) -> Callable[[], None]:
    left = list(errors)

    def act() -> None:
        if left:
            raise left.pop(0)

    return act


# --- what is answered


def test_an_answer_comes_with_a_receipt_that_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with world(monkeypatch) as (given, publication):
            found = await given.line.ask(publication, GOOD, deadline_s=30)
            assert np.array_equal(found.outputs["y"], INPUT @ WEIGHTS)
            verdicts = {f.link: f.verdict for f in found.verification.findings}
            assert {link for link, verdict in verdicts.items() if verdict is not Verdict.VALID} == {
                "genesis → network",  # a world's network has an id of its own
                "grant",
                "quote",
                "heartbeat",
                "attestation",
            }
            for link in ("lease", "consumer → request", "request ↔ host key", "request ↔ receipt", "output tensors"):
                assert verdicts[link] is Verdict.VALID
            # Read again from its file, it is judged alike.
            again = parse_receipt(json.dumps(receipt_to_json(found.file)).encode(), "r")
            assert again == found.file
            await given.line.ask(publication, GOOD, deadline_s=30)
            assert given.leases_asked == 1
            # One session for both, and each request with a nonce of its own.
            assert given.bodies[0][289:369] == given.bodies[1][289:369]
            assert given.bodies[0][:289] != given.bodies[1][:289]

    asyncio.run(scenario())


def test_many_inputs_are_answered_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with world(monkeypatch) as (given, publication):
            taken: dict[int, DirectInference | CaimiError] = {}
            inputs = [{"x": INPUT * i} for i in range(6)]
            inputs[2] = {"x": INPUT[:, :3]}
            count = await given.line.ask_each(publication, iter(inputs), taken.__setitem__, deadline_s=30, in_flight=3)
            assert count == len(taken) == 6
            for place, found in taken.items():
                if place == 2:
                    assert isinstance(found, InputRefused)
                    assert "WrongShape; the model takes x float32" in str(found)
                else:
                    assert isinstance(found, DirectInference)
                    assert np.array_equal(found.outputs["y"], INPUT * place @ WEIGHTS)

            def spoilt(place: int, found: DirectInference | CaimiError) -> None:
                raise KeyError(place)

            with pytest.raises(KeyError):
                await given.line.ask_each(publication, inputs, spoilt, deadline_s=30, in_flight=2)

    asyncio.run(scenario())


# --- what is asked again, and what is made anew


def test_a_busy_host_is_asked_again_with_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with world(monkeypatch) as (given, publication):
            given.before = raising(busy("HostBusy", 2), busy("NotYetAnswered", 1), ServiceUnavailable("reset"))
            found = await given.line.ask(publication, GOOD, deadline_s=30)
            assert np.array_equal(found.outputs["y"], INPUT @ WEIGHTS)
            assert len(given.bodies) == 4
            assert len(set(given.bodies)) == 1
            assert given.slept == [2, 1, 0.05]

    asyncio.run(scenario())


def test_a_reply_that_was_lost_is_given_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with world(monkeypatch) as (given, publication):
            lost = raising(ServiceUnavailable("reset"))
            replies: list[bytes] = []

            def change(reply: bytes) -> bytes:
                replies.append(reply)
                lost()
                return reply

            given.change = change
            await given.line.ask(publication, GOOD, deadline_s=30)
            # Computed once, and the same bytes twice.
            assert len(replies) == 2
            assert replies[0] == replies[1]
            assert given.hosts.serving.numbers().answered == 1

    asyncio.run(scenario())


def test_rejects_to_wait_beyond_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with world(monkeypatch) as (given, publication):
            given.before = raising(busy("HostBusy", 5), busy("DeadlineUnmeetable", 9))
            with pytest.raises(HostOverloaded, match="DeadlineUnmeetable: told") as caught:
                await given.line.ask(publication, GOOD, deadline_s=10)
            assert (caught.value.blame, caught.value.retry) == (Blame.HOST, Retry.SAFE)
            assert given.slept == [5]
            given.before = raising(busy("Expired", None, Expired(1, 2)))
            with pytest.raises(HostOverloaded, match="loading the model"):
                await given.line.ask(publication, GOOD, deadline_s=10)
            given.before = raising(*[ServiceUnavailable("refused")] * 50)
            with pytest.raises(ServiceUnavailable, match="refused"):
                await given.line.ask(publication, GOOD, deadline_s=3)

    asyncio.run(scenario())


def test_a_host_that_was_started_again_is_asked_in_another_session(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with world(monkeypatch) as (given, publication):
            first = await given.line.ask(publication, GOOD, deadline_s=30)
            await given.hosts.restart()
            second = await given.line.ask(publication, GOOD, deadline_s=30)
            assert first.file.request.host != second.file.request.host == given.hosts.identity.key.signing_key
            assert len(given.bodies) == 3
            given.before = raising(*[busy("NotForThisHost", None)] * 3)
            with pytest.raises(UnreadableInput):
                await given.line.ask(publication, GOOD, deadline_s=30)

    asyncio.run(scenario())


def test_a_request_whose_reply_is_no_longer_kept_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with world(monkeypatch) as (given, publication):
            given.before = raising(busy("AlreadyAnswered", None))
            await given.line.ask(publication, GOOD, deadline_s=30)
            assert len(set(given.bodies)) == 2

    asyncio.run(scenario())


def test_rejects_what_the_host_refuses_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with world(monkeypatch) as (given, publication):
            given.before = raising(busy("WrongSigner", None, WrongSigner()))
            with pytest.raises(WrongSigner):
                await given.line.ask(publication, GOOD, deadline_s=30)
            for values, name in (({"x": INPUT[:, :3]}, "WrongShape"), ({"z": INPUT}, "WrongTensorNames")):
                with pytest.raises(InputRefused, match=name):
                    await given.line.ask(publication, values, deadline_s=30)
            with pytest.raises(InputRefused, match="NotFinite"):
                await given.line.ask(publication, {"x": INPUT * np.float32("nan")}, deadline_s=30)
            assert given.slept == []

    asyncio.run(scenario())


# --- what is not believed


def _resigned(identity: HostIdentity, body: bytes, **fields: Any) -> bytes:
    reply = DirectReply.from_bytes(body)
    receipt = replace(reply.receipt, **fields)
    return replace(reply, receipt=receipt, signature=identity.sign(receipt)).to_bytes()


_OTHER: Mapping[str, Any] = {name: Bytes32(b"\x77" * 32) for name in Receipt.__slots__} | {"price": 1}


def _spoilt(body: bytes, place: int) -> bytes:
    changed = bytearray(body)
    changed[place] ^= 1
    return bytes(changed)


def test_rejects_a_receipt_that_its_host_signed_for_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with world(monkeypatch) as (given, publication):
            identity = given.hosts.identity
            for name in Receipt.__slots__:
                fields = {name: given.hosts.clock.now() + 31 if name == "time" else _OTHER[name]}
                given.change = lambda body, fields=fields: _resigned(identity, body, **fields)
                with pytest.raises(UnprovenAnswer) as caught:
                    await given.line.ask(publication, GOOD, deadline_s=30)
                assert caught.value.blame is Blame.HOST

    asyncio.run(scenario())


def test_rejects_a_reply_with_one_byte_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with world(monkeypatch) as (given, publication):
            for place in (0, 31, 351, 352, 416, 417, 470, -1):
                given.change = lambda body, place=place: _spoilt(body, place)
                with pytest.raises(UnprovenAnswer):
                    await given.line.ask(publication, GOOD, deadline_s=30)

    asyncio.run(scenario())


def test_rejects_a_reply_of_garbage_and_one_of_another_call(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with world(monkeypatch) as (given, publication):
            replies: list[bytes] = []
            given.change = lambda body: (replies.append(body), body)[1]
            await given.line.ask(publication, GOOD, deadline_s=30)
            for other in (b"", b"no", bytes(600), replies[0], replies[0][:420]):
                given.change = lambda body, other=other: other
                with pytest.raises(UnprovenAnswer):
                    await given.line.ask(publication, GOOD, deadline_s=30)

    asyncio.run(scenario())


def test_rejects_an_answer_under_a_lease_that_the_board_does_not_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with world(monkeypatch) as (given, publication):
            given.has_leases = False
            with pytest.raises(UnprovenAnswer, match="the board has none"):
                await given.line.ask(publication, GOOD, deadline_s=30)
            # The peer was behind: what it did not know is asked again.
            given.has_leases = True
            found = await given.line.ask(publication, GOOD, deadline_s=30)
            other = replace(found.lease, publication=Bytes32(bytes(32)))
            for answer in (RegistryAnswer(), RegistryAnswer(lease=other)):
                verdicts = verify_receipt(found.file, registry=answer).findings
                assert next(f.verdict for f in verdicts if f.link == "lease") is Verdict.INVALID

    asyncio.run(scenario())


# --- the wire


def _wire(handler: Callable[[httpx2.Request], httpx2.Response]) -> DirectWire:
    return DirectWire("http://h/", connections=2, transport=httpx2.MockTransport(handler))


def _posted(handler: Callable[[httpx2.Request], httpx2.Response]) -> bytes:
    return asyncio.run(_wire(handler).post(PublicationId(Bytes32(bytes(32))), b"body", seconds=5))


def problem(**fields: Any) -> dict[str, Any]:
    return {"error": "HostBusy", "retry": "safe", "hint": "", "values": {"text": "full"}, **fields}


@pytest.mark.parametrize(
    ("header", "seconds"), [("7", 7), ("", 1), ("0", 1), ("-3", 1), ("9" * 30, 1), ("99999", 60), ("Thu, 1 Jan", 1)]
)
def test_the_wire_tells_when_to_ask_again(header: str, seconds: int) -> None:
    with pytest.raises(HostProblem) as caught:
        _posted(lambda request: httpx2.Response(429, json=problem(), headers={"Retry-After": header}))
    assert (caught.value.name, caught.value.text, caught.value.retry_after) == ("HostBusy", "full", seconds)


@pytest.mark.parametrize(
    "response",
    [
        httpx2.Response(500, content=b"<html>"),
        httpx2.Response(422, json=[]),
        httpx2.Response(422, json={"error": 1}),
        httpx2.Response(429, content=b"x" * (1 << 17)),
        httpx2.Response(200, content=bytes((64 << 20) + 4096)),
    ],
)
def test_the_wire_rejects_what_no_host_of_ours_says(response: httpx2.Response) -> None:
    with pytest.raises(ServiceAnswer):
        _posted(lambda request: response)


def test_the_wire_rejects_silence() -> None:
    def away(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused")

    with pytest.raises(ServiceUnavailable):
        _posted(away)
