"""Writing ONNX graphs by hand: opset 17, IR 10, weights inside."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

__all__ = ["initializer", "linear", "save"]

Shape = tuple[str, list[int | str | None]]


def initializer(name: str, value: NDArray[Any]) -> Any:
    """A weight."""
    return numpy_helper.from_array(value, name)


def linear(
    source: str, target: str, weight: NDArray[np.float32], bias: NDArray[np.float32], *, rectify: bool
) -> tuple[list[Any], list[Any]]:
    """target = source @ weight + bias, cut at zero if `rectify`; nodes and initializers."""
    raw = f"{target}.raw" if rectify else target
    nodes = [helper.make_node("Gemm", [source, f"{target}.weight", f"{target}.bias"], [raw])]
    if rectify:
        nodes.append(helper.make_node("Relu", [raw], [target]))
    return nodes, [initializer(f"{target}.weight", weight), initializer(f"{target}.bias", bias)]


def save(name: str, nodes: list[Any], initializers: list[Any], given: Shape, result: Shape) -> bytes:
    """Serialise a checked model with one float input and one float output; a None in a shape is the batch."""

    def value(shape: Shape) -> Any:
        return helper.make_tensor_value_info(
            shape[0], TensorProto.FLOAT, ["batch" if d is None else d for d in shape[1]]
        )

    graph = helper.make_graph(nodes, name, [value(given)], [value(result)], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10, producer_name="caimi")
    return model.SerializeToString()
