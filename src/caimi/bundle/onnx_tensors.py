"""Element types, dimensions and data of the tensors in a model (spec 15 §7)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from onnx import TensorProto, TypeProto

from caimi.bundle.onnx_errors import BadInterface, BadTensor, ExternalData
from caimi.bundle.onnx_external import ExternalFiles
from caimi.bundle.onnx_scan import DATA_WIDTHS, bytes_left_out
from caimi.bundle.signature import MAX_DIMENSION, MAX_RANK, DType, TensorSpec

__all__ = ["MAX_ELEMENTS", "check_inner_type", "checked_tensor_bytes", "tensor_spec"]

MAX_ELEMENTS: Final = 1 << 40
"""Most elements that any declared shape may have, free dimensions counted as 1."""

_SERVED: Final[dict[int, DType]] = {
    TensorProto.FLOAT16: DType.FLOAT16,
    TensorProto.BFLOAT16: DType.BFLOAT16,
    TensorProto.FLOAT: DType.FLOAT32,
    TensorProto.DOUBLE: DType.FLOAT64,
    TensorProto.INT8: DType.INT8,
    TensorProto.INT16: DType.INT16,
    TensorProto.INT32: DType.INT32,
    TensorProto.INT64: DType.INT64,
    TensorProto.UINT8: DType.UINT8,
    TensorProto.UINT16: DType.UINT16,
    TensorProto.UINT32: DType.UINT32,
    TensorProto.UINT64: DType.UINT64,
    TensorProto.BOOL: DType.BOOL,
}

# Bits of an element in raw_data, and the typed field that may hold it instead.
_STORED: Final[dict[int, tuple[int, str]]] = {
    TensorProto.FLOAT: (32, "float_data"),
    TensorProto.DOUBLE: (64, "double_data"),
    TensorProto.INT64: (64, "int64_data"),
    TensorProto.UINT64: (64, "uint64_data"),
    TensorProto.UINT32: (32, "uint64_data"),
    TensorProto.INT32: (32, "int32_data"),
    TensorProto.INT16: (16, "int32_data"),
    TensorProto.UINT16: (16, "int32_data"),
    TensorProto.FLOAT16: (16, "int32_data"),
    TensorProto.BFLOAT16: (16, "int32_data"),
    TensorProto.INT8: (8, "int32_data"),
    TensorProto.UINT8: (8, "int32_data"),
    TensorProto.BOOL: (8, "int32_data"),
    TensorProto.FLOAT8E4M3FN: (8, "int32_data"),
    TensorProto.FLOAT8E4M3FNUZ: (8, "int32_data"),
    TensorProto.FLOAT8E5M2: (8, "int32_data"),
    TensorProto.FLOAT8E5M2FNUZ: (8, "int32_data"),
    TensorProto.INT4: (4, "int32_data"),
    TensorProto.UINT4: (4, "int32_data"),
}
_TYPED_FIELDS: Final = ("float_data", "double_data", "int64_data", "uint64_data", "int32_data")


def checked_tensor_bytes(tensor: TensorProto, where: str, external: ExternalFiles | None = None) -> int:
    """Check one constant tensor and return the bytes that its elements take.

    Arguments:
        tensor: of a model as `scan_model` gives it.
        external: where its data may lie instead; None if it may not.
    Raises:
        ExternalData: Its data is elsewhere.
        BadTensor: A refused element type (strings, complex numbers), dimensions, or another amount of data.
    """
    is_outside = tensor.data_location == TensorProto.EXTERNAL
    if is_outside != bool(tensor.external_data) or (is_outside and external is None):
        raise ExternalData("its data_location and its entries say that data lie outside", where=where)
    stored = _STORED.get(tensor.data_type)
    if stored is None:
        raise BadTensor(f"element type {tensor.data_type} is refused", where=where)
    bits, typed_field = stored
    elements = _checked_elements(tensor.dims, where)
    size = (elements * bits + 7) // 8
    counts = {name: _count(tensor, name) for name in _TYPED_FIELDS}
    typed, raw = counts.pop(typed_field), _count(tensor, "raw_data")
    if any(counts.values()) or (typed and raw):
        raise BadTensor("its data is in more than one field or in the wrong one", where=where)
    if is_outside and external is not None:
        if typed or raw:
            raise BadTensor("its data is inside and outside", where=where)
        external.take(tensor, size, where)
        return size
    expected = size if bits < 8 else elements
    if (typed and typed != expected) or (not typed and raw != size):
        raise BadTensor(f"{elements} elements of {bits} bits announced, {typed or raw} found", where=where)
    return size


def _count(tensor: TensorProto, field: str) -> int:
    # Elements, or bytes of raw data, with those that the scan left out.
    return len(getattr(tensor, field)) + bytes_left_out(tensor, field) // DATA_WIDTHS.get(field, 1)


def tensor_spec(name: str, kind: TypeProto, where: str) -> TensorSpec:
    """Read the declared type of a graph input or output.

    Raises:
        BadInterface: No tensor type, a refused element type, or no shape.
        BadTensor: More than 16 dimensions, negative or too large ones.
    """
    if not kind.HasField("tensor_type"):
        raise BadInterface("no tensor type is declared", where=where)
    dtype = _SERVED.get(kind.tensor_type.elem_type)
    if dtype is None:
        raise BadInterface(f"element type {kind.tensor_type.elem_type} is not served", where=where)
    if not kind.tensor_type.HasField("shape"):
        raise BadInterface("no shape is declared", where=where)
    _check_shape(kind, where)
    dims = kind.tensor_type.shape.dim
    shape = [dim.dim_value if dim.HasField("dim_value") else dim.dim_param or "?" for dim in dims]
    return TensorSpec(name=name, dtype=dtype, shape=tuple(shape))


def check_inner_type(kind: TypeProto, where: str) -> None:
    """Check what `value_info` says about an inner value: its shape may be missing.

    Raises:
        BadTensor: A refused element type or dimensions.
    """
    if kind.tensor_type.elem_type not in _STORED:
        raise BadTensor(f"element type {kind.tensor_type.elem_type} is refused", where=where)
    _check_shape(kind, where)


def _check_shape(kind: TypeProto, where: str) -> None:
    _checked_elements([d.dim_value if d.HasField("dim_value") else 1 for d in kind.tensor_type.shape.dim], where)


def _checked_elements(dims: Sequence[int], where: str) -> int:
    if len(dims) > MAX_RANK:
        raise BadTensor(f"{len(dims)} dimensions, the limit is {MAX_RANK}", where=where)
    elements = 1
    for size in dims:
        if not 0 <= size <= MAX_DIMENSION:
            raise BadTensor(f"a dimension of {size}, allowed are 0 to {MAX_DIMENSION}", where=where)
        # A zero dimension must not hide others whose product overflows a runtime's counter.
        elements *= max(size, 1)
        if elements > MAX_ELEMENTS:
            raise BadTensor(f"more than {MAX_ELEMENTS} elements", where=where)
    return 0 if 0 in dims else elements
