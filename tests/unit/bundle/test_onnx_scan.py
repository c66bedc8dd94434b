"""A model that is read by windows: the data of its constants are counted, not read, and nothing else changes."""

from __future__ import annotations

import dataclasses
import tracemalloc
from typing import Final

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper

from caimi.bundle.onnx_errors import (
    BadTensor,
    ExternalData,
    MalformedModel,
    ModelFileTooLarge,
    ModelTooLarge,
    UnsupportedFeature,
)
from caimi.bundle.onnx_inspect import MAX_FILE_BYTES, InspectionLimits, check_file_size, inspect_model
from caimi.bundle.onnx_scan import ModelSource, bytes_left_out, scan_model
from tests.unit.bundle.onnx_models import conditional, constant, make_node, model, refused, value

LARGE: Final = 1 << 20
"""Elements of a constant that is left out."""


def scanned(data: bytes) -> ModelProto:
    source = ModelSource.of_bytes(data)
    return ModelProto.FromString(scan_model(source, max_fields=10_000, max_graph_bytes=1 << 20))


def held(kind: int, elements: int, announced: int | None = None) -> TensorProto:
    """A constant in its typed field."""
    made = helper.make_tensor("w", kind, [elements], np.zeros(elements))
    made.dims[0] = announced or elements
    return made


def _models() -> list[ModelProto]:
    inputs = [value("x", ["N", 3]), value("c", [], TensorProto.BOOL)]
    return [
        model(),
        model(constants=[constant("w", np.zeros(LARGE, np.float32)), constant("v", np.arange(64))]),
        model(constants=[held(TensorProto.FLOAT, LARGE), constant("v", np.ones(3))]),
        model([conditional(3)], inputs=inputs, outputs=[value("y0", ["N", 3])]),
    ]


@pytest.mark.parametrize("made", _models())
@pytest.mark.parametrize("most", [7, 1 << 30])
def test_a_source_that_gives_little_at_a_time_gives_the_same(made: ModelProto, most: int) -> None:
    data = made.SerializeToString()
    slow = ModelSource(size=len(data), read=lambda offset, count: data[offset : offset + min(most, count)])
    assert inspect_model(slow) == inspect_model(data)


def test_small_models_are_kept_as_they_are() -> None:
    data = model(constants=[constant("w", np.arange(64))]).SerializeToString()
    assert scanned(data).SerializeToString() == data


@pytest.mark.parametrize("field", ["raw_data", "float_data", "double_data"])
def test_only_the_data_of_large_constants_is_left_out(field: str) -> None:
    kinds = {"raw_data": (4, None), "float_data": (4, TensorProto.FLOAT), "double_data": (8, TensorProto.DOUBLE)}
    width, kind = kinds[field]
    large = constant("w", np.zeros(LARGE, np.float32)) if kind is None else held(kind, LARGE)
    made = model(constants=[constant("before", np.ones(3)), large, constant("after", np.ones(3))])
    found = scanned(made.SerializeToString())
    (tensor,) = (one for one in found.graph.initializer if one.name == "w")
    assert bytes_left_out(tensor, field) == LARGE * width
    assert [bytes_left_out(tensor, other) for other in kinds if other != field] == [0, 0]
    tensor.ClearField("segment")
    large.ClearField(field)  # type: ignore[arg-type]
    made.graph.initializer[1].CopyFrom(large)
    assert found == made


def test_a_constant_of_a_node_is_left_out_too() -> None:
    weights = constant("w", np.zeros(LARGE, np.float32))
    made = model([make_node("Constant", [], ["y"], value=weights)], outputs=[value("y", [LARGE])])
    assert len(scan_model(ModelSource.of_bytes(made.SerializeToString()), max_fields=99, max_graph_bytes=999)) < 999
    assert inspect_model(made.SerializeToString()).signature.outputs[0].shape == (LARGE,)


def test_data_that_are_left_out_are_not_read() -> None:
    size = 64 << 20
    data = model(constants=[constant("w", np.zeros(size // 4, np.float32))]).SerializeToString()
    read: list[int] = []

    def counting(offset: int, most: int) -> bytes:
        read.append(most)
        return data[offset : offset + most]

    tracemalloc.start()
    try:
        inspect_model(ModelSource(size=len(data), read=counting))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sum(read) < 1 << 20
    assert peak < 4 << 20


# --- refusals


@pytest.mark.parametrize(
    ("tensor", "found"),
    [
        (held(TensorProto.FLOAT, LARGE, LARGE + 1), LARGE),
        (held(TensorProto.DOUBLE, LARGE, LARGE - 1), LARGE),
        (TensorProto(name="w", data_type=1, dims=[LARGE], raw_data=bytes(4 * LARGE - 4)), 4 * LARGE - 4),
    ],
)
def test_rejects_another_amount_of_data_than_announced(tensor: TensorProto, found: int) -> None:
    refused(model(constants=[tensor]), BadTensor, f"announced, {found} found")


def test_rejects_large_data_in_two_fields_or_in_the_wrong_one() -> None:
    both = held(TensorProto.FLOAT, LARGE)
    both.raw_data = bytes(4 * LARGE)
    refused(model(constants=[both]), BadTensor, "in more than one field")
    both.raw_data = bytes(4)
    refused(model(constants=[both]), BadTensor, "in more than one field")
    wrong = held(TensorProto.FLOAT, LARGE)
    wrong.data_type = TensorProto.DOUBLE
    refused(model(constants=[wrong]), BadTensor, "in the wrong one")


def test_rejects_large_data_inside_and_outside() -> None:
    tensor = constant("w", np.zeros(LARGE, np.float32))
    tensor.data_location = TensorProto.EXTERNAL
    refused(model(constants=[tensor]), ExternalData)


def test_rejects_floats_that_end_inside_a_number() -> None:
    tensor = TensorProto(name="w", data_type=1, dims=[512]).SerializeToString() + b"\x22\x81\x10" + bytes(2049)
    made = model().SerializeToString()
    graph = model().graph.SerializeToString() + b"\x2a" + bytes([len(tensor) & 127 | 128, len(tensor) >> 7]) + tensor
    head = ModelProto.FromString(made)
    head.ClearField("graph")
    length = bytes([len(graph) & 127 | 128, len(graph) >> 7])
    refused(head.SerializeToString() + b"\x3a" + length + graph, MalformedModel, "ends inside a number")


def test_rejects_a_model_that_claims_to_be_left_out() -> None:
    # A publisher's own segment would make the inspection count data that is not there.
    tensor = TensorProto(name="w", data_type=1, dims=[512], segment=TensorProto.Segment(begin=9, end=2048))
    error = refused(model(constants=[tensor]), UnsupportedFeature, "this field is refused")
    assert error.where == "TensorProto.segment"


def test_rejects_more_besides_constants_than_the_limit() -> None:
    data = model(constants=[constant("w", np.zeros(LARGE, np.float32))]).SerializeToString()
    least = len(data) - 4 * LARGE
    inspect_model(data, limits=InspectionLimits(graph_bytes=least))
    refused(data, ModelTooLarge, "too many bytes besides", graph_bytes=least // 2)
    many = model([make_node("Relu", ["x"], ["y"], floats=[0.0] * LARGE)])
    refused(many, ModelTooLarge, "too many bytes besides", graph_bytes=4 * LARGE)


def test_rejects_a_source_that_ends_too_early() -> None:
    data = model().SerializeToString()
    whole = ModelSource.of_bytes(data)
    for size in range(1, 40):
        with pytest.raises(MalformedModel):
            inspect_model(dataclasses.replace(whole, size=len(data) + size))


def test_rejects_a_file_that_no_parser_could_hold_whatever_the_limit() -> None:
    limits = InspectionLimits(model_bytes=4 << 30)
    check_file_size(MAX_FILE_BYTES, limits=limits)

    def read(offset: int, most: int) -> bytes:
        raise AssertionError(f"{most} bytes at {offset} were read")

    with pytest.raises(ModelFileTooLarge) as caught:
        inspect_model(ModelSource(size=MAX_FILE_BYTES + 1, read=read), limits=limits)
    assert "save_as_external_data" in caught.value.hint
