"""What is searched: a decoder, what it may refuse with, and where inputs come from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from tests.fuzz.mutation import Mutation

__all__ = ["Check", "Target", "refusal_of", "same_bytes"]

Check: TypeAlias = Callable[[bytes], str]
"""Decodes one input. Gives "accepted" or the name of the refusal's class; whatever it raises is a fault of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One decoder."""

    prepare: Callable[[], Check]
    """Imports what it needs only when called: the search has to see the modules being imported. Called again, it may
    end what the check before worked on."""
    seeds: Callable[[], Sequence[bytes]]
    """Inputs to begin with, from the vectors."""
    mutation: Mutation
    longest: int
    """Bytes of the longest input."""
    renew_every: int = 0
    """Cases after which the search prepares anew, because what was accepted is kept; 0: never."""


def refusal_of(work: Callable[[], None], refusals: tuple[type[Exception], ...]) -> str:
    """Do it; the name of the refusal, "accepted" if there was none. Another error goes through."""
    try:
        work()
    except refusals as refusal:
        return type(refusal).__name__
    return "accepted"


def same_bytes(encoded: bytes, data: bytes) -> None:
    """What was decoded has one encoding, and that was it."""
    if encoded != data:
        raise AssertionError(f"accepted, but it encodes to {encoded.hex()}")
