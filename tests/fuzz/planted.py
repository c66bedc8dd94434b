"""Decoders with a fault each: what a search must not come back clean from."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from tests.fuzz.mutation import change_words
from tests.fuzz.target import Check, Target, same_bytes

__all__ = ["PLANTED"]

_ENOUGH: Final = 1 << 30


def _unclassed(data: bytes) -> None:
    if data[:1] == b"\x01":
        raise IndexError("no refusal of ours")


def _two_encodings(data: bytes) -> None:
    same_bytes(data.rstrip(b"\0"), data)


def _greedy(data: bytes) -> None:
    if len(data) > 40:
        bytearray(_ENOUGH)


def _slow(data: bytes) -> None:
    began = time.process_time()
    while len(data) > 40 and time.process_time() < began + 2.5:
        pass


def _check(work: Callable[[bytes], None]) -> Check:
    def check(data: bytes) -> str:
        work(data)
        return "accepted"

    return check


def _seeds() -> Sequence[bytes]:
    return (b"\xff" * 32,)


PLANTED: Final[dict[str, Target]] = {
    "planted-" + name: Target(prepare=partial(_check, work), seeds=_seeds, mutation=change_words, longest=128)
    for name, work in (
        ("unclassed", _unclassed),
        ("two-encodings", _two_encodings),
        ("greedy", _greedy),
        ("slow", _slow),
    )
}
"""By the name that a campaign takes; none of them is among the targets."""
