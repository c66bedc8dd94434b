"""The folder of blocks when the disk is full, files rot, or the process was killed. The contract is in conformance."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from caimi.bundle.cid import RAW, cid_of, format_cid
from caimi.bundle.errors import BlockMismatch, BlockTooLarge
from caimi.bundle.unixfs import MAX_BLOCK_BYTES, Block
from caimi.ports.content import BlockMissing, ContentError, StoreFull, StoreUnavailable
from caimi.storage.content import FolderBlockStore
from caimi.types.failure import Blame, Retry

BLOCK = Block(cid=cid_of(RAW, b"content"), data=b"content")
OTHER = Block(cid=cid_of(RAW, b"other"), data=b"other")


def files_in(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def path_of(folder: Path, block: Block) -> Path:
    return folder / "blocks" / f"{block.cid.digest[0]:02x}" / format_cid(block.cid)


def failing(code: int, *, at: int = 1) -> Callable[..., Any]:
    calls = [0]

    def fail(*_: Any, **__: Any) -> Any:
        calls[0] += 1
        if calls[0] >= at:
            raise OSError(code, os.strerror(code))

    return fail


@pytest.mark.parametrize("step", ["fsync", "replace", "fdopen"])
@pytest.mark.parametrize(
    ("code", "error", "blame"),
    [
        (errno.ENOSPC, StoreFull, Blame.OPERATOR),
        (errno.EDQUOT, StoreFull, Blame.OPERATOR),
        (errno.EIO, StoreUnavailable, Blame.NODE),
    ],
)
def test_rejects_a_put_that_fails_at_any_step_and_keeps_nothing_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, code: int, error: type[ContentError], blame: Blame
) -> None:
    store = FolderBlockStore(tmp_path)
    asyncio.run(store.put(OTHER))
    before = files_in(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, step, failing(code))
        with pytest.raises(error) as caught:
            asyncio.run(store.put(BLOCK))
    assert (type(caught.value), caught.value.blame) == (error, blame)
    assert files_in(tmp_path) == before
    assert not asyncio.run(store.has(BLOCK.cid))
    asyncio.run(store.put(BLOCK))  # and the store goes on when the cause is gone
    assert bytes(asyncio.run(store.get(BLOCK.cid)).data) == b"content"


def test_a_full_disk_is_repeatable_after_room_was_made() -> None:
    assert StoreFull.retry is Retry.AFTER
    assert "free disk space" in StoreFull.hint


def test_what_a_killed_process_left_is_removed_at_the_next_start(tmp_path: Path) -> None:
    FolderBlockStore(tmp_path)
    (tmp_path / "partial" / "half").write_bytes(b"cont")
    store = FolderBlockStore(tmp_path)
    assert files_in(tmp_path) == []
    assert not asyncio.run(store.has(BLOCK.cid))


def test_a_restart_keeps_blocks(tmp_path: Path) -> None:
    asyncio.run(FolderBlockStore(tmp_path).put(BLOCK))
    assert bytes(asyncio.run(FolderBlockStore(tmp_path).get(BLOCK.cid)).data) == b"content"


@pytest.mark.parametrize(
    ("rotten", "error"),
    [(b"contenT", BlockMismatch), (b"conten", BlockMismatch), (b"", BlockMismatch), (b"c" * (3 << 20), BlockTooLarge)],
)
def test_rejects_a_file_that_rotted_and_lets_it_be_put_again(
    tmp_path: Path, rotten: bytes, error: type[Exception]
) -> None:
    store = FolderBlockStore(tmp_path)
    asyncio.run(store.put(BLOCK))
    path_of(tmp_path, BLOCK).write_bytes(rotten)
    with pytest.raises(error):
        asyncio.run(store.get(BLOCK.cid))
    with pytest.raises(BlockMissing):
        asyncio.run(store.get(BLOCK.cid))
    asyncio.run(store.put(BLOCK))
    assert bytes(asyncio.run(store.get(BLOCK.cid)).data) == b"content"


def test_a_block_is_durable_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, steps = FolderBlockStore(tmp_path), list[str]()
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (steps.append("sync"), fsync(handle))[1])  # type: ignore[misc]
    monkeypatch.setattr(os, "replace", lambda a, b: (steps.append("rename"), replace(a, b))[1])  # type: ignore[misc]
    asyncio.run(store.put(BLOCK))
    assert steps == ["sync", "sync", "rename", "sync"]  # file, new folder, rename, folder


def test_rejects_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreUnavailable):
        FolderBlockStore(tmp_path / "file")


def test_the_check_for_health_sees_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FolderBlockStore(tmp_path)
    store.check_writable()
    assert files_in(tmp_path) == []
    monkeypatch.setattr("tempfile.NamedTemporaryFile", failing(errno.ENOSPC))
    with pytest.raises(StoreFull):
        store.check_writable()


def test_unreadable_blocks_are_the_stores_fault(tmp_path: Path) -> None:
    store = FolderBlockStore(tmp_path)
    path_of(tmp_path, BLOCK).mkdir(parents=True)
    with pytest.raises(StoreUnavailable):
        asyncio.run(store.get(BLOCK.cid))


def test_the_largest_block_is_kept(tmp_path: Path) -> None:
    data = bytes(MAX_BLOCK_BYTES)
    block = Block(cid=cid_of(RAW, data), data=data)
    store = FolderBlockStore(tmp_path)
    asyncio.run(store.put(block))
    assert asyncio.run(store.get(block.cid)).data == data
