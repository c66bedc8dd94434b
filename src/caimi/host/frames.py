"""What host and runner say to each other over one socket: kind u8, length u64, payload.

Tensors are sent in the order of the model's signature, which both sides know: for each its rank u8 and dimensions u32,
then for each its elements. Each part begins at a multiple of 64 bytes, so that arrays can lie where they arrived.
"""

from __future__ import annotations

import dataclasses
import json
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final, Protocol, cast

from caimi.bundle.buffers import BytesLike
from caimi.bundle.manifest import Manifest, Role
from caimi.bundle.signature import MAX_RANK, TensorSpec
from caimi.bundle.tensors import Tensor, item_bytes
from caimi.types.json_text import load_json

__all__ = [
    "HEADER",
    "Frame",
    "Readable",
    "RunnerLimits",
    "loaded_paths",
    "pack_header",
    "pack_tensors",
    "read_failure",
    "unpack_header",
    "unpack_tensors",
]

HEADER: Final = struct.Struct(">BQ")
_ALIGNMENT: Final = 64


class Frame(IntEnum):
    """Kinds of frames."""

    LOAD = 1
    """To the runner: length of the manifest u32, manifest, the files of `loaded_paths` one after the other."""
    RUN = 2
    """To the runner: the inputs, as `pack_tensors` gives them."""
    LOADED = 3
    """From the runner: one byte, 1 if the model keeps rows apart, else 0."""
    RESULT = 4
    """From the runner: the outputs, likewise."""
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
    """Of the model and its data files together."""
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


def loaded_paths(manifest: Manifest) -> tuple[str, ...]:
    """The files that a runner gets, in order: the model and its data files."""
    wanted = (Role.MODEL, Role.EXTERNAL_DATA)
    return tuple(file.path for file in manifest.files if file.role in wanted)


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


def pack_tensors(specs: Sequence[TensorSpec], tensors: Mapping[str, Tensor]) -> list[BytesLike]:
    """One payload in parts, which may be sent one after the other without being joined."""
    head = bytearray()
    for spec in specs:
        shape = tensors[spec.name].shape
        head += struct.pack(f">B{len(shape)}I", len(shape), *shape)
    parts: list[BytesLike] = [head, bytes(-len(head) % _ALIGNMENT)]
    for spec in specs:
        data = tensors[spec.name].data
        parts += [data, bytes(-len(data) % _ALIGNMENT)]
    return parts


def unpack_tensors(specs: Sequence[TensorSpec], payload: BytesLike) -> dict[str, Tensor]:
    """Inverse of `pack_tensors`; the tensors are views of `payload`.

    Raises:
        ValueError: It is no such payload, to the byte.
    """
    view, shapes, at = memoryview(payload).cast("B"), list[tuple[int, ...]](), 0
    try:
        for _ in specs:
            rank = view[at]
            if rank > MAX_RANK:
                raise ValueError(f"rank {rank}")
            shapes.append(struct.unpack_from(f">{rank}I", view, at + 1))
            at += 1 + 4 * rank
    except (IndexError, struct.error) as error:
        raise ValueError("it ends inside its shapes") from error
    tensors: dict[str, Tensor] = {}
    for spec, shape in zip(specs, shapes, strict=True):
        at += -at % _ALIGNMENT
        length = math.prod(shape) * item_bytes(spec.dtype)
        if length > len(view) - at:
            raise ValueError("it ends inside its elements")
        tensors[spec.name] = Tensor(dtype=spec.dtype, shape=shape, data=view[at : at + length])
        at += length
    if at + -at % _ALIGNMENT != len(view):
        raise ValueError("bytes behind the last tensor")
    return tensors


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
