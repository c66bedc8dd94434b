"""Which models keep rows apart: each listed operator is run batched and alone, and each way to mix rows is seen."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import onnxruntime
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper

from caimi.bundle import onnx_rows
from caimi.bundle.onnx_inspect import inspect_model
from caimi.bundle.onnx_rows import keeps_rows_apart, row_dimension
from caimi.bundle.signature import DType, ModelSignature, TensorSpec
from tests.unit.bundle.onnx_models import constant, make_node, model, value

BOOL, INT64, UINT8 = TensorProto.BOOL, TensorProto.INT64, TensorProto.UINT8
IMAGE = ["N", 4, 6, 6]
MATRIX = ["N", 4]
CUBE = ["N", 3, 4]
RANDOM = np.random.default_rng(7)
_RULES: dict[str, Any] = onnx_rows._RULES


def ints(name: str, *values: int) -> TensorProto:
    return constant(name, np.array(values, np.int64))


def floats(name: str, *shape: int) -> TensorProto:
    return constant(name, RANDOM.random(shape, np.float32) + 0.5)


def made(
    nodes: list[NodeProto],
    shape: list[Any],
    *constants: TensorProto,
    kind: int = TensorProto.FLOAT,
    out: int = TensorProto.FLOAT,
    out_shape: list[Any] | None = None,
    opset: int = 20,
) -> ModelProto:
    # The output's trailing dimensions are only declared: the runtime finds its own.
    return model(
        nodes,
        inputs=[value("x", shape, kind)],
        outputs=[value("y", out_shape or shape, out)],
        constants=list(constants),
        opsets={"": opset},
    )


def one(name: str, shape: list[Any], *constants: TensorProto, **more: Any) -> ModelProto:
    """x and the constants through one operator."""
    places = {k: more.pop(k) for k in ("kind", "out", "out_shape", "opset") if k in more}
    node = make_node(name, ["x", *(c.name for c in constants)], ["y"], **more)
    return made([node], shape, *constants, **places)


def free(rank: int) -> list[Any]:
    return ["N", *(f"d{i}" for i in range(1, rank))]


UNARY = (
    "Abs Acos Acosh Asin Asinh Atan Atanh Ceil Celu Cos Cosh Elu Erf Exp Floor Gelu HardSigmoid HardSwish "
    "Identity LeakyRelu Log Mish Neg Reciprocal Relu Round Selu Shrink Sigmoid Sign Sin Sinh Softplus Softsign "
    "Sqrt Tan Tanh ThresholdedRelu"
)
BINARY = "Add Div Max Mean Min Mul PRelu Pow Sub Sum"
COMPARE = "Equal Greater GreaterOrEqual Less LessOrEqual"
REDUCE = (
    "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare"
)

APART: dict[str, ModelProto] = {
    **{name: one(name, MATRIX) for name in UNARY.split()},
    **{name: one(name, MATRIX, floats("w", 4)) for name in BINARY.split()},
    **{f"{name} of rank": one(name, MATRIX, floats("w", 1, 4)) for name in BINARY.split()},
    **{name: one(name, MATRIX, floats("w", 4), out=BOOL) for name in COMPARE.split()},
    **{name: one(name, MATRIX, ints("w", 3), kind=INT64, out=INT64, fmod=0) for name in ("Mod",)},
    **{
        name: one(name, MATRIX, constant("w", np.array([3], np.uint8)), kind=UINT8, out=UINT8)
        for name in ("BitwiseAnd", "BitwiseOr", "BitwiseXor")
    },
    "BitwiseNot": one("BitwiseNot", MATRIX, kind=UINT8, out=UINT8),
    **{name: one(name, MATRIX, constant("w", np.array([True])), kind=BOOL, out=BOOL) for name in ("And", "Or", "Xor")},
    "Not": one("Not", MATRIX, kind=BOOL, out=BOOL),
    "IsInf": one("IsInf", MATRIX, out=BOOL),
    "IsNaN": one("IsNaN", MATRIX, out=BOOL),
    "Cast": one("Cast", MATRIX, out=INT64, to=INT64),
    "Where": made(
        [make_node("Greater", ["x", "z"], ["b"]), make_node("Where", ["b", "x", "z"], ["y"])], MATRIX, floats("z")
    ),
    "Clip": one("Clip", MATRIX, floats("low"), floats("high")),
    "Dropout": one("Dropout", MATRIX),
    "Add rows": made([make_node("Relu", ["x"], ["h"]), make_node("Add", ["x", "h"], ["y"])], MATRIX),
    **{name: one(name, IMAGE, kernel_shape=[2, 2], out_shape=free(4)) for name in ("MaxPool", "AveragePool", "LpPool")},
    **{name: one(name, IMAGE, out_shape=free(4)) for name in ("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")},
    "LRN": one("LRN", IMAGE, size=3),
    "DepthToSpace": one("DepthToSpace", IMAGE, blocksize=2, out_shape=free(4)),
    "SpaceToDepth": one("SpaceToDepth", IMAGE, blocksize=2, out_shape=free(4)),
    "Conv": one("Conv", IMAGE, floats("w", 5, 4, 3, 3), floats("b", 5), out_shape=free(4)),
    "ConvTranspose": one("ConvTranspose", IMAGE, floats("w", 4, 5, 3, 3), out_shape=free(4)),
    "InstanceNormalization": one("InstanceNormalization", IMAGE, floats("s", 4), floats("b", 4)),
    "GroupNormalization": one("GroupNormalization", IMAGE, floats("s", 4), floats("b", 4), num_groups=2, opset=21),
    "BatchNormalization": one("BatchNormalization", IMAGE, *(floats(n, 4) for n in "sbmv")),
    **{name: one(name, MATRIX) for name in ("Softmax", "LogSoftmax", "Hardmax", "LpNormalization")},
    "LayerNormalization": one("LayerNormalization", CUBE, floats("s", 4), floats("b", 4)),
    "TopK": made([make_node("TopK", ["x", "k"], ["y", "i"])], MATRIX, ints("k", 2), out_shape=free(2)),
    "Split": made([make_node("Split", ["x", "s"], ["y", "z"], axis=1)], MATRIX, ints("s", 1, 3), out_shape=free(2)),
    "ArgMax": one("ArgMax", MATRIX, axis=1, keepdims=0, out=INT64, out_shape=["N"]),
    "ArgMin": one("ArgMin", MATRIX, axis=-1, out=INT64, out_shape=free(2)),
    **{name: one(name, CUBE, ints("a", 1, -1), keepdims=0, out_shape=["N"]) for name in REDUCE.split()},
    "ReduceMean by attribute": one("ReduceMean", CUBE, axes=[2], opset=17, out_shape=free(3)),
    "Gemm": one("Gemm", MATRIX, floats("w", 4, 3), floats("b", 3), out_shape=free(2)),
    "Gemm with a row": one("Gemm", MATRIX, floats("w", 3, 4), floats("b", 1, 3), transB=1, out_shape=free(2)),
    "MatMul": one("MatMul", MATRIX, floats("w", 4, 3), out_shape=free(2)),
    "MatMul vector": one("MatMul", MATRIX, floats("w", 4), out_shape=["N"]),
    "MatMul from the left": made([make_node("MatMul", ["w", "x"], ["y"])], CUBE, floats("w", 5, 3), out_shape=free(3)),
    "MatMul of rows": made(
        [make_node("Transpose", ["x"], ["t"], perm=[0, 2, 1]), make_node("MatMul", ["x", "t"], ["y"])],
        CUBE,
        out_shape=free(3),
    ),
    "Flatten": one("Flatten", IMAGE, out_shape=free(2)),
    "Flatten from the end": one("Flatten", IMAGE, axis=-3, out_shape=free(2)),
    "Reshape": one("Reshape", IMAGE, ints("s", 0, -1), out_shape=free(2)),
    "Concat": made([make_node("Concat", ["x", "x"], ["y"], axis=-1)], MATRIX, out_shape=free(2)),
    "Squeeze": made(
        [make_node("Unsqueeze", ["x", "a"], ["h"]), make_node("Squeeze", ["h", "a"], ["y"])], MATRIX, ints("a", 1)
    ),
    "Unsqueeze": one("Unsqueeze", MATRIX, ints("a", -1), out_shape=free(3)),
    "Slice": one("Slice", MATRIX, ints("s", 1), ints("e", 3), ints("a", 1), out_shape=free(2)),
    "Pad": one("Pad", MATRIX, ints("p", 0, 1, 0, 2), out_shape=free(2)),
    "Gather from rows": one("Gather", MATRIX, ints("i", 0, 2), axis=1, out_shape=free(2)),
    "Gather by rows": made(
        [make_node("Gather", ["w", "x"], ["y"])], MATRIX, floats("w", 9, 2), kind=INT64, out_shape=free(3)
    ),
    "QuantizeLinear": made(
        [make_node("QuantizeLinear", ["x", "s", "z"], ["q"]), make_node("DequantizeLinear", ["q", "s", "z"], ["y"])],
        MATRIX,
        floats("s"),
        constant("z", np.uint8(3)),
    ),
    "QuantizeLinear by channel": made(
        [make_node("QuantizeLinear", ["x", "s", "z"], ["q"]), make_node("DequantizeLinear", ["q", "s", "z"], ["y"])],
        MATRIX,
        floats("s", 4),
        constant("z", np.zeros(4, np.uint8)),
    ),
    "a constant node": made(
        [make_node("Constant", [], ["s"], value_ints=[0, 2, 2]), make_node("Reshape", ["x", "s"], ["y"])],
        MATRIX,
        out_shape=free(3),
    ),
    "constants among themselves": made(
        [make_node("Mul", ["v", "v"], ["vv"]), make_node("Relu", ["x"], ["y"])], MATRIX, floats("v", 4)
    ),
}


def _given(made_model: ModelProto, rows: int) -> np.ndarray[Any, Any]:
    declared = made_model.graph.input[0].type.tensor_type
    shape = [rows, *(d.dim_value for d in declared.shape.dim[1:])]
    if declared.elem_type == TensorProto.FLOAT:
        return RANDOM.random(shape, np.float32)
    kinds: dict[int, Any] = {BOOL: np.bool_, INT64: np.int64, UINT8: np.uint8}
    return RANDOM.integers(0, 2 if declared.elem_type == BOOL else 9, shape).astype(kinds[declared.elem_type])


@pytest.mark.parametrize("name", APART)
def test_rows_computed_together_are_those_computed_alone(name: str) -> None:
    data = APART[name].SerializeToString()
    assert inspect_model(data).keeps_rows_apart
    session = cast(Any, onnxruntime).InferenceSession(data, providers=["CPUExecutionProvider"])
    parts = [_given(APART[name], rows) for rows in (1, 2, 3)]
    together = session.run(["y"], {"x": np.concatenate(parts)})[0]
    alone = [session.run(["y"], {"x": part})[0] for part in parts]
    assert [len(one) for one in alone] == [1, 2, 3]
    np.testing.assert_allclose(together, np.concatenate(alone), rtol=1e-5, atol=1e-6)


def test_every_listed_operator_is_run() -> None:
    assert {node.op_type for m in APART.values() for node in m.graph.node} >= set(_RULES)


def _two_outputs(name: str, shape: list[Any], **more: Any) -> ModelProto:
    return made([make_node(name, ["x"], ["y", "more"], **more)], shape, out_shape=free(len(shape)))


MIXED: dict[str, ModelProto] = {
    "sum over rows": one("ReduceSum", MATRIX, ints("a", 0)),
    "sum over rows from the end": one("ReduceSum", MATRIX, ints("a", -2)),
    "sum over everything": one("ReduceSum", MATRIX),
    "axes that are not constant": made(
        [make_node("Cast", ["x"], ["a"], to=INT64), make_node("ReduceSum", ["x", "a"], ["y"])], ["N"]
    ),
    "axes said twice": one("ReduceSum", MATRIX, ints("a", 0), axes=[1]),
    "softmax over rows": one("Softmax", MATRIX, axis=0),
    "softmax of a vector": one("Softmax", ["N"]),
    "layer normalization over rows": one("LayerNormalization", MATRIX, floats("s", 1, 4), axis=0),
    "layer normalization by place": one("LayerNormalization", MATRIX, floats("s", 2, 4)),
    "best row": one("ArgMax", MATRIX, out=INT64),
    "reversed order": one("Slice", MATRIX, ints("s", -1), ints("e", -9), ints("a", 0), ints("t", -1)),
    "slice of all axes": one("Slice", MATRIX, ints("s", 0, 0), ints("e", 1, 4)),
    "transposition": one("Transpose", ["N", "M"], perm=[1, 0]),
    "transposition by default": one("Transpose", ["N", "M"]),
    "row joined to row": made([make_node("Concat", ["x", "x"], ["y"], axis=0)], MATRIX),
    "joined to a constant": one("Concat", MATRIX, floats("w", 2, 4), axis=1),
    "split between rows": made([make_node("Split", ["x", "s"], ["y", "z"])], MATRIX, ints("s", 1, 1)),
    "rows by place": one("Gather", MATRIX, ints("i", 0), axis=0),
    "flattened over rows": one("Flatten", MATRIX, axis=0, out_shape=free(2)),
    "flattened beyond rows": one("Flatten", IMAGE, axis=2, out_shape=free(2)),
    "reshaped": one("Reshape", MATRIX, ints("s", -1, 4)),
    "reshaped with a real zero": one("Reshape", MATRIX, ints("s", 0, 4), allowzero=1),
    "reshaped by itself": made([make_node("Shape", ["x"], ["s"]), make_node("Reshape", ["x", "s"], ["y"])], MATRIX),
    "padded with rows": one("Pad", MATRIX, ints("p", 1, 0, 0, 0)),
    "padded with rows behind": one("Pad", MATRIX, ints("p", 0, 0, 1, 0)),
    "unsqueezed in front": one("Unsqueeze", MATRIX, ints("a", 0), out_shape=free(3)),
    "squeezed rows": one("Squeeze", MATRIX, ints("a", 0), out_shape=["N"]),
    "rows times rows": made(
        [make_node("Transpose", ["x"], ["t"], perm=[1, 0]), make_node("MatMul", ["x", "t"], ["y"])], ["N", "M"]
    ),
    "square of rows": made([make_node("MatMul", ["x", "x"], ["y"])], MATRIX),
    "rows summed by a matrix": made([make_node("MatMul", ["w", "x"], ["y"])], MATRIX, floats("w", 2, 2)),
    "Gemm of columns": one("Gemm", MATRIX, floats("w", 4, 4), transA=1),
    "Gemm by rows": made([make_node("Gemm", ["x", "x"], ["y"])], MATRIX),
    "Gemm with rows of its own": one("Gemm", MATRIX, floats("w", 4, 4), floats("b", 2, 4)),
    "a constant with rows": one("Add", MATRIX, floats("w", 2, 4)),
    "a constant of more dimensions": one("Add", MATRIX, floats("w", 2, 1, 4), out_shape=free(3)),
    "a constant of unknown shape": made(
        [make_node("Mul", ["v", "v"], ["vv"]), make_node("Add", ["x", "vv"], ["y"])], MATRIX, floats("v", 2, 4)
    ),
    "rows against columns": made(
        [make_node("ReduceSum", ["x", "a"], ["h"], keepdims=0), make_node("Add", ["x", "h"], ["y"])],
        ["N", "M"],
        ints("a", 1),
    ),
    "trained normalization": one("BatchNormalization", IMAGE, *(floats(n, 4) for n in "sbmv"), training_mode=1),
    "trained dropout": one("Dropout", MATRIX, floats("r"), constant("t", np.array(True))),
    "counted over the batch": _two_outputs("MaxPool", IMAGE, kernel_shape=[2, 2]),
    "scale of the batch": made(
        [
            make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
            make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
        ],
        MATRIX,
    ),
    "scale by row": one(
        "QuantizeLinear", MATRIX, floats("s", 2), constant("z", np.zeros(2, np.uint8)), axis=0, out=UINT8
    ),
    "weights from rows": made(
        [make_node("Unsqueeze", ["x", "a"], ["w"]), make_node("Conv", ["p", "w"], ["y"])],
        ["N", 1, 1],
        ints("a", 3),
        floats("p", 1, 1, 3, 3),
        out_shape=free(4),
    ),
    "what is not on the list": one("CumSum", MATRIX, constant("a", np.array(0))),
    "noise": made([make_node("RandomNormal", [], ["r"], shape=[1, 4]), make_node("Add", ["x", "r"], ["y"])], MATRIX),
    "a branch": made(
        [
            make_node(
                "If",
                ["c"],
                ["y"],
                then_branch=helper.make_graph([make_node("Relu", ["x"], ["a"])], "t", [], [value("a", MATRIX)]),
                else_branch=helper.make_graph([make_node("Neg", ["x"], ["b"])], "e", [], [value("b", MATRIX)]),
            )
        ],
        MATRIX,
        constant("c", np.array(True)),
    ),
    "a constant answer": made([make_node("Identity", ["w"], ["y"])], MATRIX, floats("w", 2, 4)),
}


@pytest.mark.parametrize("name", MIXED)
def test_a_model_that_may_mix_rows_is_run_alone(name: str) -> None:
    assert not inspect_model(MIXED[name].SerializeToString()).keeps_rows_apart


def _signature(*shapes: tuple[int | str, ...]) -> ModelSignature:
    specs = [TensorSpec(name=f"t{i}", dtype=DType.FLOAT32, shape=shape) for i, shape in enumerate(shapes)]
    return ModelSignature(inputs=tuple(specs[:-1]), outputs=(specs[-1],))


def test_rows_are_one_free_dimension_in_front() -> None:
    assert row_dimension(_signature(("N", 2), ("N", "M"), ("N",))) == "N"
    for shapes in (
        ((3, 2), (3,)),
        (("?", 2), ("?",)),
        (("N", 2), ("M",)),
        (("N", 2), (1,)),
        (("N", 2), ()),
        (("N", "N"), ("N",)),
        (("N", 2), ("N", "N")),
        (("N", 2), ("M", 2), ("N",)),
    ):
        assert row_dimension(_signature(*shapes)) is None
    graph = one("Relu", MATRIX).graph
    assert not keeps_rows_apart(graph, _signature((3, 2), (3,)))
    # An input that has a default is a constant too: which of the two it is, nobody says.
    graph.initializer.append(floats("t0", 1, 4))
    assert not keeps_rows_apart(graph, _signature(("N", 4), ("N", 4)))
