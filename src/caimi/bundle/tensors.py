"""Named tensors as safetensors bytes, and whether a model takes them (spec 60 §4).

* BundleError
  + TensorsRefused
    - MalformedTensors: not the encoding, or an element type that is not served
    - TensorsTooLarge: beyond a limit
    - WrongTensorNames, WrongElementType, WrongShape: not what the model's signature says
    - NotFinite: NaN or an infinity in an input
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

import numpy as np
import safetensors
from safetensors import SafetensorError
from safetensors.numpy import save

from caimi.bundle.errors import BundleError
from caimi.bundle.signature import MAX_DIMENSION, MAX_RANK, MAX_TENSORS, DType, TensorSpec
from caimi.types.failure import Blame

__all__ = [
    "MAX_HEADER_BYTES",
    "MalformedTensors",
    "NotFinite",
    "Tensor",
    "TensorsRefused",
    "TensorsTooLarge",
    "WrongElementType",
    "WrongShape",
    "WrongTensorNames",
    "check_finite",
    "item_bytes",
    "check_tensors",
    "decode_tensors",
    "encode_tensors",
]

MAX_HEADER_BYTES: Final = 1 << 18
"""Largest JSON header that is read."""
_LENGTH: Final = 8
_NAMES: Final[dict[str, DType]] = {
    "F16": DType.FLOAT16,
    "BF16": DType.BFLOAT16,
    "F32": DType.FLOAT32,
    "F64": DType.FLOAT64,
    "I8": DType.INT8,
    "I16": DType.INT16,
    "I32": DType.INT32,
    "I64": DType.INT64,
    "U8": DType.UINT8,
    "U16": DType.UINT16,
    "U32": DType.UINT32,
    "U64": DType.UINT64,
    "BOOL": DType.BOOL,
}
_NUMPY: Final[dict[DType, str]] = {
    **{dtype: dtype.value for dtype in DType if dtype is not DType.BFLOAT16},
    # numpy has no such type: the same 16 bits.
    DType.BFLOAT16: "uint16",
}
_ITEM_BYTES: Final[dict[DType, int]] = {dtype: np.dtype(name).itemsize for dtype, name in _NUMPY.items()}
# The library gives no types for this function of its.
_deserialize: Final = cast(Callable[[bytes], list[tuple[str, dict[str, Any]]]], getattr(safetensors, "deserialize"))  # noqa: B009
_FLOATS: Final = frozenset({DType.FLOAT16, DType.FLOAT32, DType.FLOAT64})
_BFLOAT16_EXPONENT: Final = 0x7F80


class TensorsRefused(BundleError):
    """Root: the tensors are not what the model takes."""

    blame = Blame.CALLER
    hint = "compare names, element types and shapes with the model's signature"


class MalformedTensors(TensorsRefused):
    """Not safetensors, or with an element type that is not served."""

    hint = "encode the tensors with safetensors.numpy.save"


class TensorsTooLarge(TensorsRefused):
    """More bytes, tensors or dimensions than are served."""

    hint = "send a smaller batch"


class WrongTensorNames(TensorsRefused):
    """A tensor is missing, or one is there that the signature does not have."""


class WrongElementType(TensorsRefused):
    """A tensor has another element type than the signature says."""


class WrongShape(TensorsRefused):
    """A tensor has another shape than the signature says, or a free dimension of zero."""


class NotFinite(TensorsRefused):
    """A tensor holds NaN or an infinity: results would mean nothing."""

    hint = "replace NaN and infinities before sending"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """One tensor, row by row, little-endian."""

    dtype: DType
    shape: tuple[int, ...]
    data: bytes | memoryview = field(repr=False)

    def array(self) -> np.ndarray[Any, Any]:
        """The same as an array that cannot be written; bfloat16 as the uint16 of its bits."""
        return np.frombuffer(self.data, dtype=_NUMPY[self.dtype]).reshape(self.shape)


def item_bytes(dtype: DType) -> int:
    """Bytes of one element."""
    return _ITEM_BYTES[dtype]


def decode_tensors(payload: bytes, *, max_bytes: int) -> dict[str, Tensor]:
    """Decode safetensors bytes. Metadata of the header is not looked at.

    Raises:
        TensorsTooLarge: More than `max_bytes`, 256 tensors, 16 dimensions or 2**31 - 1 in one.
        MalformedTensors: Not the encoding, an element type that is not served, or a truth value that is none.
    """
    if len(payload) > max_bytes:
        raise TensorsTooLarge(f"{len(payload)} bytes, the limit is {max_bytes}")
    header = int.from_bytes(payload[:_LENGTH], "little")
    if header > MAX_HEADER_BYTES:
        raise TensorsTooLarge(f"a header of {header} bytes, the limit is {MAX_HEADER_BYTES}")
    try:
        found = _deserialize(payload)
    except SafetensorError as error:
        raise MalformedTensors("not safetensors") from error
    if len(found) > MAX_TENSORS:
        raise TensorsTooLarge(f"{len(found)} tensors, the limit is {MAX_TENSORS}")
    tensors = {name: _tensor(name, entry) for name, entry in found}
    if len(tensors) != len(found):
        raise MalformedTensors("a name is there twice")
    return tensors


def _tensor(name: str, entry: dict[str, Any]) -> Tensor:
    dtype = _NAMES.get(entry["dtype"])
    if dtype is None:
        raise MalformedTensors(f"{name[:80]!r}: element type {entry['dtype']} is not served")
    shape = tuple(int(size) for size in entry["shape"])
    if len(shape) > MAX_RANK or any(size > MAX_DIMENSION for size in shape):
        raise TensorsTooLarge(f"{name[:80]!r}: {len(shape)} dimensions, or one above {MAX_DIMENSION}")
    tensor = Tensor(dtype=dtype, shape=shape, data=bytes(entry["data"]))
    if dtype is DType.BOOL and len(tensor.data) and max(tensor.data) > 1:
        raise MalformedTensors(f"{name[:80]!r}: a truth value is neither 0 nor 1")
    return tensor


def encode_tensors(tensors: Mapping[str, Tensor]) -> bytes:
    """Safetensors bytes, names in ascending order: one encoding for equal tensors.

    Raises:
        MalformedTensors: bfloat16, which the encoder does not take, or data of another length than the shape says.
    """
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    for name in sorted(tensors):
        tensor = tensors[name]
        if tensor.dtype is DType.BFLOAT16:
            raise MalformedTensors(f"{name[:80]!r}: bfloat16 is not encoded")
        if len(tensor.data) != math.prod(tensor.shape) * item_bytes(tensor.dtype):
            raise MalformedTensors(f"{name[:80]!r}: {len(tensor.data)} bytes for shape {tensor.shape}")
        arrays[name] = tensor.array()
    return save(arrays)


def check_tensors(specs: Sequence[TensorSpec], tensors: Mapping[str, Tensor]) -> None:
    """Compare tensors with one side of a model's signature. A name of a free dimension means one length everywhere.

    Raises:
        WrongTensorNames, WrongElementType, WrongShape: The first difference.
    """
    if {spec.name for spec in specs} != set(tensors):
        raise WrongTensorNames(f"expected {sorted(spec.name for spec in specs)}, found {len(tensors)} tensors")
    lengths: dict[str, int] = {}
    for spec in specs:
        tensor = tensors[spec.name]
        if tensor.dtype is not spec.dtype:
            raise WrongElementType(f"{spec.name!r} is {tensor.dtype.value}, expected {spec.dtype.value}")
        if len(tensor.shape) != len(spec.shape):
            raise WrongShape(f"{spec.name!r} has {len(tensor.shape)} dimensions, expected {len(spec.shape)}")
        for place, (size, expected) in enumerate(zip(tensor.shape, spec.shape, strict=True)):
            if isinstance(expected, str):
                fits = size > 0 and (expected == "?" or lengths.setdefault(expected, size) == size)
            else:
                fits = size == expected
            if not fits:
                raise WrongShape(f"{spec.name!r}: dimension {place} is {size}, expected {expected}")


def check_finite(tensors: Mapping[str, Tensor]) -> None:
    """Refuse NaN and infinities.

    Raises:
        NotFinite: Names the tensor.
    """
    for name, tensor in tensors.items():
        values = tensor.array()
        if tensor.dtype in _FLOATS:
            finite = bool(np.isfinite(values).all())
        elif tensor.dtype is DType.BFLOAT16:
            finite = not bool(((values & _BFLOAT16_EXPONENT) == _BFLOAT16_EXPONENT).any())
        else:
            continue
        if not finite:
            raise NotFinite(f"{name!r} holds NaN or an infinity")
