"""Kubo as a block store through its HTTP RPC, and any trustless IPFS gateway as a block source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, cast

import httpx2

from caimi.bundle.cid import RAW, format_cid
from caimi.bundle.unixfs import Block, verify_block
from caimi.ports.content import BlockMissing, StoreUnavailable
from caimi.storage.http_blocks import PLAIN, TIMEOUT, answer_body, block_body, raised
from caimi.types.json_text import load_json
from caimi.types.records import Cid

__all__ = ["GatewayBlockSource", "KuboBlockStore"]

_NOT_FOUND: Final = ("not found", "could not find")


class KuboBlockStore:
    """The RPC endpoint of a Kubo node (`Addresses.API`), e.g. http://127.0.0.1:5001."""

    def __init__(self, rpc_url: str, *, transport: httpx2.AsyncBaseTransport | None = None) -> None:
        self.name = f"kubo {rpc_url}"
        self._client = httpx2.AsyncClient(
            base_url=rpc_url, headers=PLAIN, timeout=TIMEOUT, transport=transport, trust_env=False
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def get(self, cid: Cid) -> Block:
        """As `BlockStore.get`; only what the node holds itself."""
        params = {"arg": format_cid(cid), "offline": "true"}
        async with raised(self.name), self._client.stream("POST", "/api/v0/block/get", params=params) as response:
            body = await block_body(response, self.name)
        if response.status_code != 200:
            raise self._failure(cid, response.status_code, body)
        return verify_block(cid, body)

    async def put(self, block: Block) -> None:
        """As `BlockStore.put`. The node pins nothing: call `pin` with the root when all blocks are there."""
        codec = "raw" if block.cid.codec == RAW else "dag-pb"
        params = {"cid-codec": codec, "mhtype": "sha2-256", "allow-big-block": "true", "pin": "false"}
        files = {"data": ("block", bytes(block.data), "application/octet-stream")}
        answer = await self._call("block/put", params, files=files)
        if answer.get("Key") != format_cid(block.cid):
            raise StoreUnavailable(f"{self.name} stored {answer.get('Key')} for {format_cid(block.cid)}")

    async def missing(self, cids: Sequence[Cid]) -> frozenset[Cid]:
        """As `BlockStore.missing`: one question per block."""
        return frozenset([cid for cid in cids if not await self.has(cid)])

    async def has(self, cid: Cid) -> bool:
        """As `BlockStore.has`."""
        try:
            await self._call("block/stat", {"arg": format_cid(cid), "offline": "true"}, cid=cid)
        except BlockMissing:
            return False
        return True

    async def pin(self, root: Cid) -> None:
        """Keep the whole tree below `root` from the node's garbage collection.

        Raises:
            BlockMissing: The tree is not complete there.
            StoreUnavailable.
        """
        await self._call("pin/add", {"arg": format_cid(root), "recursive": "true", "offline": "true"}, cid=root)

    async def _call(
        self,
        command: str,
        params: dict[str, str],
        *,
        cid: Cid | None = None,
        files: dict[str, tuple[str, bytes, str]] | None = None,
    ) -> dict[str, object]:
        url = f"/api/v0/{command}"
        async with raised(self.name), self._client.stream("POST", url, params=params, files=files) as response:
            body = await answer_body(response, self.name)
        if response.status_code != 200:
            raise self._failure(cid, response.status_code, body)
        return self._parse(body)

    def _failure(self, cid: Cid | None, status: int, body: bytes) -> BlockMissing | StoreUnavailable:
        message = str(self._parse(body).get("Message", "")) if status == 500 else ""
        if cid is not None and any(words in message for words in _NOT_FOUND):
            return BlockMissing(cid, self.name)
        return StoreUnavailable(f"{self.name} answers {status}: {message[:200]}")

    def _parse(self, body: bytes) -> dict[str, object]:
        try:
            document = cast(object, load_json(body))
        except (ValueError, RecursionError) as error:
            raise StoreUnavailable(f"{self.name} gives another answer than agreed") from error
        if not isinstance(document, dict):
            raise StoreUnavailable(f"{self.name} gives another answer than agreed")
        return cast("dict[str, object]", document)


class GatewayBlockSource:
    """A trustless gateway: raw blocks by `GET /ipfs/<cid>?format=raw`."""

    def __init__(self, gateway_url: str, *, transport: httpx2.AsyncBaseTransport | None = None) -> None:
        self.name = f"gateway {gateway_url}"
        headers = PLAIN | {"Accept": "application/vnd.ipld.raw"}
        self._client = httpx2.AsyncClient(
            base_url=gateway_url, headers=headers, timeout=TIMEOUT, transport=transport, trust_env=False
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def get(self, cid: Cid) -> Block:
        """As `BlockSource.get`."""
        url = f"/ipfs/{format_cid(cid)}"
        async with raised(self.name), self._client.stream("GET", url, params={"format": "raw"}) as response:
            if response.status_code in (404, 410):
                raise BlockMissing(cid, self.name)
            if response.status_code != 200:
                raise StoreUnavailable(f"{self.name} answers {response.status_code}")
            return verify_block(cid, await block_body(response, self.name))
