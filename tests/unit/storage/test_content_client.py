"""The HTTP clients against servers that lie, fail or break off."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
import pytest

from caimi.bundle.cid import RAW, cid_of, format_cid
from caimi.bundle.errors import BlockMismatch, BlockTooLarge
from caimi.bundle.unixfs import MAX_BLOCK_BYTES, Block
from caimi.ports.content import (
    MAX_CIDS_ASKED,
    BlockMissing,
    BlockSource,
    ContentError,
    StoreFull,
    StoreRefused,
    StoreUnavailable,
)
from caimi.storage.content_client import HttpBlockStore
from caimi.storage.kubo import GatewayBlockSource, KuboBlockStore
from caimi.types.failure import Retry

BLOCK = Block(cid=cid_of(RAW, b"content"), data=b"content")
Handler = Callable[[httpx2.Request], httpx2.Response]


def http(handler: Handler, **options: Any) -> HttpBlockStore:
    return HttpBlockStore("http://content.test", transport=httpx2.MockTransport(handler), **options)


def kubo(handler: Handler) -> KuboBlockStore:
    return KuboBlockStore("http://kubo.test", transport=httpx2.MockTransport(handler))


def gateway(handler: Handler) -> GatewayBlockSource:
    return GatewayBlockSource("http://gateway.test", transport=httpx2.MockTransport(handler))


class Body(httpx2.AsyncByteStream):
    """A body that comes in pieces, as from a socket, and counts what was taken."""

    def __init__(self, content: bytes = b"", *, times: int = 1) -> None:
        self.content, self.times, self.given = content, times, 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for _ in range(self.times):
            self.given += len(self.content)
            yield self.content


def answering(status: int, content: bytes = b"", **headers: str) -> Handler:
    return lambda request: httpx2.Response(status, stream=Body(content), headers=headers)


def answering_json(document: Any) -> httpx2.Response:
    return httpx2.Response(200, stream=Body(json.dumps(document).encode()))


SOURCES: list[Callable[[Handler], BlockSource]] = [http, kubo, gateway]
STORES = [http, kubo]


@pytest.mark.parametrize("make", SOURCES)
@pytest.mark.parametrize(
    ("content", "error"),
    [(b"contenT", BlockMismatch), (b"", BlockMismatch), (bytes(MAX_BLOCK_BYTES + 1), BlockTooLarge)],
)
def test_rejects_other_bytes_than_asked_for(
    make: Callable[[Handler], BlockSource], content: bytes, error: type[Exception]
) -> None:
    with pytest.raises(error):
        asyncio.run(make(answering(200, content)).get(BLOCK.cid))


@pytest.mark.parametrize("make", SOURCES)
def test_rejects_packed_bytes_without_unpacking_them(make: Callable[[Handler], BlockSource]) -> None:
    seen: list[str] = []

    def bomb(request: httpx2.Request) -> httpx2.Response:
        seen.append(request.headers["accept-encoding"])
        return httpx2.Response(200, stream=Body(b"\x1f\x8b not unpacked"), headers={"Content-Encoding": "gzip"})

    with pytest.raises(BlockMismatch):
        asyncio.run(make(bomb).get(BLOCK.cid))
    assert seen == ["identity"]


@pytest.mark.parametrize("make", SOURCES)
def test_an_endless_answer_is_left_at_the_limit(make: Callable[[Handler], BlockSource]) -> None:
    body = Body(bytes(1 << 16), times=1600)
    with pytest.raises(BlockTooLarge):
        asyncio.run(make(lambda _: httpx2.Response(200, stream=body)).get(BLOCK.cid))
    assert body.given <= MAX_BLOCK_BYTES + (1 << 16)


@pytest.mark.parametrize("make", STORES)
def test_an_endless_answer_to_a_put_is_left_at_the_limit(
    make: Callable[[Handler], HttpBlockStore | KuboBlockStore],
) -> None:
    body = Body(bytes(1 << 16), times=1600)
    with pytest.raises(StoreUnavailable, match="sends more than"):
        asyncio.run(make(lambda _: httpx2.Response(200, stream=body)).put(BLOCK))
    assert body.given <= 1 << 19


@pytest.mark.parametrize("make", [http, gateway])
@pytest.mark.parametrize(
    ("status", "error"),
    [
        (404, BlockMissing),
        (500, StoreUnavailable),
        (301, StoreUnavailable),
        (206, StoreUnavailable),
        (401, StoreUnavailable),
    ],
)
def test_rejects_a_get_by_status(
    make: Callable[[Handler], BlockSource], status: int, error: type[ContentError]
) -> None:
    with pytest.raises(error) as caught:
        asyncio.run(make(answering(status, b"content", Location="http://elsewhere.test/")).get(BLOCK.cid))
    assert type(caught.value) is error


@pytest.mark.parametrize(
    ("status", "error"),
    [(401, StoreRefused), (403, StoreRefused), (507, StoreFull), (503, StoreUnavailable), (302, StoreUnavailable)],
)
def test_rejects_a_put_by_status(status: int, error: type[ContentError]) -> None:
    with pytest.raises(error) as caught:
        asyncio.run(http(answering(status)).put(BLOCK))
    assert type(caught.value) is error


def test_the_token_goes_with_put_only() -> None:
    seen: list[tuple[str, str | None]] = []

    def record(request: httpx2.Request) -> httpx2.Response:
        seen.append((request.method, request.headers.get("authorization")))
        return httpx2.Response(200, stream=Body(b"content"))

    async def main() -> None:
        store = http(record, token="secret")
        await store.put(BLOCK)
        await store.get(BLOCK.cid)
        await store.has(BLOCK.cid)

    asyncio.run(main())
    assert seen == [("PUT", "Bearer secret"), ("GET", None), ("HEAD", None)]


@pytest.mark.parametrize("status", [500, 301, 403])
def test_rejects_a_head_that_says_neither_yes_nor_no(status: int) -> None:
    with pytest.raises(StoreUnavailable):
        asyncio.run(http(answering(status)).has(BLOCK.cid))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"missing": {}}',
        b'{"missing": ["x"]}',
        b'{"missing": [1]}',
        b"[" * 100_000,
        json.dumps({"missing": [format_cid(cid_of(RAW, b"never asked"))]}).encode(),
    ],
)
def test_rejects_answers_about_missing_blocks_that_make_no_sense(body: bytes) -> None:
    with pytest.raises(StoreUnavailable):
        asyncio.run(http(answering(200, body)).missing([BLOCK.cid]))


def test_long_questions_are_asked_in_parts() -> None:
    sizes: list[int] = []

    def count(request: httpx2.Request) -> httpx2.Response:
        cids = json.loads(request.content)["cids"]
        sizes.append(len(cids))
        return answering_json({"missing": cids[:1]})

    cids = [cid_of(RAW, bytes([i % 256, i // 256])) for i in range(MAX_CIDS_ASKED + 5)]
    assert len(asyncio.run(http(count).missing(cids))) == 2
    assert sizes == [MAX_CIDS_ASKED, 5]


TRANSLATED = (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, httpx2.CookieConflict)
EXPORTED = [c for _, c in inspect.getmembers(httpx2, inspect.isclass) if issubclass(c, Exception)]


def test_every_exception_of_the_library_is_one_that_we_translate() -> None:
    assert [c for c in EXPORTED if not issubclass(c, TRANSLATED)] == []


@pytest.mark.parametrize("error", EXPORTED)
@pytest.mark.parametrize("make", STORES)
def test_rejects_with_our_class_whatever_the_library_raises(
    make: Callable[[Handler], HttpBlockStore | KuboBlockStore], error: type[Exception]
) -> None:
    def fail(request: httpx2.Request) -> httpx2.Response:
        if issubclass(error, httpx2.HTTPStatusError):
            raise error("x", request=request, response=httpx2.Response(500))
        raise error("x") if error not in _NO_ARGUMENT else error()

    calls: list[Callable[[HttpBlockStore | KuboBlockStore], Any]] = [
        lambda s: s.get(BLOCK.cid),
        lambda s: s.put(BLOCK),
        lambda s: s.has(BLOCK.cid),
        lambda s: s.missing([BLOCK.cid]),
    ]
    for call in calls:
        with pytest.raises(StoreUnavailable) as caught:
            asyncio.run(call(make(fail)))
        assert caught.value.retry is Retry.SAFE


_NO_ARGUMENT = {httpx2.ResponseNotRead, httpx2.RequestNotRead, httpx2.StreamConsumed, httpx2.StreamClosed}


def test_an_address_that_is_none_is_unavailable() -> None:
    with pytest.raises(StoreUnavailable):
        asyncio.run(HttpBlockStore("http://127.0.0.1:1").has(BLOCK.cid))


# --- Kubo


def test_kubo_is_asked_for_the_same_cid_and_checked() -> None:
    seen: list[dict[str, str]] = []

    def put(request: httpx2.Request) -> httpx2.Response:
        seen.append(dict(request.url.params))
        return answering_json({"Key": format_cid(BLOCK.cid), "Size": 7})

    asyncio.run(kubo(put).put(BLOCK))
    assert seen == [{"cid-codec": "raw", "mhtype": "sha2-256", "allow-big-block": "true", "pin": "false"}]


@pytest.mark.parametrize("body", [b'{"Key": "other"}', b"{}", b"[]", b"not JSON"])
def test_rejects_a_kubo_that_stored_something_else(body: bytes) -> None:
    with pytest.raises(StoreUnavailable):
        asyncio.run(kubo(answering(200, body)).put(BLOCK))


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (500, b'{"Message": "block was not found locally (offline): ipld: could not find x"}', BlockMissing),
        (500, b'{"Message": "disk on fire"}', StoreUnavailable),
        (500, b"{}", StoreUnavailable),
        (500, b"not JSON", StoreUnavailable),
        (403, b"forbidden", StoreUnavailable),
        (404, b"404 page not found", StoreUnavailable),
    ],
)
def test_rejects_by_what_kubo_says(status: int, body: bytes, error: type[ContentError]) -> None:
    with pytest.raises(error) as caught:
        asyncio.run(kubo(answering(status, body)).get(BLOCK.cid))
    assert type(caught.value) is error
    if error is BlockMissing:
        assert not asyncio.run(kubo(answering(status, body)).has(BLOCK.cid))
    else:
        with pytest.raises(StoreUnavailable):
            asyncio.run(kubo(answering(status, body)).has(BLOCK.cid))


def test_rejects_a_pin_of_an_incomplete_tree() -> None:
    body = b'{"Message": "pin: block was not found locally (offline)"}'
    with pytest.raises(BlockMissing):
        asyncio.run(kubo(answering(500, body)).pin(BLOCK.cid))
