"""Models that are refused before any runtime sees them: by class, place and blame."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import AttributeProto, ModelProto, StringStringEntryProto, TensorProto, helper

from caimi.bundle.onnx_errors import (
    BadTensor,
    CustomOperator,
    ExternalData,
    MalformedModel,
    ModelRefused,
    ModelTooLarge,
    UnsupportedFeature,
    UnsupportedVersion,
)
from caimi.bundle.onnx_inspect import ControlFlow, InspectionLimits, inspect_model
from tests.unit.bundle.onnx_models import (
    changed,
    conditional,
    constant,
    graph_of,
    make_node,
    model,
    refused,
    relu,
    value,
)

SOUND = model().SerializeToString()
W = constant("w", np.ones(4, np.float32))


def external(tensor: TensorProto) -> TensorProto:
    changed = TensorProto()
    changed.CopyFrom(tensor)
    changed.ClearField("raw_data")
    changed.data_location = TensorProto.EXTERNAL
    changed.external_data.append(StringStringEntryProto(key="location", value="../../etc/passwd"))
    return changed


# --- bytes


@pytest.mark.parametrize("data", [b"", b"\0", b"not a model", SOUND[:-1], SOUND + b"\0", b"\xff" * 100])
def test_rejects_bytes_that_are_no_model(data: bytes) -> None:
    with pytest.raises(ModelRefused):
        inspect_model(data)


@settings(max_examples=300)
@given(st.binary(max_size=300))
def test_rejects_any_bytes_with_our_error_only(data: bytes) -> None:
    with pytest.raises(ModelRefused):
        inspect_model(data)


@settings(max_examples=600)
@given(st.data())
def test_a_damaged_model_is_refused_or_sound(data: st.DataObject) -> None:
    inputs = [value("x", ["N", 3]), value("c", [], TensorProto.BOOL)]
    whole = model([conditional(2)], inputs=inputs, outputs=[value("y0", ["N", 3])], constants=[W]).SerializeToString()
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ModelRefused):
        inspect_model(damaged)


def test_rejects_an_unknown_field() -> None:
    assert refused(SOUND + b"\xa8\x46\x01", MalformedModel, "unknown field").where == "onnx.ModelProto"


def test_rejects_a_field_given_twice() -> None:
    # One parser merges two graphs, another may take the last: nobody shall see another model than we.
    second = ModelProto(graph=model().graph).SerializeToString()
    assert refused(SOUND + second, MalformedModel, "given twice").where == "ModelProto.graph"


def test_rejects_a_wrong_wire_type() -> None:
    refused(b"\x0d\x0a\x00\x00\x00" + SOUND, MalformedModel, "wire type 5")
    refused(b"\x0b" + SOUND, MalformedModel, "wire type 3")


def test_rejects_a_text_that_is_not_unicode() -> None:
    assert refused(b"\x12\x01\xff" + SOUND, MalformedModel, "not UTF-8").where == "ModelProto.producer_name"


def test_rejects_numbers_and_lengths_that_do_not_end() -> None:
    refused(b"\x08" + b"\xff" * 11, MalformedModel, "longer than 10 bytes")
    refused(b"\x3a\x7f", MalformedModel, "longer than what holds it")
    refused(b"\x08\xff", MalformedModel, "ends inside a number")
    # The number would be in the bytes that follow what holds it.
    refused(b"\x3a\x01\x0a\x00", MalformedModel, "ends inside a number")
    refused(b"\x3a\x03\x0a\x01\x0a\x00", MalformedModel, "ends inside a number")
    # ModelProto.graph { node { attribute { f: two bytes of four } } }
    refused(b"\x3a\x07\x0a\x05\x2a\x03\x15\x00\x00", MalformedModel, "ends inside a number")


def test_rejects_a_long_text() -> None:
    refused(changed(lambda m: setattr(m, "doc_string", "x" * (1 << 20 | 1))), ModelTooLarge, "a text of")


def test_rejects_deep_nesting_before_parsing() -> None:
    # An optional type in an optional type ... cannot even be written; an If in an If can.
    node = b""
    for _ in range(20):
        for key in (b"\x0a", b"\x32", b"\x2a"):  # GraphProto.node, AttributeProto.g, NodeProto.attribute
            node = key + _length(len(node)) + node
    graph = b"\x0a" + _length(len(node)) + node
    refused(b"\x3a" + _length(len(graph)) + graph, ModelTooLarge, "nested more than 48 deep")


def test_rejects_many_tiny_objects_before_parsing() -> None:
    nodes = b"\x0a\x00" * 50_000  # 100 kB that would become 50,000 nodes
    refused(b"\x3a" + _length(len(nodes)) + nodes, ModelTooLarge, "too many fields", fields=10_000)


def test_rejects_packed_integers_that_would_swell() -> None:
    tensor = helper.make_tensor("w", TensorProto.INT64, [100_000], [1] * 100_000)
    refused(model(constants=[tensor]), ModelTooLarge, "too many fields", fields=5_000)
    inspect_model(model(constants=[tensor]).SerializeToString(), limits=InspectionLimits(fields=13_000))


def _length(number: int) -> bytes:
    out = b""
    while number > 127:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


# --- limits


def test_rejects_a_file_over_the_limit() -> None:
    inspect_model(SOUND, limits=InspectionLimits(model_bytes=len(SOUND)))
    refused(SOUND, ModelTooLarge, "the limit is", model_bytes=len(SOUND) - 1)


def test_rejects_constants_over_the_limit() -> None:
    two = model(constants=[W, constant("v", np.ones(4, np.float32))]).SerializeToString()
    inspect_model(two, limits=InspectionLimits(tensor_bytes=32))
    refused(two, ModelTooLarge, "constants of more than 31 bytes", tensor_bytes=31)


def test_rejects_more_nodes_than_the_limit_counting_all_graphs() -> None:
    inputs = [value("x", ["N", 3]), value("c", [], TensorProto.BOOL)]
    made = model([conditional(1)], inputs=inputs, outputs=[value("y0", ["N", 3])]).SerializeToString()
    inspect_model(made, limits=InspectionLimits(nodes=3))
    refused(made, ModelTooLarge, "more than 2 nodes", nodes=2)


def test_rejects_graphs_nested_over_the_limit() -> None:
    inputs = [value("x", ["N", 3]), value("c", [], TensorProto.BOOL)]
    made = model([conditional(3)], inputs=inputs, outputs=[value("y0", ["N", 3])]).SerializeToString()
    inspect_model(made, limits=InspectionLimits(depth=3))
    refused(made, ModelTooLarge, "graphs nested more than 2 deep", depth=2)
    refused(made, UnsupportedFeature, "If is not served", control_flow=ControlFlow.NONE)


# --- versions and operators


@pytest.mark.parametrize("version", [0, 6, 11, 2**40])
def test_rejects_ir_versions(version: int) -> None:
    refused(changed(lambda m: setattr(m, "ir_version", version)), UnsupportedVersion, "IR version")


@pytest.mark.parametrize(
    ("opsets", "error"),
    [
        ({}, UnsupportedVersion),
        ({"": 16}, UnsupportedVersion),
        ({"": 22}, UnsupportedVersion),
        ({"ai.onnx.ml": 3}, UnsupportedVersion),
        ({"": 17, "ai.onnx.ml": 2}, UnsupportedVersion),
        ({"": 17, "ai.onnx": 17}, MalformedModel),
        ({"": 17, "com.microsoft": 1}, CustomOperator),
        ({"": 17, "ai.onnx.training": 1}, CustomOperator),
        ({"": 17, "AI.ONNX": 17}, CustomOperator),
    ],
)
def test_rejects_operator_sets(opsets: dict[str, int], error: type[ModelRefused]) -> None:
    assert refused(model(opsets=opsets), error).where == "model.opset_import"


@pytest.mark.parametrize(
    ("name", "domain"),
    [("Relu", "com.microsoft"), ("Relu", "ai.onnx.ml"), ("Scaler", "ai.onnx.ml"), ("NoSuchOp", ""), ("", "")],
)
def test_rejects_custom_and_unknown_operators(name: str, domain: str) -> None:
    node = make_node(name, ["x"], ["y"], domain=domain)
    assert "graph.node[0]" in refused(model([node]), CustomOperator).where


def test_rejects_a_custom_operator_inside_a_branch() -> None:
    inner = make_node("Evil", ["x"], ["t"], domain="evil")
    node = make_node(
        "If", ["c"], ["y"], then_branch=graph_of([inner], "t"), else_branch=graph_of([relu("x", "e")], "e")
    )
    made = model([node], inputs=[value("x", ["N", 3]), value("c", [], TensorProto.BOOL)])
    assert "then_branch" in refused(made, CustomOperator).where


@pytest.mark.parametrize("name", ["Loop", "Scan", "SequenceMap"])
def test_rejects_loops(name: str) -> None:
    node = make_node(name, ["x"], ["y"], body=graph_of([relu("x", "e")], "e"))
    refused(model([node]), UnsupportedFeature, f"{name} is not served")


def test_rejects_an_inner_graph_outside_of_if() -> None:
    node = make_node("Relu", ["x"], ["y"], body=graph_of([relu("x", "e")], "e"))
    refused(model([node]), UnsupportedFeature, "an inner graph outside of If")


# --- data elsewhere, strings and other refused parts


def _in_initializer(tensor: TensorProto) -> ModelProto:
    return model(constants=[tensor])


def _in_attribute(tensor: TensorProto) -> ModelProto:
    return model([make_node("Constant", [], ["k"], value=tensor), relu()])


def _in_attribute_list(tensor: TensorProto) -> ModelProto:
    return model([make_node("Relu", ["x"], ["y"], many=[W, tensor])])


def _in_branch(tensor: TensorProto) -> ModelProto:
    branch = graph_of([relu("x", "t")], "t")
    branch.initializer.append(tensor)
    node = make_node("If", ["c"], ["y"], then_branch=branch, else_branch=graph_of([relu("x", "e")], "e"))
    return model([node], inputs=[value("x", ["N", 3]), value("c", [], TensorProto.BOOL)])


def _in_sparse_attribute(tensor: TensorProto) -> ModelProto:
    sparse = helper.make_sparse_tensor(tensor, constant("i", np.zeros(4, np.int64)), [9])
    return model([make_node("Constant", [], ["k"], sparse_value=sparse), relu()])


def _in_sparse_initializer(tensor: TensorProto) -> ModelProto:
    made = model()
    made.graph.sparse_initializer.append(helper.make_sparse_tensor(tensor, constant("i", np.zeros(4, np.int64)), [9]))
    return made


def _in_function(tensor: TensorProto) -> ModelProto:
    made = model()
    body = [make_node("Constant", [], ["o"], value=tensor)]
    made.functions.append(helper.make_function("", "F", ["a"], ["o"], body, [helper.make_opsetid("", 17)]))
    return made


def _in_training(tensor: TensorProto) -> ModelProto:
    made = model()
    made.training_info.add().algorithm.initializer.append(tensor)
    return made


_PLACES = [_in_initializer, _in_attribute, _in_attribute_list, _in_branch]
_REFUSED_PLACES = [_in_sparse_attribute, _in_sparse_initializer, _in_function, _in_training]


@pytest.mark.parametrize("place", _PLACES)
def test_rejects_external_data_wherever_a_tensor_may_be(place: Callable[[TensorProto], ModelProto]) -> None:
    inspect_model(place(W).SerializeToString())
    refused(place(external(W)), ExternalData)
    only_location = external(W)
    only_location.ClearField("external_data")
    refused(place(only_location), ExternalData, "lie outside")
    only_entries = external(W)
    only_entries.data_location = TensorProto.DEFAULT
    refused(place(only_entries), ExternalData, "lie outside")


@pytest.mark.parametrize("place", _REFUSED_PLACES)
def test_rejects_parts_that_could_hide_external_data(place: Callable[[TensorProto], ModelProto]) -> None:
    refused(place(W), UnsupportedFeature, "this field is refused")
    refused(place(external(W)), UnsupportedFeature, "this field is refused")


@pytest.mark.parametrize("place", _PLACES)
def test_rejects_string_tensors(place: Callable[[TensorProto], ModelProto]) -> None:
    full = TensorProto(name="w", data_type=TensorProto.STRING, dims=[1], string_data=[b"x"])
    refused(place(full), UnsupportedFeature, "refused")
    refused(place(TensorProto(name="w", data_type=TensorProto.STRING, dims=[0])), BadTensor, "element type 8")


@pytest.mark.parametrize("name", ["value_string", "value_strings"])
def test_rejects_string_constants(name: str) -> None:
    content: dict[str, Any] = {name: "s" if name == "value_string" else ["s"]}
    node = make_node("Constant", [], ["k"], **content)
    refused(model([node, relu()]), UnsupportedFeature, "string and sparse constants")


def test_rejects_other_refused_fields() -> None:
    tensor = TensorProto()
    tensor.CopyFrom(W)
    tensor.segment.begin = 0
    refused(model(constants=[tensor]), UnsupportedFeature)
    refused(changed(lambda m: m.configuration.add()), UnsupportedFeature)
    refused(changed(lambda m: m.graph.node[0].device_configurations.add()), UnsupportedFeature)
    refused(changed(lambda m: setattr(m.graph.node[0], "overload", "v")), UnsupportedFeature)


def _attribute(**fields: Any) -> ModelProto:
    made = model()
    attribute = made.graph.node[0].attribute.add()
    attribute.name = "a"
    for name, content in fields.items():
        setattr(attribute, name, content)
    return made


def test_rejects_attributes_without_type_or_with_two_contents() -> None:
    refused(_attribute(i=1), UnsupportedFeature, "attribute type 0")
    refused(_attribute(type=AttributeProto.FLOAT, i=1), MalformedModel, "holds i besides")
    refused(_attribute(type=AttributeProto.INT, i=1, s=b"x"), MalformedModel, "holds s besides")
    refused(_attribute(type=AttributeProto.INT, ref_attr_name="x"), UnsupportedFeature)
    refused(_attribute(type=AttributeProto.TYPE_PROTO), UnsupportedFeature, "attribute type 13")
    refused(_attribute(type=AttributeProto.TENSOR), BadTensor, "element type 0")
    inspect_model(_attribute(type=AttributeProto.INT, i=1).SerializeToString())


def test_rejects_attributes_without_name_or_with_one_twice() -> None:
    made = _attribute(type=AttributeProto.INT, i=1)
    made.graph.node[0].attribute.append(made.graph.node[0].attribute[0])
    refused(made, MalformedModel, "one that is taken")
    refused(_attribute(type=AttributeProto.INT, i=1, name=""), MalformedModel, "without a name")
