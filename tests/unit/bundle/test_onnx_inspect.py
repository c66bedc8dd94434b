"""Models that are served, and the signature that the inspection reads from them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from caimi.bundle.onnx_errors import SignatureMismatch
from caimi.bundle.onnx_inspect import DEFAULT_LIMITS, InspectionLimits, inspect_model, verify_signature
from caimi.bundle.signature import DType, ModelSignature, TensorSpec
from tests.unit.bundle.onnx_models import conditional, constant, make_node, model, relu, value

FLOAT = DType.FLOAT32
SIGNATURE = ModelSignature(
    inputs=(TensorSpec(name="x", dtype=FLOAT, shape=("N", 3)),),
    outputs=(TensorSpec(name="y", dtype=FLOAT, shape=("N", 3)),),
)


def run(data: bytes, **inputs: Any) -> Any:
    """What the runtime computes for y."""
    session = cast(Any, onnxruntime).InferenceSession(data, providers=["CPUExecutionProvider"])
    return session.run(None, inputs)[0]


@pytest.mark.parametrize("form", [bytes, bytearray, memoryview])
def test_the_signature_is_read_from_any_buffer(form: Any) -> None:
    assert inspect_model(form(model().SerializeToString())).signature == SIGNATURE


@pytest.mark.parametrize(("opset", "ml", "ir"), [(17, 3, 8), (21, 5, 10), (19, 4, 9)])
def test_supported_versions_are_accepted_and_run(opset: int, ml: int, ir: int) -> None:
    data = model(opsets={"": opset, "ai.onnx.ml": ml}, ir_version=ir).SerializeToString()
    assert inspect_model(data).signature == SIGNATURE
    assert np.array_equal(run(data, x=np.array([[-1, 0, 2]], np.float32)), [[0, 0, 2]])


def test_the_domain_may_be_written_out() -> None:
    node = make_node("Relu", ["x"], ["y"], domain="ai.onnx")
    assert inspect_model(model([node], opsets={"ai.onnx": 17}).SerializeToString()).signature == SIGNATURE


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        (TensorProto.FLOAT16, DType.FLOAT16),
        (TensorProto.BFLOAT16, DType.BFLOAT16),
        (TensorProto.DOUBLE, DType.FLOAT64),
        (TensorProto.INT8, DType.INT8),
        (TensorProto.UINT8, DType.UINT8),
        (TensorProto.INT16, DType.INT16),
        (TensorProto.UINT16, DType.UINT16),
        (TensorProto.INT32, DType.INT32),
        (TensorProto.UINT32, DType.UINT32),
        (TensorProto.INT64, DType.INT64),
        (TensorProto.UINT64, DType.UINT64),
        (TensorProto.BOOL, DType.BOOL),
    ],
)
def test_element_types_are_named(kind: int, dtype: DType) -> None:
    inputs, outputs = [value("x", [2, None, 0], kind)], [value("y", [], kind)]
    made = model([make_node("Identity", ["x"], ["y"])], inputs=inputs, outputs=outputs)
    signature = inspect_model(made.SerializeToString()).signature
    assert signature.inputs == (TensorSpec(name="x", dtype=dtype, shape=(2, "?", 0)),)
    assert signature.outputs == (TensorSpec(name="y", dtype=dtype, shape=()),)


@pytest.mark.parametrize(
    ("kind", "count", "size"),
    [
        (TensorProto.FLOAT, 6, 24),
        (TensorProto.DOUBLE, 6, 48),
        (TensorProto.INT64, 6, 48),
        (TensorProto.UINT64, 6, 48),
        (TensorProto.UINT32, 6, 24),
        (TensorProto.INT32, 6, 24),
        (TensorProto.INT8, 6, 6),
        (TensorProto.UINT16, 6, 12),
        (TensorProto.BOOL, 6, 6),
        (TensorProto.FLOAT16, 6, 12),
        (TensorProto.FLOAT8E4M3FN, 6, 6),
        (TensorProto.UINT4, 5, 3),
    ],
)
def test_constants_may_be_raw_or_typed(kind: int, count: int, size: int) -> None:
    typed = helper.make_tensor("w", kind, [count], [1] * count)
    raw = helper.make_tensor("w", kind, [count], bytes(size), raw=True)
    for tensor in (typed, raw):
        assert inspect_model(model(constants=[tensor]).SerializeToString()).signature == SIGNATURE


def test_an_input_with_a_constant_is_a_default_and_no_part_of_the_interface() -> None:
    made = model(inputs=[value("x", ["N", 3]), value("w", [2])], constants=[constant("w", np.ones(2, np.float32))])
    assert inspect_model(made.SerializeToString()).signature == SIGNATURE


def test_ifs_may_nest_to_the_limit_and_run() -> None:
    inputs = [value("x", ["N", 3]), value("c", [], TensorProto.BOOL)]
    made = model([conditional(4)], inputs=inputs, outputs=[value("y0", ["N", 3])])
    data = made.SerializeToString()
    assert [t.name for t in inspect_model(data).signature.inputs] == ["x", "c"]
    assert np.array_equal(run(data, x=np.array([[-1, 0, 2]], np.float32), c=np.array(True)), [[0, 0, 2]])


def test_a_constant_node_and_optional_inputs_are_served() -> None:
    low = make_node("Constant", [], ["low"], value=constant("", np.float32(0)))
    clip = make_node("Clip", ["x", "low", ""], ["y"])
    assert inspect_model(model([low, clip]).SerializeToString()).signature == SIGNATURE


def test_inner_values_may_lack_a_shape() -> None:
    made = model([relu("x", "h"), relu("h", "y")])
    made.graph.value_info.append(value("h"))
    assert inspect_model(made.SerializeToString()).signature == SIGNATURE


def test_the_defaults_admit_the_models_of_the_demo() -> None:
    assert DEFAULT_LIMITS.model_bytes >= 100 << 20
    assert DEFAULT_LIMITS.tensor_bytes >= 100 << 20


def test_a_large_model_is_inspected_without_a_copy_of_its_weights() -> None:
    weights = constant("w", np.zeros(4 << 20, np.float32))
    data = model(constants=[weights]).SerializeToString()
    assert (
        inspect_model(data, limits=InspectionLimits(model_bytes=len(data), tensor_bytes=16 << 20)).signature
        == SIGNATURE
    )


def test_a_manifest_with_the_models_signature_is_accepted() -> None:
    verify_signature(SIGNATURE, inspect_model(model().SerializeToString()).signature)


@pytest.mark.parametrize("side", ["inputs", "outputs"])
@pytest.mark.parametrize("change", [{"name": "z"}, {"dtype": DType.FLOAT64}, {"shape": ("N", 4)}, {"shape": ("M", 3)}])
def test_rejects_a_manifest_that_announces_another_signature(side: str, change: dict[str, Any]) -> None:
    sides = {"inputs": SIGNATURE.inputs, "outputs": SIGNATURE.outputs}
    spec = sides[side][0]
    announced = ModelSignature(**(sides | {side: (replace(spec, **change),)}))
    with pytest.raises(SignatureMismatch) as caught:
        verify_signature(announced, SIGNATURE)
    assert caught.value.where == side
