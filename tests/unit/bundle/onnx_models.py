"""Small models for the tests of the inspection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import onnx
import pytest
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from caimi.bundle.onnx_errors import ModelRefused
from caimi.bundle.onnx_inspect import InspectionLimits, inspect_model
from caimi.types.failure import Blame, Certainty, Retry

__all__ = ["changed", "conditional", "constant", "graph_of", "make_node", "model", "refused", "relu", "value"]


def make_node(kind: str, inputs: list[str], outputs: list[str], *, domain: str = "", **attributes: Any) -> NodeProto:
    """A node with any attributes, also ones that its operator does not have."""
    return cast(Any, helper).make_node(kind, inputs, outputs, domain=domain, **attributes)


def value(name: str, shape: list[Any] | None = None, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    """A tensor's declaration; no shape when `shape` is None."""
    return helper.make_tensor_value_info(name, kind, shape)


def relu(source: str = "x", target: str = "y") -> NodeProto:
    """The simplest node."""
    return make_node("Relu", [source], [target])


def model(
    nodes: list[NodeProto] | None = None,
    *,
    inputs: list[onnx.ValueInfoProto] | None = None,
    outputs: list[onnx.ValueInfoProto] | None = None,
    constants: list[TensorProto] | None = None,
    opsets: dict[str, int] | None = None,
    ir_version: int = 10,
) -> ModelProto:
    """x -> Relu -> y, with any part replaced."""
    graph = helper.make_graph(
        [relu()] if nodes is None else nodes,
        "g",
        [value("x", ["N", 3])] if inputs is None else inputs,
        [value("y", ["N", 3])] if outputs is None else outputs,
        constants or [],
    )
    imports = [helper.make_opsetid(d, v) for d, v in ({"": 17} if opsets is None else opsets).items()]
    return helper.make_model(graph, opset_imports=imports, ir_version=ir_version)


def graph_of(nodes: list[NodeProto], output: str) -> GraphProto:
    """A branch: no inputs, one output."""
    return helper.make_graph(nodes, "branch", [], [value(output, ["N", 3])])


def conditional(depth: int) -> NodeProto:
    """An If whose branches hold Ifs, `depth` graphs deep; gives y0."""
    node = relu("x", "inner")
    target = "inner"
    for level in range(depth, 0, -1):
        then, other = (graph_of([_rename(node, side)], target + side) for side in ("t", "e"))
        target = f"y{level - 1}"
        node = make_node("If", ["c"], [target], then_branch=then, else_branch=other)
    return node


def _rename(node: NodeProto, suffix: str) -> NodeProto:
    renamed = NodeProto()
    renamed.CopyFrom(node)
    renamed.output[0] += suffix
    return renamed


def constant(name: str, array: Any) -> TensorProto:
    """A tensor with raw data."""
    return numpy_helper.from_array(np.asarray(array), name)


def changed(change: Callable[[ModelProto], object]) -> ModelProto:
    """x -> Relu -> y after a change."""
    made = model()
    change(made)
    return made


def refused(
    made: ModelProto | bytes, error: type[ModelRefused], match: str | None = None, **limits: Any
) -> ModelRefused:
    """Assert that the inspection refuses with exactly this class, and give the error."""
    data = made if isinstance(made, bytes) else made.SerializeToString()
    with pytest.raises(ModelRefused, match=match) as caught:
        inspect_model(data, limits=InspectionLimits(**limits))
    assert type(caught.value) is error
    assert (caught.value.blame, caught.value.certainty) == (Blame.PUBLISHER, Certainty.PROVEN)
    assert caught.value.retry is Retry.NEVER
    assert caught.value.hint
    return caught.value
