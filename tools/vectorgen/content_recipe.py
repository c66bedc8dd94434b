"""Deterministic contents of any size, made from a seed: vectors name the recipe instead of holding megabytes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

__all__ = ["RECIPE", "content"]

RECIPE = "pieces i = 0, 1, ... of 1048576 bytes, each SHAKE128(UTF-8 seed || u64be i), cut to size"
_PIECE = 1 << 20


def content(seed: str, size: int) -> Iterator[bytes]:
    """The content in pieces of 1 MiB."""
    for index in range(-(-size // _PIECE)):
        length = min(_PIECE, size - index * _PIECE)
        yield hashlib.shake_128(seed.encode() + index.to_bytes(8, "big")).digest(length)
