"""What host and runner say to each other over one socket: kind u8, length u64, payload."""

from __future__ import annotations

import dataclasses
import json
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final, Protocol, cast

from caimi.types.json_text import load_json

__all__ = ["HEADER", "Frame", "Readable", "RunnerLimits", "pack_header", "read_failure", "unpack_header"]

HEADER: Final = struct.Struct(">BQ")


class Frame(IntEnum):
    """Kinds of frames."""

    LOAD = 1
    """To the runner: length of the manifest u32, manifest, model."""
    RUN = 2
    """To the runner: safetensors bytes."""
    LOADED = 3
    """From the runner: nothing."""
    RESULT = 4
    """From the runner: safetensors bytes."""
    FAILURE = 5
    """From the runner: JSON {"error": name of a class, "text": at most 500 characters}."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerLimits:
    """What a runner may use. The operating system holds it to these."""

    memory_bytes: int = 4 << 30
    """Address space: several times the model, since the runtime prepares weights."""
    load_cpu_s: int = 120
    run_cpu_s: int = 60
    """Seconds of processor time for one call."""
    load_wait_s: int = 480
    run_wait_s: int = 240
    """Seconds until its host gives up on it, for one that waits for something."""
    threads: int = 2
    files: int = 64
    """Open files; none of them can be written."""
    max_model_bytes: int = 1 << 30
    max_input_bytes: int = 64 << 20
    max_output_bytes: int = 64 << 20

    def to_json(self) -> str:
        """For the runner's command line."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> RunnerLimits:
        """Inverse of `to_json`. Raises TypeError or ValueError for anything else."""
        return cls(**load_json(text))


class Readable(Protocol):
    """Something to read whole frames from."""

    def recv_into(self, buffer: memoryview, /) -> int:
        """Bytes read, 0 at the end."""
        ...


def pack_header(kind: Frame, length: int) -> bytes:
    """The 9 bytes before a payload."""
    return HEADER.pack(kind, length)


def unpack_header(header: bytes | bytearray, limits: dict[Frame, int]) -> tuple[Frame, int]:
    """Kind and length of what follows.

    Raises:
        ValueError: No kind that `limits` has, or longer than it says.
    """
    kind, length = HEADER.unpack(header)
    if kind not in limits or length > limits[Frame(kind)]:
        raise ValueError(f"frame {kind} of {length} bytes")
    return Frame(kind), length


def read_failure(payload: bytes | bytearray) -> tuple[str, str]:
    """Name and text of a FAILURE.

    Raises:
        ValueError: It is none.
    """
    value: Any = load_json(bytes(payload))
    if not isinstance(value, dict):
        raise ValueError("no object")
    entry = cast("dict[str, Any]", value)
    name, text = entry.get("error"), entry.get("text")
    if not isinstance(name, str) or not isinstance(text, str):
        raise ValueError("no error")
    return name, text
