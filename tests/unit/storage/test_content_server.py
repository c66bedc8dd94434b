"""The HTTP server of blocks: who may write, what is refused, what it tells."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
import pytest

from caimi.bundle.cid import DAG_PB, RAW, cid_of, format_cid
from caimi.bundle.unixfs import MAX_BLOCK_BYTES
from caimi.ports.content import MAX_CIDS_ASKED, StoreFull, StoreRefused, StoreUnavailable
from caimi.ports.metrics import CONTENT_BYTES, CONTENT_REQUESTS
from caimi.storage.content_server import create_app
from caimi.storage.memory import MemoryBlockStore
from tests.unit.relay.world import Recorder

TOKEN = "a token of the tests"
CID = cid_of(RAW, b"content")
PATH = f"/v1/blocks/{format_cid(CID)}"
AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}


class FullStore(MemoryBlockStore):
    """Refuses every block."""

    async def put(self, block: Any) -> None:
        raise StoreFull("no room")


def content_app(store: MemoryBlockStore, *, token: str, check_writable: Callable[[], None] = lambda: None) -> Any:
    return create_app(store, token=token, observer=Recorder(), check_writable=check_writable)


def ask(method: str, path: str, *, store: MemoryBlockStore | None = None, **request: Any) -> httpx2.Response:
    async def main() -> httpx2.Response:
        transport = httpx2.ASGITransport(content_app(store or MemoryBlockStore(), token=TOKEN))
        async with httpx2.AsyncClient(transport=transport, base_url="http://content.test") as client:
            return await client.request(method, path, **request)

    return asyncio.run(main())


def holding(content: bytes = b"content") -> MemoryBlockStore:
    store = MemoryBlockStore()
    assert ask(
        "PUT", f"/v1/blocks/{format_cid(cid_of(RAW, content))}", store=store, content=content, headers=AUTHORIZED
    )
    return store


def test_a_block_is_given_as_immutable_bytes() -> None:
    answer = ask("GET", PATH, store=holding())
    assert (answer.status_code, answer.content) == (200, b"content")
    assert answer.headers["content-type"] == "application/vnd.ipld.raw"
    assert "immutable" in answer.headers["cache-control"]
    assert answer.headers["etag"] == f'"{format_cid(CID)}"'


def test_put_is_created_and_head_tells() -> None:
    store = MemoryBlockStore()
    assert ask("HEAD", PATH, store=store).status_code == 404
    assert ask("PUT", PATH, store=store, content=b"content", headers=AUTHORIZED).status_code == 201
    assert ask("PUT", PATH, store=store, content=b"content", headers=AUTHORIZED).status_code == 201
    assert ask("HEAD", PATH, store=store).status_code == 200


@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer ", "Bearer a token of the test", f"Basic {TOKEN}", TOKEN]
)
def test_rejects_a_put_without_the_token_and_keeps_nothing(authorization: str | None) -> None:
    store = MemoryBlockStore()
    headers = {} if authorization is None else {"Authorization": authorization}
    answer = ask("PUT", PATH, store=store, content=b"content", headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (401, "StoreRefused")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert ask("HEAD", PATH, store=store).status_code == 404


@pytest.mark.parametrize(
    ("content", "status", "error"),
    [
        (b"contenT", 422, "BlockMismatch"),
        (b"", 422, "BlockMismatch"),
        (bytes(MAX_BLOCK_BYTES + 1), 413, "BlockTooLarge"),
    ],
)
def test_rejects_other_bytes_and_keeps_nothing(content: bytes, status: int, error: str) -> None:
    store = MemoryBlockStore()
    answer = ask("PUT", PATH, store=store, content=content, headers=AUTHORIZED)
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert ask("HEAD", PATH, store=store).status_code == 404


def test_rejects_an_endless_body_after_the_limit() -> None:
    sent = [0]

    async def endless() -> AsyncIterator[bytes]:
        while sent[0] < 100 << 20:
            sent[0] += 1 << 16
            yield bytes(1 << 16)

    app = content_app(MemoryBlockStore(), token=TOKEN)
    stream, answers = endless(), list[dict[str, Any]]()

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": await anext(stream), "more_body": True}

    async def send(message: Any) -> None:
        answers.append(message)

    scope: dict[str, Any] = {
        "type": "http",
        "http_version": "1.1",
        "method": "PUT",
        "scheme": "http",
        "path": PATH,
        "root_path": "",
        "query_string": b"",
        "headers": [(b"authorization", f"Bearer {TOKEN}".encode())],
        "server": ("content.test", 80),
        "client": ("127.0.0.1", 1),
    }
    asyncio.run(app(scope, receive, send))
    assert answers[0]["status"] == 413
    assert sent[0] <= MAX_BLOCK_BYTES + (1 << 16)


@pytest.mark.parametrize("text", ["x", "Qm" + "a" * 44, format_cid(CID).upper(), format_cid(CID) + "a"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT"])
def test_rejects_what_is_no_cid(method: str, text: str) -> None:
    answer = ask(method, f"/v1/blocks/{text}", headers=AUTHORIZED)
    assert answer.status_code == 400
    if method != "HEAD":
        assert answer.json()["error"] == "CidRefused"


@pytest.mark.parametrize(
    ("method", "path"), [("GET", PATH + "/more"), ("GET", PATH + "/"), ("GET", "/v1"), ("POST", PATH)]
)
def test_rejects_what_is_no_call_as_it_rejects_everything(method: str, path: str) -> None:
    answer = ask(method, path, store=holding())
    assert (answer.status_code, answer.json()["error"]) == (400, "CidRefused")


def test_rejects_a_read_of_a_missing_block_with_a_hint() -> None:
    answer = ask("GET", PATH)
    assert answer.status_code == 404
    assert answer.json() | {"message": ""} == {
        "error": "BlockMissing",
        "message": "",
        "hint": "ask another source, or upload the content again: only missing blocks are sent",
        "retry": "after",
    }


def test_missing_blocks_are_told_in_order() -> None:
    cids = [format_cid(cid_of(DAG_PB, bytes([i]))) for i in range(3)] + [format_cid(CID)]
    answer = ask("POST", "/v1/blocks/missing", store=holding(), json={"cids": cids})
    assert (answer.status_code, answer.json()) == (200, {"missing": cids[:3]})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"cids": "x"}',
        b'{"cids": ["x"]}',
        json.dumps({"cids": [format_cid(CID)] * (MAX_CIDS_ASKED + 1)}).encode(),
        json.dumps({"cids": [format_cid(CID)[:-1] + "b"]}).encode(),
    ],
)
def test_rejects_questions_of_another_form(body: bytes) -> None:
    answer = ask("POST", "/v1/blocks/missing", content=body)
    assert (answer.status_code, answer.json()["error"]) == (400, "CidRefused")


def test_rejects_a_question_over_the_limit() -> None:
    answer = ask("POST", "/v1/blocks/missing", content=b" " * (1 << 17 | 1))
    assert (answer.status_code, answer.json()["error"]) == (413, "BlockTooLarge")
    full = {"cids": [format_cid(CID)] * MAX_CIDS_ASKED}
    assert ask("POST", "/v1/blocks/missing", json=full).status_code == 200


def test_rejects_a_put_when_the_store_is_full() -> None:
    answer = ask("PUT", PATH, store=FullStore(), content=b"content", headers=AUTHORIZED)
    assert (answer.status_code, answer.json()["error"]) == (507, "StoreFull")


def test_health_follows_the_store() -> None:
    def away() -> None:
        raise StoreUnavailable("disk is gone")

    async def status(app: Any) -> int:
        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://content.test") as client:
            return (await client.get("/healthz")).status_code

    store = MemoryBlockStore()
    assert asyncio.run(status(content_app(store, token=TOKEN))) == 200
    assert asyncio.run(status(content_app(store, token=TOKEN, check_writable=away))) == 503


def test_calls_and_refusals_are_counted() -> None:
    told = Recorder()

    async def main() -> None:
        transport = httpx2.ASGITransport(create_app(MemoryBlockStore(), token=TOKEN, observer=told))
        async with httpx2.AsyncClient(transport=transport, base_url="http://content.test") as client:
            await client.put(PATH, content=b"content", headers=AUTHORIZED)
            await client.put(PATH, content=b"content")
            await client.get(PATH)
            await client.get(PATH)
            await client.post("/v1/blocks/missing", content=b"nonsense")

    asyncio.run(main())
    assert [(m.full_name, tuple(labels.values())) for m, labels in told.counts if m is CONTENT_REQUESTS] == [
        ("caimi_content_requests_total", ("put", "ok")),
        ("caimi_content_requests_total", ("put", "StoreRefused")),
        ("caimi_content_requests_total", ("get", "ok")),
        ("caimi_content_requests_total", ("get", "ok")),
        ("caimi_content_requests_total", ("missing", "CidRefused")),
    ]
    bytes_moved = [labels["direction"] for metric, labels in told.counts if metric is CONTENT_BYTES]
    assert (bytes_moved.count("in"), bytes_moved.count("out")) == (7, 14)


def test_rejects_a_token_that_is_no_secret() -> None:
    with pytest.raises(StoreRefused, match="at least 16"):
        content_app(MemoryBlockStore(), token="short")


def test_the_openapi_document_names_every_call() -> None:
    paths = content_app(MemoryBlockStore(), token=TOKEN).openapi()["paths"]
    assert {(p, m) for p, calls in paths.items() for m in calls} == {
        ("/v1/blocks/{cid}", "get"),
        ("/v1/blocks/{cid}", "head"),
        ("/v1/blocks/{cid}", "put"),
        ("/v1/blocks/missing", "post"),
        ("/healthz", "get"),
    }
    question = paths["/v1/blocks/missing"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert question["properties"]["cids"]["maxItems"] == MAX_CIDS_ASKED
