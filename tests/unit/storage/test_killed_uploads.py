"""An uploading process that is killed at any moment sends one block again, and no more (spec 15 §9)."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from typing import Any, Final, cast

import httpx2
import pytest

from caimi.bundle.cid import RAW, cid_of, format_cid
from caimi.bundle.unixfs import Block
from caimi.ports.content import StoreFull
from caimi.storage.content_client import HttpBlockStore
from caimi.storage.content_server import create_app
from caimi.storage.memory import MemoryBlockStore
from caimi.storage.settled import SettledStore
from caimi.storage.transfer import Content
from caimi.types.records import Cid
from tests.unit.relay.world import Recorder

TOKEN: Final = "a token of the tests"
CONTENT: Final = hashlib.shake_128(b"killed").digest(2_500_000)  # three leaves and a root
BLOCKS: Final = 4
_PIECE: Final = 1 << 18


class SlowStore(MemoryBlockStore):
    """Takes many turns of the loop to keep a block."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: Counter[Cid] = Counter()
        self.most_at_once = 0
        self._now = 0

    async def put(self, block: Block) -> None:
        self.begun[block.cid] += 1
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        for _ in range(100):
            await asyncio.sleep(0)
        self._now -= 1
        await super().put(block)


class Wire(httpx2.AsyncBaseTransport):
    """Carries bodies in pieces, side by side. From the moment of the kill on nothing more enters it and nothing comes
    out; what had entered it whole arrives and is worked on."""

    def __init__(self, app: Any, *, kill_at: int | None = None) -> None:
        self._inner = httpx2.ASGITransport(app)
        self._kill_at = kill_at
        self._arriving: set[asyncio.Task[httpx2.Response]] = set()
        self.killed = asyncio.Event()
        self.moments = 0
        self.bodies = 0
        """Blocks of which at least a piece was sent."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        body = bytearray()
        async for data in cast(httpx2.AsyncByteStream, request.stream):
            for at in range(0, len(data), _PIECE):
                await self._moment()
                self.bodies += request.method == "PUT" and not body
                body += data[at : at + _PIECE]
        whole = httpx2.Request(request.method, request.url, headers=request.headers, content=bytes(body))
        task = asyncio.create_task(self._inner.handle_async_request(whole))
        self._arriving.add(task)
        task.add_done_callback(self._arriving.discard)
        answer = await asyncio.shield(task)
        await self._moment()
        return answer

    async def _moment(self) -> None:
        if self.moments == self._kill_at:
            self.killed.set()
        if self.killed.is_set():
            await asyncio.Event().wait()
        self.moments += 1
        await asyncio.sleep(0)


async def _upload(wire: Wire) -> None:
    async with HttpBlockStore("http://content.test", token=TOKEN, transport=wire) as store:
        root = await Content(sources=[], store=store).upload([CONTENT])
        assert root.blocks == BLOCKS


async def _killed_and_resumed(kill_at: int | None) -> tuple[int, int]:
    # Blocks sent by both uploaders, and in how many moments the first one could have been killed.
    store = SlowStore()
    app = create_app(store, token=TOKEN, observer=Recorder())
    first, second = Wire(app, kill_at=kill_at), Wire(app)
    uploading, killed = asyncio.create_task(_upload(first)), asyncio.create_task(first.killed.wait())
    await asyncio.wait({uploading, killed}, return_when=asyncio.FIRST_COMPLETED)
    for task in (uploading, killed):
        task.cancel()
    await asyncio.gather(uploading, killed, return_exceptions=True)
    await _upload(second)
    assert set(store.begun.values()) == {1}, "a block was kept twice"
    return first.bodies + second.bodies, first.moments


def test_a_killed_upload_sends_one_block_again_at_most() -> None:
    async def main() -> list[int]:
        sent, moments = await _killed_and_resumed(None)
        assert sent == BLOCKS
        return [(await _killed_and_resumed(at))[0] - BLOCKS for at in range(moments)]

    again = asyncio.run(main())
    assert len(again) > 3 * BLOCKS
    assert set(again) == {0, 1}


def test_blocks_wait_for_their_answers_side_by_side() -> None:
    store = SlowStore()
    asyncio.run(_upload(Wire(create_app(store, token=TOKEN, observer=Recorder()))))
    assert store.most_at_once == BLOCKS - 1  # all leaves; the root goes after them


BLOCK: Final = Block(cid=cid_of(RAW, b"x"), data=b"x")


class Gate(MemoryBlockStore):
    """Keeps a block when it is let; fails as told."""

    def __init__(self, failure: Exception | None = None) -> None:
        super().__init__()
        self.opened = asyncio.Event()
        self.puts = 0
        self._failure = failure

    async def put(self, block: Block) -> None:
        self.puts += 1
        await self.opened.wait()
        if self._failure is not None:
            raise self._failure
        await super().put(block)


@pytest.mark.parametrize("ask", ["missing", "has", "get", "put"])
def test_whoever_asks_for_a_block_that_is_being_kept_waits(ask: str) -> None:
    async def main() -> None:
        gate = Gate()
        store = SettledStore(gate)
        gone = asyncio.create_task(store.put(BLOCK))
        await asyncio.sleep(0)
        gone.cancel()
        argument: Any = {"missing": [BLOCK.cid], "put": BLOCK}.get(ask, BLOCK.cid)
        asking = asyncio.create_task(getattr(store, ask)(argument))
        other = await asyncio.wait_for(store.missing([cid_of(RAW, b"another")]), 5)
        assert len(other) == 1
        assert not asking.done()
        gate.opened.set()
        answer = await asyncio.wait_for(asking, 5)
        expected: dict[str, object] = {"missing": frozenset[Cid](), "has": True, "get": BLOCK, "put": None}
        assert answer == expected[ask]
        assert gate.puts == 1

    asyncio.run(main())


def test_rejects_a_block_that_was_not_kept_for_all_who_put_it() -> None:
    async def main() -> None:
        gate = Gate(StoreFull("no room"))
        store = SettledStore(gate)
        several = [asyncio.create_task(store.put(BLOCK)) for _ in range(2)]
        asking = asyncio.create_task(store.missing([BLOCK.cid]))
        await asyncio.sleep(0)
        gate.opened.set()
        told = await asyncio.gather(*several, return_exceptions=True)
        assert [type(error) for error in told] == [StoreFull, StoreFull]
        assert await asking == {BLOCK.cid}
        # It is tried anew by the next one.
        with pytest.raises(StoreFull):
            await store.put(BLOCK)
        assert gate.puts == 2

    asyncio.run(main())


class Dripping:
    """A PUT of `BLOCK` over ASGI whose body waits in the middle."""

    def __init__(self, app: Any) -> None:
        self.sent = asyncio.Event()
        self.goes_on = True
        self._app = app
        self._pieces = 0
        self.statuses: list[int] = []

    async def run(self) -> None:
        headers = [(b"authorization", f"Bearer {TOKEN}".encode())]
        path = f"/v1/blocks/{format_cid(BLOCK.cid)}"
        scope = {"type": "http", "method": "PUT", "path": path, "headers": headers, "query_string": b""}
        await self._app({**scope, "http_version": "1.1", "scheme": "http", "root_path": ""}, self._receive, self._send)

    async def _receive(self) -> dict[str, Any]:
        self._pieces += 1
        if self._pieces == 1:
            return {"type": "http.request", "body": b"", "more_body": True}
        await self.sent.wait()
        if not self.goes_on:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": bytes(BLOCK.data), "more_body": False}

    async def _send(self, message: dict[str, Any]) -> None:
        self.statuses += [message["status"]] if "status" in message else []


@pytest.mark.parametrize("goes_on", [True, False])
def test_whoever_asks_for_a_block_that_is_arriving_waits_for_its_end(goes_on: bool) -> None:
    async def main() -> None:
        app = create_app(MemoryBlockStore(), token=TOKEN, observer=Recorder())
        dripping = Dripping(app)
        dripping.goes_on = goes_on
        arriving = asyncio.create_task(dripping.run())
        async with HttpBlockStore("http://content.test", transport=httpx2.ASGITransport(app)) as store:
            for _ in range(20):
                await asyncio.sleep(0)
            asking = asyncio.create_task(store.missing([BLOCK.cid]))
            for _ in range(50):
                await asyncio.sleep(0)
            assert not asking.done()
            dripping.sent.set()
            assert await asyncio.wait_for(asking, 5) == (frozenset() if goes_on else {BLOCK.cid})
        await asyncio.gather(arriving, return_exceptions=True)
        assert 201 in dripping.statuses or not goes_on

    asyncio.run(main())


def test_a_block_whose_sender_stopped_in_the_middle_is_not_waited_for_long() -> None:
    async def main() -> None:
        store = SettledStore(MemoryBlockStore(), patience_s=0.01)
        with store.arriving(BLOCK.cid), store.arriving(BLOCK.cid):
            assert await asyncio.wait_for(store.missing([BLOCK.cid]), 5) == {BLOCK.cid}
        assert await store.missing([BLOCK.cid]) == {BLOCK.cid}

    asyncio.run(main())
