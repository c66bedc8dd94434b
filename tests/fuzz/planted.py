"""Decoders with a fault each: what a search must not come back clean from."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from tests.fuzz.mutation import change_words
from tests.fuzz.target import Check, Target, same_bytes

__all__ = ["PLANTED"]

_ENOUGH: Final = 1 << 30
_LATE: Final = 10_000


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


def _endless(data: bytes) -> None:
    while len(data) > 40:
        pass


def _deep(data: bytes) -> None:
    # By chance alone nobody comes here: each step has to be kept until the next one is found.
    for at, number in enumerate((1, 31, 64)):
        if data[32 * at : 32 * at + 32] != number.to_bytes(32, "big"):
            return
    raise IndexError("behind three branches")


def _deep_check() -> Check:
    # Of our own code the search watches the package only.
    atheris: Any = importlib.import_module("atheris")
    return _check(atheris.instrument_func(_deep))


def _late_check() -> Check:
    # It fails after many cases, as what keeps something of each of them would.
    seen = 0

    def late(_data: bytes) -> None:
        nonlocal seen
        seen += 1
        if seen > _LATE:
            raise IndexError("full")

    return _check(late)


def _check(work: Callable[[bytes], None]) -> Check:
    def check(data: bytes) -> str:
        work(data)
        return "accepted"

    return check


def _seeds() -> Sequence[bytes]:
    return (b"\xff" * 32,)


PLANTED: Final[dict[str, Target]] = {
    "planted-" + name: Target(prepare=prepare, seeds=_seeds, mutation=change_words, longest=128)
    for name, prepare in (
        ("unclassed", partial(_check, _unclassed)),
        ("two-encodings", partial(_check, _two_encodings)),
        ("greedy", partial(_check, _greedy)),
        ("slow", partial(_check, _slow)),
        ("endless", partial(_check, _endless)),
        ("deep", _deep_check),
        ("late", _late_check),
    )
}
"""By the name that a campaign takes; none of them is among the targets."""
