"""Tensors on the wire: what is refused, and what a signature takes."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from caimi.bundle.signature import DType, TensorSpec
from caimi.bundle.tensors import (
    MAX_HEADER_BYTES,
    MalformedTensors,
    NotFinite,
    Tensor,
    TensorsRefused,
    TensorsTooLarge,
    WrongElementType,
    WrongShape,
    WrongTensorNames,
    check_finite,
    check_tensors,
    decode_tensors,
    encode_tensors,
)
from caimi.types.failure import Blame, Certainty


def raw(header: dict[str, Any], data: bytes = b"") -> bytes:
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)
    return len(encoded).to_bytes(8, "little") + encoded + data


def tensor(values: Any, dtype: DType = DType.FLOAT32) -> Tensor:
    array = np.asarray(values, dtype=dtype.value)
    return Tensor(dtype=dtype, shape=array.shape, data=array.tobytes())


@pytest.mark.parametrize("dtype", [dtype for dtype in DType if dtype is not DType.BFLOAT16])
def test_every_served_type_comes_back(dtype: DType) -> None:
    given = {"b": tensor([[1, 0], [1, 1]], dtype), "a": tensor(1, dtype), "c": tensor(np.zeros((0, 3)), dtype)}
    encoded = encode_tensors(given)
    assert decode_tensors(encoded, max_bytes=1 << 16) == given
    assert encode_tensors(dict(reversed(given.items()))) == encoded


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x01",
        (100).to_bytes(8, "little") + b"{}",
        raw({"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, bytes(4)),
        raw({"x": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}, bytes(8)),
        raw({"x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, bytes(5)),
        raw({"x": {"dtype": "F8_E4M3", "shape": [1], "data_offsets": [0, 1]}}, bytes(1)),
        raw({"x": {"dtype": "STRING", "shape": [1], "data_offsets": [0, 1]}}, bytes(1)),
        raw({"x": {"dtype": "BOOL", "shape": [1], "data_offsets": [0, 1]}}, b"\x02"),
        b"\x02" + bytes(7) + b"[]",
    ],
)
def test_rejects_what_is_no_encoding(payload: bytes) -> None:
    with pytest.raises(MalformedTensors) as caught:
        decode_tensors(payload, max_bytes=1 << 16)
    assert (caught.value.blame, caught.value.certainty) == (Blame.CALLER, Certainty.PROVEN)


def test_rejects_what_is_too_large() -> None:
    good = encode_tensors({"x": tensor([1.0])})
    with pytest.raises(TensorsTooLarge):
        decode_tensors(good, max_bytes=len(good) - 1)
    with pytest.raises(TensorsTooLarge):
        decode_tensors((MAX_HEADER_BYTES + 1).to_bytes(8, "little"), max_bytes=1 << 20)
    many = {f"t{i}": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]} for i in range(257)}
    with pytest.raises(TensorsTooLarge):
        decode_tensors(raw(many), max_bytes=1 << 20)
    for shape in ([1] * 17, [0, 1 << 31]):
        size = 1 if 0 not in shape else 0
        with pytest.raises(TensorsTooLarge):
            decode_tensors(
                raw({"x": {"dtype": "U8", "shape": shape, "data_offsets": [0, size]}}, bytes(size)), max_bytes=1 << 20
            )


def test_rejects_to_encode_what_does_not_fit_its_shape() -> None:
    for bad in (
        Tensor(dtype=DType.FLOAT32, shape=(2,), data=bytes(4)),
        Tensor(dtype=DType.BFLOAT16, shape=(1,), data=bytes(2)),
    ):
        with pytest.raises(MalformedTensors):
            encode_tensors({"x": bad})


SPECS = (
    TensorSpec(name="x", dtype=DType.FLOAT32, shape=("N", 3)),
    TensorSpec(name="m", dtype=DType.INT64, shape=("N", "?")),
)


def given(**change: Tensor) -> dict[str, Tensor]:
    return {"x": tensor(np.zeros((2, 3))), "m": tensor(np.zeros((2, 5)), DType.INT64), **change}


def test_a_signature_takes_what_fits() -> None:
    check_tensors(SPECS, given())


@pytest.mark.parametrize(
    ("error", "tensors"),
    [
        (WrongTensorNames, {"x": tensor(np.zeros((2, 3)))}),
        (WrongTensorNames, given(extra=tensor([1.0]))),
        (WrongElementType, given(m=tensor(np.zeros((2, 5))))),
        (WrongShape, given(x=tensor(np.zeros((2, 4))))),
        (WrongShape, given(x=tensor(np.zeros((2, 3, 1))))),
        (WrongShape, given(m=tensor(np.zeros((3, 5)), DType.INT64))),
        (WrongShape, given(m=tensor(np.zeros((2, 0)), DType.INT64))),
    ],
)
def test_rejects_what_a_signature_does_not_take(error: type[TensorsRefused], tensors: dict[str, Tensor]) -> None:
    with pytest.raises(error):
        check_tensors(SPECS, tensors)


@pytest.mark.parametrize("dtype", [DType.FLOAT16, DType.FLOAT32, DType.FLOAT64])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_rejects_what_is_not_finite(dtype: DType, bad: float) -> None:
    check_finite({"x": tensor([1, 2], dtype), "n": tensor([-1], DType.INT64)})
    with pytest.raises(NotFinite):
        check_finite({"x": tensor([1, bad], dtype)})


def test_rejects_bfloat16_that_is_not_finite() -> None:
    check_finite({"x": Tensor(dtype=DType.BFLOAT16, shape=(1,), data=b"\x80\x3f")})
    for bits in (b"\x80\x7f", b"\x80\xff", b"\xc0\x7f"):
        with pytest.raises(NotFinite):
            check_finite({"x": Tensor(dtype=DType.BFLOAT16, shape=(1,), data=bits)})
