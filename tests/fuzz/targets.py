"""Every decoder that is searched, by name."""

from __future__ import annotations

from typing import Final

from tests.fuzz.arguments import ARGUMENTS
from tests.fuzz.byte_decoders import BYTE_DECODERS
from tests.fuzz.http_bodies import HTTP_BODIES
from tests.fuzz.planted import PLANTED
from tests.fuzz.target import Target

__all__ = ["TARGETS", "target_of"]

TARGETS: Final[dict[str, Target]] = {**BYTE_DECODERS, "http": HTTP_BODIES, "arguments": ARGUMENTS}
"""The folder of the kept corpus has the same name."""


def target_of(name: str) -> Target:
    """A target, or one with a planted fault."""
    return TARGETS.get(name) or PLANTED[name]
