"""Models whose tensors, interface or names are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper

from caimi.bundle.onnx_errors import BadInterface, BadTensor, MalformedModel, UnsupportedFeature
from caimi.bundle.onnx_inspect import inspect_model
from tests.unit.bundle.onnx_models import changed, constant, graph_of, make_node, model, refused, relu, value

W = constant("w", np.ones(4, np.float32))


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"dims": [-1]}, "a dimension of -1"),
        ({"dims": [2**63 - 1]}, "a dimension of"),
        ({"dims": [2**31]}, "a dimension of"),
        ({"dims": [2**30, 2**30]}, "more than"),
        ({"dims": [2**30, 2**30, 0]}, "more than"),
        ({"dims": [1] * 17}, "17 dimensions"),
        ({"dims": [5]}, "5 elements of 32 bits announced"),
        ({"dims": [3]}, "3 elements of 32 bits announced"),
        ({"dims": []}, "1 elements of 32 bits announced"),
        ({"dims": [0]}, "0 elements of 32 bits announced"),
        ({"data_type": TensorProto.UNDEFINED}, "element type 0"),
        ({"data_type": TensorProto.COMPLEX64}, "element type 14"),
        ({"data_type": TensorProto.FLOAT4E2M1}, "element type 23"),
        ({"data_type": 99}, "element type 99"),
        ({"data_type": TensorProto.DOUBLE}, "4 elements of 64 bits announced"),
        ({"float_data": [1.0] * 4}, "more than one field"),
        ({"int64_data": [1] * 4}, "more than one field"),
        ({"raw_data": b"", "float_data": [1.0] * 3}, "announced, 3 found"),
        ({"raw_data": b"", "double_data": [1.0] * 4}, "the wrong one"),
    ],
)
def test_rejects_tensors_that_do_not_hold_what_they_say(fields: dict[str, Any], match: str) -> None:
    tensor = TensorProto()
    tensor.CopyFrom(W)
    for name, content in fields.items():
        if isinstance(content, list):
            del getattr(tensor, name)[:]
            getattr(tensor, name).extend(content)
        else:
            setattr(tensor, name, content)
    assert refused(model(constants=[tensor]), BadTensor, match).where == "graph.initializer 'w'"


@pytest.mark.parametrize(
    ("shape", "match"),
    [([-1], "a dimension of -1"), ([2**31], "a dimension of"), ([2**30, 2**30], "more than"), ([1] * 17, "17 dim")],
)
def test_rejects_declared_shapes(shape: list[int], match: str) -> None:
    refused(model(inputs=[value("x", shape)]), BadTensor, match)
    refused(model(outputs=[value("y", shape)]), BadTensor, match)
    made = model([relu("x", "h"), relu("h", "y")])
    made.graph.value_info.append(value("h", shape))
    refused(made, BadTensor, match)


def test_rejects_inner_values_of_refused_types() -> None:
    made = model([relu("x", "h"), relu("h", "y")])
    made.graph.value_info.append(value("h", [1], TensorProto.STRING))
    refused(made, BadTensor, "element type 8")


# --- interface and names


def test_rejects_a_model_without_inputs_or_outputs() -> None:
    made = model([relu("w", "y")], inputs=[], constants=[W])
    assert refused(made, BadInterface, "0 tensors").where == "graph.input"
    only_default = model([relu("w", "y")], inputs=[value("w", [4])], constants=[W])
    refused(only_default, BadInterface, "0 tensors")
    assert refused(model(outputs=[]), BadInterface, "0 tensors").where == "graph.output"
    refused(ModelProto(ir_version=10, opset_import=[helper.make_opsetid("", 17)]), BadInterface)


def test_rejects_more_inputs_than_the_limit() -> None:
    inputs = [value("x", [1])] + [value(f"i{n}", [1]) for n in range(256)]
    refused(model(inputs=inputs), BadInterface, "257 tensors")


@pytest.mark.parametrize("kind", [TensorProto.STRING, TensorProto.COMPLEX128, TensorProto.FLOAT8E5M2, 0])
def test_rejects_interfaces_of_other_element_types(kind: int) -> None:
    refused(model(inputs=[value("x", [1], kind)]), BadInterface, f"element type {kind}")
    refused(model(outputs=[value("y", [1], kind)]), BadInterface, f"element type {kind}")


def test_rejects_interfaces_that_are_no_tensor_or_have_no_shape() -> None:
    refused(model(inputs=[value("x")]), BadInterface, "no shape")
    refused(model(outputs=[value("y")]), BadInterface, "no shape")
    refused(changed(lambda m: m.graph.input[0].ClearField("type")), BadInterface, "no tensor type")
    sequence = helper.make_tensor_sequence_value_info("x", TensorProto.FLOAT, [1])
    refused(model(inputs=[sequence]), UnsupportedFeature)


@pytest.mark.parametrize("name", ["a\nb", "n" * 257, "\u202e"])
def test_rejects_names_that_cannot_be_shown(name: str) -> None:
    refused(model([relu(name, "y")], inputs=[value(name, [1])]), BadInterface, "printable")
    refused(model(inputs=[value("x", [name])]), BadInterface, "printable")


@pytest.mark.parametrize(
    "made",
    [
        model(inputs=[value("x", [1]), value("x", [1])]),
        model(inputs=[value("x", [1]), value("", [1])]),
        model([relu(), relu()]),
        model([relu("x", "x")]),
        model(constants=[W, W]),
        model([relu("x", "w"), relu()], constants=[W]),
        model(constants=[constant("", np.ones(1, np.float32))]),
        model(inputs=[value("x", [1]), value("w", [4])], constants=[W, W]),
    ],
)
def test_rejects_values_defined_twice_or_without_name(made: ModelProto) -> None:
    refused(made, MalformedModel, "no name or one that is taken")


@pytest.mark.parametrize(
    "made",
    [
        model([relu("z", "y")]),
        model([relu("h", "y"), relu("x", "h")]),
        model([relu("y", "y")]),
        model(outputs=[value("z", [1])]),
        model([relu("inner", "y")], constants=[W]),
    ],
)
def test_rejects_values_used_before_they_are_defined(made: ModelProto) -> None:
    refused(made, MalformedModel, "used before it is defined")


def test_rejects_an_output_declared_twice() -> None:
    refused(model(outputs=[value("y", [1]), value("y", [1])]), BadInterface, "one name")


def test_a_branch_sees_outer_values_but_not_the_other_way_round() -> None:
    inputs = [value("x", ["N", 3]), value("c", [], TensorProto.BOOL)]
    branches: dict[str, Any] = {
        "then_branch": graph_of([relu("x", "t")], "t"),
        "else_branch": graph_of([relu("x", "e")], "e"),
    }
    node = make_node("If", ["c"], ["h"], **branches)
    inspect_model(model([node, relu("h", "y")], inputs=inputs).SerializeToString())
    refused(model([node, relu("t", "y")], inputs=inputs), MalformedModel, "used before it is defined")
    shadow: dict[str, Any] = {**branches, "then_branch": graph_of([relu("c", "x")], "x")}
    refused(model([make_node("If", ["c"], ["y"], **shadow)], inputs=inputs), MalformedModel, "one that is taken")
