"""The embedded content store: one folder, one file per block."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from caimi.bundle.cid import format_cid
from caimi.bundle.errors import BlockRefused
from caimi.bundle.unixfs import MAX_BLOCK_BYTES, Block, verify_block
from caimi.ports.content import BlockMissing, StoreFull, StoreUnavailable
from caimi.types.records import Cid

__all__ = ["FolderBlockStore"]

_PARTIAL: Final = "partial"
_BLOCKS: Final = "blocks"
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class FolderBlockStore:
    """Blocks in `folder`/blocks/<first byte of the hash>/<CID>, one process at a time.

    A block is written beside, made durable and renamed into place, so a file that has a block's name is whole. What a
    killed process left half-written lies in `folder`/partial and is removed at the next start.
    """

    def __init__(self, folder: Path) -> None:
        """Open or create the store.

        Raises:
            StoreUnavailable: The folder cannot be made or written.
        """
        self.name = f"folder {folder}"
        self._blocks = folder / _BLOCKS
        self._partial = folder / _PARTIAL
        try:
            self._blocks.mkdir(parents=True, exist_ok=True)
            self._partial.mkdir(exist_ok=True)
            for left in self._partial.iterdir():
                left.unlink()
        except OSError as error:
            raise StoreUnavailable(f"{self.name}: {error.strerror}") from error

    async def get(self, cid: Cid) -> Block:
        """As `BlockStore.get`. A file that rotted is removed, so that the block can be put again."""
        return await asyncio.to_thread(self._get, cid)

    async def put(self, block: Block) -> None:
        """As `BlockStore.put`."""
        await asyncio.to_thread(self._put, block)

    async def missing(self, cids: Sequence[Cid]) -> frozenset[Cid]:
        """As `BlockStore.missing`."""
        return await asyncio.to_thread(lambda: frozenset(cid for cid in cids if not self._path(cid).is_file()))

    async def has(self, cid: Cid) -> bool:
        """As `BlockStore.has`."""
        return not await self.missing([cid])

    def check_writable(self) -> None:
        """Write and remove an empty file.

        Raises:
            StoreFull, StoreUnavailable: The store takes no blocks at present.
        """
        try:
            with tempfile.NamedTemporaryFile(dir=self._partial):
                pass
        except OSError as error:
            raise self._failure(error) from error

    def _path(self, cid: Cid) -> Path:
        return self._blocks / f"{cid.digest[0]:02x}" / format_cid(cid)

    def _get(self, cid: Cid) -> Block:
        path = self._path(cid)
        try:
            with path.open("rb") as file:
                data = file.read(MAX_BLOCK_BYTES + 1)
        except FileNotFoundError:
            raise BlockMissing(cid, self.name) from None
        except OSError as error:
            raise StoreUnavailable(f"{self.name}: {error.strerror}") from error
        try:
            return verify_block(cid, data)
        except BlockRefused:
            with contextlib.suppress(OSError):
                path.unlink()
            raise

    def _put(self, block: Block) -> None:
        path = self._path(block.cid)
        if path.is_file():
            return
        partial: str | None = None
        try:
            handle, partial = tempfile.mkstemp(dir=self._partial)
            with os.fdopen(handle, "wb") as file:
                file.write(block.data)
                file.flush()
                os.fsync(file.fileno())
            if not path.parent.is_dir():
                path.parent.mkdir(exist_ok=True)
                _sync_folder(self._blocks)
            os.replace(partial, path)
            partial = None
            _sync_folder(path.parent)
        except OSError as error:
            raise self._failure(error) from error
        finally:
            if partial is not None:
                with contextlib.suppress(OSError):
                    os.unlink(partial)

    def _failure(self, error: OSError) -> StoreFull | StoreUnavailable:
        kind = StoreFull if error.errno in _NO_ROOM else StoreUnavailable
        return kind(f"{self.name}: {error.strerror}")


def _sync_folder(folder: Path) -> None:
    # Makes a rename or a new folder durable.
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
