"""Where ciphertexts and sealed inputs and outputs lie: blocks named by their hash, and whole contents (spec 15 §9).

* ContentError
  + BlockMissing: this source does not hold the block
  + StoreFull: no room; nothing was kept
  + StoreUnavailable: the source does not answer, or not as agreed
  + StoreRefused: the source does not let us
  + AllSourcesFailed: no source gave a usable block; says what each one did
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from caimi.bundle.buffers import BytesLike
from caimi.bundle.cid import format_cid
from caimi.bundle.unixfs import Block, FileRoot
from caimi.types.failure import Blame, CaimiError, Certainty, Retry
from caimi.types.records import Cid

__all__ = [
    "MAX_CIDS_ASKED",
    "AllSourcesFailed",
    "BlockMissing",
    "BlockSource",
    "BlockStore",
    "ContentError",
    "ContentStore",
    "ContentStream",
    "SourceFailure",
    "StoreFull",
    "StoreRefused",
    "StoreUnavailable",
    "UploadProgress",
]

MAX_CIDS_ASKED: Final = 1024
"""Most CIDs in one question to `BlockStore.missing`."""


class ContentError(CaimiError):
    """Root: a content store could not do what was asked. Wrong bytes are `caimi.bundle.errors.BlockRefused`."""

    blame = Blame.NODE
    retry = Retry.AFTER


class BlockMissing(ContentError):
    """The source does not hold the block."""

    certainty = Certainty.PROVEN
    hint = "ask another source, or upload the content again: only missing blocks are sent"

    def __init__(self, cid: Cid, source: str) -> None:
        super().__init__(f"{source} has no block {format_cid(cid)}")
        self.cid = cid
        self.source = source


class StoreFull(ContentError):
    """The store has no room. What was being written is gone, all earlier blocks are whole."""

    blame = Blame.OPERATOR
    certainty = Certainty.PROVEN
    hint = "free disk space at the store, then repeat the upload: it continues where it stopped"


class StoreUnavailable(ContentError):
    """The store does not answer, or not as agreed. Whether a put happened is unknown; repeating it is harmless."""

    retry = Retry.SAFE
    hint = "check that the store runs at that address, then repeat: uploads continue where they stopped"


class StoreRefused(ContentError):
    """The store does not let us: no token, a wrong one, or it is read-only."""

    blame = Blame.CALLER
    certainty = Certainty.PROVEN
    retry = Retry.NEVER
    hint = "use the token from the state folder, or another store"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFailure:
    """What one source did when it was asked for one block."""

    source: str
    """Its name."""
    cid: Cid
    error: CaimiError


class AllSourcesFailed(ContentError):
    """No source gave a block that matches its CID. `failures` has one entry per source, in the order asked."""

    hint = "start or add a source that holds the content; see the failures for who is to blame"

    def __init__(self, cid: Cid, failures: Sequence[SourceFailure]) -> None:
        told = "; ".join(f"{f.source}: {type(f.error).__name__}" for f in failures) or "no source is left"
        super().__init__(f"block {format_cid(cid)}: {told}")
        self.cid = cid
        self.failures = tuple(failures)


class BlockSource(Protocol):
    """Something that may give blocks."""

    @property
    def name(self) -> str:
        """For people: address or folder. Contains no secret."""
        ...

    async def get(self, cid: Cid) -> Block:
        """The block, checked against its CID.

        Raises:
            BlockMissing, StoreUnavailable: It did not give the block.
            BlockMismatch, BlockTooLarge: It gave other bytes.
        """
        ...


class BlockStore(BlockSource, Protocol):
    """A source that also takes blocks."""

    async def put(self, block: Block) -> None:
        """Keep the block durably; putting it again does nothing. On any error nothing of it is visible.

        Raises:
            StoreFull, StoreUnavailable, StoreRefused.
        """
        ...

    async def missing(self, cids: Sequence[Cid]) -> frozenset[Cid]:
        """Those of at most 1024 CIDs that the store does not hold.

        Raises:
            StoreUnavailable.
        """
        ...

    async def has(self, cid: Cid) -> bool:
        """Whether the store holds the block. Raises StoreUnavailable."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadProgress:
    """How far an upload is."""

    blocks: int
    """Blocks dealt with."""
    sent_blocks: int
    """Of these, those that the store lacked."""
    content_bytes: int
    """Bytes of content dealt with."""


class ContentStream(Protocol):
    """One content being read, verified, in order."""

    @property
    def content_bytes(self) -> int:
        """Its size, known before the first piece."""
        ...

    @property
    def failures(self) -> Sequence[SourceFailure]:
        """What sources did wrong so far, though another one helped."""
        ...

    def __aiter__(self) -> AsyncIterator[BytesLike]:
        """Its leaves: 1 MiB each, the last one shorter. Single use.

        Raises:
            AllSourcesFailed: No source gave a usable block.
            MalformedNode, WrongProfile: The publisher made a wrong tree.
        """
        ...


class ContentStore(Protocol):
    """Whole contents over one or more block stores."""

    async def upload(
        self, chunks: Iterable[BytesLike], *, progress: Callable[[UploadProgress], None] | None = None
    ) -> FileRoot:
        """Store a content cut anywhere; blocks that are there already are not sent. The root comes last, so an
        interrupted upload leaves no content that looks whole.

        Raises:
            StoreFull, StoreUnavailable, StoreRefused: Repeat the call with the same bytes to continue.
        """
        ...

    async def open(self, root: Cid, *, max_content_bytes: int) -> ContentStream:
        """Fetch the root and prepare to read.

        Raises:
            AllSourcesFailed, MalformedNode, WrongProfile.
            DagTooLarge: More than `max_content_bytes`.
        """
        ...
