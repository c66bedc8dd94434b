"""What processes answer, and what a client makes of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from caimi.sdk.errors import ServiceAnswer, ServiceRefused, ServiceUnavailable, UnknownName
from caimi.sdk.patience import Patience
from caimi.sdk.services import Service
from caimi.types.errors import NameTaken, NearDeadline

_URL = "http://127.0.0.1:1"


def _ask(answer: Callable[[httpx2.Request], httpx2.Response], *, post: bool = False, token: str | None = None) -> Any:
    async def act() -> Any:
        async with httpx2.AsyncClient(transport=httpx2.MockTransport(answer)) as client:
            service = Service(_URL, client, token=token)
            return await (service.post("/v1/x", {"a": 1}) if post else service.get("/v1/x", q="2"))

    return asyncio.run(act())


def _json(status: int, body: Any) -> Callable[[httpx2.Request], httpx2.Response]:
    return lambda request: httpx2.Response(status, content=json.dumps(body).encode())


def _problem(name: str, values: dict[str, Any], retry: str = "never") -> dict[str, Any]:
    return {"error": name, "values": values, "retry": retry, "blame": "x", "certainty": "y", "hint": "z"}


def test_an_object_is_read_by_its_members() -> None:
    fields = _ask(_json(200, {"n": 7, "s": "x", "o": {"b": "0x01"}}))
    assert (fields.number("n"), fields.text("s"), fields.object("o").data("b")) == (7, "x", b"\x01")


def test_the_token_goes_with_every_call() -> None:
    seen: list[str | None] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request.headers.get("authorization"))
        return httpx2.Response(202, content=b"{}")

    _ask(answer, post=True, token="secret")
    _ask(answer, post=True)
    assert seen == ["Bearer secret", None]


def test_a_refusal_comes_back_as_its_class_with_its_values() -> None:
    with pytest.raises(NameTaken):
        _ask(_json(422, _problem("NameTaken", {})))
    with pytest.raises(NearDeadline) as caught:
        _ask(_json(422, _problem("NearDeadline", {"deadline": 5, "earliest": 9})))
    assert caught.value.values == (5, 9)


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (404, _problem("NoSuchThing", {"text": "0x12"}), UnknownName),
        (404, _problem("UnknownLane", {"text": "moon"}), UnknownName),
        (503, _problem("ChainUnavailable", {"text": "down"}, retry="safe"), ServiceUnavailable),
        (401, _problem("Forbidden", {"text": ""}), ServiceRefused),
        (422, _problem("NearDeadline", {}), ServiceAnswer),
        (500, {"detail": "Internal Server Error"}, ServiceAnswer),
        (500, ["x"], ServiceAnswer),
        (200, [1], ServiceAnswer),
        (200, "x", ServiceAnswer),
    ],
)
def test_rejects_other_answers_with_a_typed_error(status: int, body: Any, expected: type[Exception]) -> None:
    with pytest.raises(expected) as caught:
        _ask(_json(status, body))
    assert type(caught.value) is expected


def test_rejects_what_is_not_json() -> None:
    with pytest.raises(ServiceAnswer):
        _ask(lambda request: httpx2.Response(200, content=b"<html>"))


def test_rejects_an_endless_answer() -> None:
    with pytest.raises(ServiceAnswer, match="more than"):
        _ask(lambda request: httpx2.Response(200, content=b"[" + b"0," * (5 << 20)))


def test_no_answer_is_safe_to_repeat() -> None:
    def refuse(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused", request=request)

    with pytest.raises(ServiceUnavailable) as caught:
        _ask(refuse)
    assert caught.value.retry.value == "safe"


@pytest.mark.parametrize(
    "body",
    [{}, {"n": "7x"}, {"n": -1}, {"n": 1.5}, {"n": True}, {"n": 1 << 64}, {"n": None}],
)
def test_rejects_a_member_of_another_type(body: dict[str, Any]) -> None:
    with pytest.raises(ServiceAnswer):
        _ask(_json(200, body)).number("n")


def test_a_process_that_is_started_again_is_waited_for() -> None:
    told: list[str] = []
    answers = [
        httpx2.ConnectError("refused"),
        httpx2.Response(503, content=json.dumps(_problem("ChainUnavailable", {"text": "down"}, retry="safe")).encode()),
        httpx2.Response(200, content=b'{"n": 7}'),
    ]

    def answer(request: httpx2.Request) -> httpx2.Response:
        found = answers.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    async def act(method: str) -> int:
        async with httpx2.AsyncClient(transport=httpx2.MockTransport(answer)) as client:
            service = Service(_URL, client, name="the relay", patience=Patience(30.0, told.append))
            fields = await (service.get("/v1/x") if method == "get" else service.post("/v1/x", {}))
            return fields.number("n")

    assert asyncio.run(act("get")) == 7
    assert told == [f"waits for the relay, which does not answer, at most 30 s: {_URL}: ConnectError", told[1]]
    assert told[1] == "the relay answers again"


def test_rejects_at_once_what_no_patience_helps_against() -> None:
    asked: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.url.path)
        return httpx2.Response(422, content=json.dumps(_problem("NameTaken", {})).encode())

    async def act() -> None:
        async with httpx2.AsyncClient(transport=httpx2.MockTransport(answer)) as client:
            await Service(_URL, client, patience=Patience(30.0)).post("/v1/x", {})

    with pytest.raises(NameTaken):
        asyncio.run(act())
    assert len(asked) == 1


def test_a_probe_reads_an_object_whatever_the_status_is() -> None:
    async def act(answer: Callable[[httpx2.Request], httpx2.Response]) -> tuple[str, ...]:
        async with httpx2.AsyncClient(transport=httpx2.MockTransport(answer)) as client:
            return (await Service(_URL, client).probe("/readyz")).texts("missing")

    assert asyncio.run(act(_json(503, {"ready": False, "missing": ["a"]}))) == ("a",)
    with pytest.raises(ServiceAnswer, match="something else than JSON"):
        asyncio.run(act(lambda _: httpx2.Response(503, content=b"<html>")))
