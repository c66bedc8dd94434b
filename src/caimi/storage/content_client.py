"""Client of the content server: a block store over HTTP (schemas of `caimi.storage.content_server`)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack
from typing import cast

import httpx2

from caimi.bundle.cid import format_cid, parse_cid
from caimi.bundle.errors import CidRefused
from caimi.bundle.unixfs import Block, verify_block
from caimi.ports.content import MAX_CIDS_ASKED, BlockMissing, StoreUnavailable
from caimi.storage.http_blocks import PLAIN, TIMEOUT, answer_body, block_body, raised, refusal_of
from caimi.types.json_text import load_json
from caimi.types.records import Cid

__all__ = ["HttpBlockStore"]


class HttpBlockStore:
    """A content server at `base_url`. Use as an async context manager, or call `close`."""

    def __init__(
        self, base_url: str, *, token: str | None = None, transport: httpx2.AsyncBaseTransport | None = None
    ) -> None:
        """`token` is for `put`, reading needs none; `transport` is for tests."""
        self.name = base_url
        self._authorization = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._handing_over = asyncio.Lock()
        self._client = httpx2.AsyncClient(
            base_url=base_url, headers=PLAIN, timeout=TIMEOUT, transport=transport, trust_env=False
        )

    async def __aenter__(self) -> HttpBlockStore:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def get(self, cid: Cid) -> Block:
        """As `BlockStore.get`."""
        async with raised(self.name), self._client.stream("GET", f"/v1/blocks/{format_cid(cid)}") as response:
            if response.status_code == 404:
                raise BlockMissing(cid, self.name)
            if response.status_code != 200:
                raise StoreUnavailable(f"{self.name} answers {response.status_code}")
            return verify_block(cid, await block_body(response, self.name))

    async def put(self, block: Block) -> None:
        """As `BlockStore.put`. Of several at a time one is being handed over, while the others wait for their answers:
        a process that is killed leaves one block in the middle, and no more are sent again (spec 15 §9)."""
        url, data = f"/v1/blocks/{format_cid(block.cid)}", bytes(block.data)
        headers = {**self._authorization, "Content-Length": str(len(data))}
        async with AsyncExitStack() as turn:
            await turn.enter_async_context(self._handing_over)
            request = self._client.stream("PUT", url, content=_handed_over(data, turn), headers=headers)
            async with raised(self.name), request as response:
                await answer_body(response, self.name)
        if response.status_code not in (200, 201):
            raise refusal_of(response.status_code, self.name)

    async def missing(self, cids: Sequence[Cid]) -> frozenset[Cid]:
        """As `BlockStore.missing`; longer lists are asked in parts."""
        found: set[Cid] = set()
        for start in range(0, len(cids), MAX_CIDS_ASKED):
            found |= await self._missing(cids[start : start + MAX_CIDS_ASKED])
        return frozenset(found)

    async def has(self, cid: Cid) -> bool:
        """As `BlockStore.has`."""
        async with raised(self.name), self._client.stream("HEAD", f"/v1/blocks/{format_cid(cid)}") as response:
            await answer_body(response, self.name)
        if response.status_code not in (200, 404):
            raise StoreUnavailable(f"{self.name} answers {response.status_code}")
        return response.status_code == 200

    async def _missing(self, cids: Sequence[Cid]) -> frozenset[Cid]:
        question = {"cids": [format_cid(cid) for cid in cids]}
        async with raised(self.name), self._client.stream("POST", "/v1/blocks/missing", json=question) as response:
            if response.status_code != 200:
                raise refusal_of(response.status_code, self.name)
            body = await answer_body(response, self.name)
        answer = frozenset(_parse_cids(body, self.name))
        if not answer <= frozenset(cids):
            raise StoreUnavailable(f"{self.name} names blocks that were not asked for")
        return answer


async def _handed_over(data: bytes, turn: AsyncExitStack) -> AsyncGenerator[bytes]:
    yield data
    # The operating system has all of it, and delivers it whatever becomes of this process.
    await turn.aclose()


def _parse_cids(body: bytes, source: str) -> list[Cid]:
    try:
        document = cast(object, load_json(body))
        items = cast("dict[str, object]", document)["missing"] if isinstance(document, dict) else None
        if not isinstance(items, list):
            raise StoreUnavailable(f"{source} gives another answer than agreed")
        return [parse_cid(str(item)) for item in cast("list[object]", items)]
    except (ValueError, KeyError, RecursionError, CidRefused) as error:
        raise StoreUnavailable(f"{source} gives another answer than agreed") from error
