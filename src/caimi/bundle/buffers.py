"""Byte buffers: their type, and cutting a stream into pieces of exact size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

__all__ = ["BytesLike", "Piece", "cut", "overwrite"]

BytesLike: TypeAlias = bytes | bytearray | memoryview
"""Contiguous bytes. A memoryview must have item size 1."""

_ZEROES: Final = bytes(1 << 20)


def overwrite(buffer: bytearray) -> None:
    """Fill a buffer with zeroes, whoever else looks at it. Takes no memory."""
    view, zeroes = memoryview(buffer), memoryview(_ZEROES)
    for at in range(0, len(view), len(zeroes)):
        end = min(at + len(zeroes), len(view))
        view[at:end] = zeroes[: end - at]


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One piece of a stream."""

    data: memoryview
    """Valid until the next piece is asked for."""
    is_last: bool
    """True for the final piece, which may be shorter than its size and is empty only in an empty stream."""


def cut(chunks: Iterable[BytesLike], *, first: int, rest: int) -> Iterator[Piece]:
    """Cut a stream of chunks of any size into pieces of `first` and then `rest` bytes (each >= 1).

    At least one piece is yielded. Memory is one piece; whole pieces inside a large chunk are not copied.
    """
    buffer = bytearray(max(first, rest))
    view = memoryview(buffer)
    size, filled = first, 0
    for chunk in chunks:
        source = memoryview(chunk).cast("B") if not isinstance(chunk, memoryview) else chunk
        position = 0
        while position < len(source):
            if filled == size:
                yield Piece(data=view[:size], is_last=False)
                size, filled = rest, 0
            # A whole piece that something follows can be passed on where it lies.
            if filled == 0 and len(source) - position > size:
                yield Piece(data=source[position : position + size], is_last=False)
                position += size
                size = rest
                continue
            taken = min(size - filled, len(source) - position)
            view[filled : filled + taken] = source[position : position + taken]
            filled += taken
            position += taken
    yield Piece(data=view[:filled], is_last=True)
