"""What goes into a model and what comes out: names, element types and shapes of its tensors (spec 15 §4)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

__all__ = ["MAX_DIMENSION", "MAX_NAME_CHARS", "MAX_RANK", "MAX_TENSORS", "DType", "ModelSignature", "TensorSpec"]

MAX_RANK: Final = 16
MAX_DIMENSION: Final = (1 << 31) - 1
MAX_TENSORS: Final = 256
"""Most inputs, and most outputs, of one model."""
MAX_NAME_CHARS: Final = 256


class DType(Enum):
    """Element types that a served tensor may have, named as numpy and ml_dtypes do."""

    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"
    FLOAT32 = "float32"
    FLOAT64 = "float64"
    INT8 = "int8"
    INT16 = "int16"
    INT32 = "int32"
    INT64 = "int64"
    UINT8 = "uint8"
    UINT16 = "uint16"
    UINT32 = "uint32"
    UINT64 = "uint64"
    BOOL = "bool"


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """One input or output."""

    name: str
    """1 to 256 printable characters."""
    dtype: DType
    shape: tuple[int | str, ...]
    """Up to 16 dimensions: a length 0 <= x < 2**31, the name of a free dimension, or "?" for a free one without."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSignature:
    """The tensors that a caller gives and gets, in the model's order. Names are unique on each side."""

    inputs: tuple[TensorSpec, ...]
    """1 to 256."""
    outputs: tuple[TensorSpec, ...]
    """1 to 256."""
