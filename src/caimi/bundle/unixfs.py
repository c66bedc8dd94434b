"""UnixFS files as trees of blocks: a streaming builder and a verifying reader (spec 15 §2, §3).

Both do no I/O: the builder hands out blocks, the reader asks for CIDs and is fed blocks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from caimi.bundle.buffers import BytesLike, cut
from caimi.bundle.cid import DAG_PB, RAW, cid_of, format_cid
from caimi.bundle.dagpb import MAX_LINKS, FileLink, decode_file_node, encode_file_node
from caimi.bundle.errors import BlockMismatch, BlockTooLarge, DagTooLarge, OutOfOrder, UnaskedBlock, WrongProfile
from caimi.types.records import Cid

__all__ = ["MAX_BLOCK_BYTES", "PROFILE", "Block", "DagReader", "FileRoot", "Profile", "UnixFsBuilder", "verify_block"]

MAX_BLOCK_BYTES: Final = 2 << 20
"""Largest block that is read from anybody, in bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What decides a file's CID besides its bytes (spec 15 §2)."""

    chunk_bytes: int
    """Content bytes of a leaf, 1 <= x <= 2 MiB."""
    links_per_node: int = MAX_LINKS
    """Children of a full node, 2 <= x <= 174."""

    def __str__(self) -> str:
        return (
            f"unixfs-v1 cid-version=1 hash=sha2-256 raw-leaves layout=balanced "
            f"chunker=size-{self.chunk_bytes} max-file-links={self.links_per_node}"
        )

    def height_of(self, content_bytes: int) -> int:
        """Height of the tree over that much content: 0 for a single leaf."""
        height, span = 0, self.chunk_bytes
        while span < content_bytes:
            height, span = height + 1, span * self.links_per_node
        return height

    def child_sizes(self, content_bytes: int, height: int) -> Iterator[int]:
        """Content bytes below each child of a node of `height` >= 1."""
        span = self.chunk_bytes * self.links_per_node ** (height - 1)
        for start in range(0, content_bytes, span):
            yield min(span, content_bytes - start)


PROFILE: Final = Profile(chunk_bytes=1 << 20)
"""The profile of every CID on a ledger: 1 MiB leaves, so that a leaf of a ciphertext is one segment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One block whose hash is that of its CID: made by `verify_block` from foreign bytes, or by `UnixFsBuilder`."""

    cid: Cid
    data: BytesLike
    """At most 2 MiB. From the builder a leaf's data may be a view that is valid only until its next step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRoot:
    """What the builder knows when it is done."""

    cid: Cid
    content_bytes: int
    blocks: int
    """Number of blocks handed out."""
    profile: str
    """Text form of the profile, to be recorded with the CID."""


class UnixFsBuilder:
    """Builds the tree of one file in one pass; memory is one leaf and 174 links per level.

    `blocks` yields every block, children before parents and the root last, so whoever holds the root's block and
    got it in this order holds the whole tree. `root` is set when `blocks` is exhausted. Single use.
    """

    def __init__(self, profile: Profile = PROFILE) -> None:
        self._profile = profile
        self._levels: list[list[FileLink]] = [[]]
        self._count = 0
        self._started = False
        self._root: FileRoot | None = None

    @property
    def root(self) -> FileRoot:
        """The finished tree.

        Raises:
            OutOfOrder: `blocks` has not been exhausted.
        """
        if self._root is None:
            raise OutOfOrder("the tree is not finished")
        return self._root

    def blocks(self, chunks: Iterable[BytesLike]) -> Iterator[Block]:
        """Yield the blocks of the content in `chunks`, which may be cut anywhere.

        Raises:
            OutOfOrder: The builder was used before.
        """
        if self._started:
            raise OutOfOrder("a builder builds one tree")
        self._started = True
        size = self._profile.chunk_bytes
        for piece in cut(chunks, first=size, rest=size):
            cid = cid_of(RAW, piece.data)
            yield self._counted(Block(cid=cid, data=piece.data))
            yield from self._add(0, FileLink(cid=cid, content_bytes=len(piece.data), tree_bytes=len(piece.data)))
        yield from self._finish()

    def _add(self, level: int, link: FileLink) -> Iterator[Block]:
        if level == len(self._levels):
            self._levels.append([])
        self._levels[level].append(link)
        if len(self._levels[level]) == self._profile.links_per_node:
            yield from self._close(level)

    def _close(self, level: int) -> Iterator[Block]:
        links, self._levels[level] = self._levels[level], []
        data = encode_file_node(links)
        cid = cid_of(DAG_PB, data)
        yield self._counted(Block(cid=cid, data=data))
        content = sum(link.content_bytes for link in links)
        tree = len(data) + sum(link.tree_bytes for link in links)
        yield from self._add(level + 1, FileLink(cid=cid, content_bytes=content, tree_bytes=tree))

    def _finish(self) -> Iterator[Block]:
        level = 0
        while True:
            # A lone link with nothing above it is the root; below others it still gets a node of its own.
            if level == len(self._levels) - 1 and len(self._levels[level]) == 1:
                top = self._levels[level][0]
                self._root = FileRoot(
                    cid=top.cid, content_bytes=top.content_bytes, blocks=self._count, profile=str(self._profile)
                )
                return
            if self._levels[level]:
                yield from self._close(level)
            level += 1

    def _counted(self, block: Block) -> Block:
        self._count += 1
        return block


def verify_block(cid: Cid, data: BytesLike) -> Block:
    """Check foreign bytes against the CID that was asked for.

    Raises:
        BlockTooLarge: More than 2 MiB; nothing was hashed.
        BlockMismatch: Another hash.
    """
    if len(data) > MAX_BLOCK_BYTES:
        raise BlockTooLarge(f"block {format_cid(cid)} has {len(data)} bytes, the limit is {MAX_BLOCK_BYTES}")
    if hashlib.sha256(data).digest() != cid.digest:
        raise BlockMismatch(f"the bytes given for block {format_cid(cid)} have another hash")
    return Block(cid=cid, data=data)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Due:
    # A block that is still to come. What its parent and the profile say about it is None for the root.
    cid: Cid
    height: int | None = None
    content_bytes: int | None = None
    tree_bytes: int | None = None


@dataclass(slots=True)
class DagReader:
    """Walks the tree below `root` in content order and returns its content (spec 15 §3).

    Feed the blocks in the order in which `due` names them. Each was checked against its CID by `verify_block`; here its
    shape is compared with the one that the profile gives to the announced size. So depth and number of links are
    bounded by the size, a tree can neither hang nor return to an earlier node, and one content has one CID.
    """

    root: Cid
    max_content_bytes: int = field(kw_only=True)
    """Largest content accepted, in bytes; checked before anything below the root is asked for."""
    profile: Profile = field(default=PROFILE, kw_only=True)
    content_bytes: int | None = field(default=None, init=False)
    """Size of the content: None until the root was fed."""
    _stack: list[_Due] = field(default_factory=list[_Due], init=False)

    def __post_init__(self) -> None:
        self._stack.append(_Due(cid=self.root))

    @property
    def is_done(self) -> bool:
        """True when every block was fed."""
        return not self._stack

    def due(self, count: int = 1) -> tuple[Cid, ...]:
        """The next blocks to feed, in order: at most `count`, fewer when parents must come first, none at the end."""
        return tuple(due.cid for due in reversed(self._stack[-count:]))

    def feed(self, block: Block) -> BytesLike:
        """Take the next block and return the content in it: empty for a node.

        Raises:
            UnaskedBlock: The block is not the first of `due()`.
            MalformedNode, WrongProfile: The publisher made another tree than the profile gives.
            DagTooLarge: More content than `max_content_bytes`.
        After an error the reader stands where it stood.
        """
        if not self._stack or self._stack[-1].cid != block.cid:
            raise UnaskedBlock(f"block {format_cid(block.cid)} is not the one that is due")
        due = self._stack[-1]
        if block.cid.codec == RAW:
            self._check_leaf(due, len(block.data))
            self._stack.pop()
            return block.data
        children = self._children(due, bytes(block.data))
        self._stack.pop()
        self._stack.extend(reversed(children))
        return b""

    def _check_leaf(self, due: _Due, size: int) -> None:
        if due.content_bytes is None:
            self._check_size(size)
            if size > self.profile.chunk_bytes:
                raise WrongProfile(f"a leaf of {size} bytes, the profile's is {self.profile.chunk_bytes}")
            self.content_bytes = size
        elif size != due.content_bytes:
            raise WrongProfile(f"a leaf of {size} bytes where its parent announces {due.content_bytes}")

    def _children(self, due: _Due, block: bytes) -> list[_Due]:
        links = decode_file_node(block)
        content = sum(link.content_bytes for link in links)
        tree = len(block) + sum(link.tree_bytes for link in links)
        if due.height is None:
            self._check_size(content)
            height = self.profile.height_of(content)
        else:
            height = due.height
            if content != due.content_bytes or tree != due.tree_bytes:
                raise WrongProfile(f"node {format_cid(due.cid)} differs from what its parent announces")
        if height == 0 or [k.content_bytes for k in links] != list(self.profile.child_sizes(content, height)):
            raise WrongProfile(f"node {format_cid(due.cid)} is not the one of a balanced tree of {self.profile}")
        codec = RAW if height == 1 else DAG_PB
        for link in links:
            if link.cid.codec != codec or (codec == RAW and link.tree_bytes != link.content_bytes):
                raise WrongProfile(f"link {format_cid(link.cid)} is not what the profile has at this height")
        if due.height is None:
            self.content_bytes = content
        return [
            _Due(cid=k.cid, height=height - 1, content_bytes=k.content_bytes, tree_bytes=k.tree_bytes) for k in links
        ]

    def _check_size(self, size: int) -> None:
        if size > self.max_content_bytes:
            raise DagTooLarge(f"content of {size} bytes, the limit is {self.max_content_bytes}")
