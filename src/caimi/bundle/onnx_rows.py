"""Whether a model keeps rows apart: row i of every output depends on row i of the inputs only (spec 15 §7).

Inputs of several callers may share a batch only then: any other model could give one caller what another one asked.
Shown operator by operator from a list; a model with anything that is not on it, or not shown, counts as one that mixes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from onnx import AttributeProto, GraphProto, NodeProto, TensorProto, numpy_helper

from caimi.bundle.signature import ModelSignature

__all__ = ["keeps_rows_apart", "row_dimension"]

_MAX_INDEX_ELEMENTS: Final = 64
_ALIAS: Final = "ai.onnx"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Constant:
    # The same for every input. None: of unknown shape, or a value that was not read.
    shape: tuple[int, ...] | None = None
    values: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    # Its first dimension is that of the inputs, and its row i depends on their row i only.
    rank: int


_Value = _Constant | _Rows


class _Mixes(Exception):
    # Nothing is known of what comes out.
    pass


@dataclass(frozen=True, slots=True)
class _Call:
    # One node with what is known of its inputs; None for an input that is left out.
    node: NodeProto
    inputs: tuple[_Value | None, ...]

    def integer(self, name: str, default: int) -> int:
        return next((a.i for a in self.node.attribute if a.name == name and a.type == AttributeProto.INT), default)

    def integers(self, name: str) -> tuple[int, ...] | None:
        return next((tuple(a.ints) for a in self.node.attribute if a.name == name), None)

    def rows(self, place: int = 0) -> _Rows:
        value = self.inputs[place] if place < len(self.inputs) else None
        return _need(value if isinstance(value, _Rows) else None)

    def constant(self, place: int) -> _Constant | None:
        # None if it is left out.
        value = self.inputs[place] if place < len(self.inputs) else None
        if isinstance(value, _Rows):
            raise _Mixes
        return value

    def rest_constant(self, first: int = 1) -> None:
        for place in range(first, len(self.inputs)):
            self.constant(place)

    def axis(self, rank: int, default: int, name: str = "axis") -> int:
        return _normal(self.integer(name, default), rank)


def _need(value: Any) -> Any:
    if value is None:
        raise _Mixes
    return value


def _normal(axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        raise _Mixes
    return axis % rank


def row_dimension(signature: ModelSignature) -> str | None:
    """The free dimension that comes first in every input and output, and nowhere else; None if there is none."""
    specs = (*signature.inputs, *signature.outputs)
    firsts = {spec.shape[0] if spec.shape else 1 for spec in specs}
    first = firsts.pop() if len(firsts) == 1 else None
    if not isinstance(first, str) or first == "?" or any(first in spec.shape[1:] for spec in specs):
        return None
    return first


def keeps_rows_apart(graph: GraphProto, signature: ModelSignature) -> bool:
    """Whether inputs may be joined along their first dimension, and outputs cut, without anybody seeing a difference.

    Arguments:
        graph: of a model that was inspected.
        signature: what the inspection found.
    """
    if row_dimension(signature) is None:
        return False
    known: dict[str, _Value] = {spec.name: _Rows(rank=len(spec.shape)) for spec in signature.inputs}
    for tensor in graph.initializer:
        if tensor.name in known:
            return False
        known[tensor.name] = _constant(tensor)
    try:
        for node in graph.node:
            _step(node, known)
        return all(isinstance(known.get(spec.name), _Rows) for spec in signature.outputs)
    except _Mixes:
        return False


def _step(node: NodeProto, known: dict[str, _Value]) -> None:
    call = _Call(node, tuple(known[name] if name else None for name in node.input))
    outputs = [name for name in node.output if name]
    if node.op_type == "Constant":
        known.update(dict.fromkeys(outputs, _constant_node(node)))
        return
    if any(a.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) for a in node.attribute) or not node.input:
        raise _Mixes
    if not any(isinstance(value, _Rows) for value in call.inputs):
        known.update(dict.fromkeys(outputs, _Constant()))
        return
    rule = _RULES.get(node.op_type) if node.domain in ("", _ALIAS) else None
    if rule is None:
        raise _Mixes
    # Further outputs, such as the indices of a pooling or the mask of a dropout, may count over the whole batch.
    if len(node.output) > 1 and node.op_type not in _MANY_OUTPUTS:
        raise _Mixes
    found = rule(call)
    known.update(dict.fromkeys(outputs, found))


def _constant(tensor: TensorProto) -> _Constant:
    shape = tuple(tensor.dims)
    is_index = tensor.data_type in (TensorProto.INT64, TensorProto.INT32) and len(shape) <= 1
    if not is_index or tensor.data_location != TensorProto.DEFAULT or sum(shape) > _MAX_INDEX_ELEMENTS:
        return _Constant(shape=shape)
    return _Constant(shape=shape, values=tuple(int(v) for v in numpy_helper.to_array(tensor).reshape(-1)))


def _constant_node(node: NodeProto) -> _Constant:
    for attribute in node.attribute:
        if attribute.type == AttributeProto.TENSOR:
            return _constant(attribute.t)
        if attribute.name == "value_ints":
            return _Constant(shape=(len(attribute.ints),), values=tuple(attribute.ints))
        if attribute.name == "value_int":
            return _Constant(shape=(), values=(attribute.i,))
        if attribute.name == "value_float":
            return _Constant(shape=())
        if attribute.name == "value_floats":
            return _Constant(shape=(len(attribute.floats),))
    return _Constant()


# --- rules: what is known of the outputs, or _Mixes


def _same(call: _Call) -> _Rows:
    # One tensor, and parameters that are the same for every row.
    call.rest_constant()
    return call.rows()


def _alone(call: _Call) -> _Rows:
    if len(call.inputs) != 1:
        raise _Mixes
    return call.rows()


def _broadcast(call: _Call) -> _Rows:
    # Dimensions are aligned at the end, so the rows of all must lie at the same place.
    ranks = {value.rank for value in call.inputs if isinstance(value, _Rows)}
    rank = max(ranks)
    for value in call.inputs:
        if value is None or (isinstance(value, _Rows) and value.rank != rank):
            raise _Mixes
        if isinstance(value, _Constant):
            shape = _need(value.shape)
            if len(shape) > rank or (len(shape) == rank and shape[0] != 1):
                raise _Mixes
    return _Rows(rank=rank)


def _batch_normalization(call: _Call) -> _Rows:
    if call.integer("training_mode", 0):
        raise _Mixes
    return _same(call)


def _dropout(call: _Call) -> _Rows:
    if len(call.inputs) > 2:  # the third says that it is trained
        raise _Mixes
    return _same(call)


def _gemm(call: _Call) -> _Rows:
    bias = call.constant(2)
    call.constant(1)
    if call.rows().rank != 2 or call.integer("transA", 0):
        raise _Mixes
    if bias is not None:
        shape = _need(bias.shape)
        if len(shape) == 2 and shape[0] != 1:
            raise _Mixes
    return _Rows(rank=2)


def _matmul(call: _Call) -> _Rows:
    left, right = call.inputs
    if isinstance(left, _Rows) and isinstance(right, _Rows):
        if left.rank != right.rank or left.rank < 3:
            raise _Mixes
        return left
    if isinstance(left, _Rows):
        width = len(_need(_need(call.constant(1)).shape))
        if left.rank < 2 or width > 2:
            raise _Mixes
        return _Rows(rank=left.rank - (width == 1))
    rows = call.rows(1)
    if rows.rank < 3 or len(_need(_need(call.constant(0)).shape)) != 2:
        raise _Mixes
    return rows


def _along_axis(default: int) -> Callable[[_Call], _Rows]:
    # Something is done along one axis, which must not be that of the rows.
    def rule(call: _Call) -> _Rows:
        rows = _same(call)
        if call.axis(rows.rank, default) == 0:
            raise _Mixes
        return rows

    return rule


def _layer_normalization(call: _Call) -> _Rows:
    rows = _along_axis(-1)(call)
    for place in range(1, len(call.inputs)):
        parameter = call.constant(place)
        if parameter is not None and len(_need(parameter.shape)) >= rows.rank:
            raise _Mixes
    return rows


def _arg(call: _Call) -> _Rows:
    rows = _along_axis(0)(call)
    return rows if call.integer("keepdims", 1) else _Rows(rank=rows.rank - 1)


def _flatten(call: _Call) -> _Rows:
    rows = _alone(call)
    axis = call.integer("axis", 1)
    if (axis + rows.rank if axis < 0 else axis) != 1:
        raise _Mixes
    return _Rows(rank=2)


def _reshape(call: _Call) -> _Rows:
    # 0 copies the number of rows; the rest is then the rest of each row.
    call.rows()
    target = _need(_need(call.constant(1)).values)
    if call.integer("allowzero", 0) or not target or target[0] != 0:
        raise _Mixes
    return _Rows(rank=len(target))


def _transpose(call: _Call) -> _Rows:
    rows = _alone(call)
    order = _need(call.integers("perm"))
    if not order or order[0] != 0:
        raise _Mixes
    return rows


def _concat(call: _Call) -> _Rows:
    ranks = {value.rank if isinstance(value, _Rows) else -1 for value in call.inputs}
    rank = ranks.pop()
    if ranks or rank < 0 or call.axis(rank, 0) == 0:
        raise _Mixes
    return _Rows(rank=rank)


def _axes(call: _Call, place: int, rank: int) -> tuple[int, ...]:
    # Of an attribute, or of an input since later operator sets; all of them if it is left out, which mixes.
    given, fed = call.integers("axes"), call.constant(place)
    if (given is None) == (fed is None):
        raise _Mixes
    if fed is not None:
        given = _need(fed.values)
    axes = tuple(_normal(axis, rank) for axis in _need(given))
    if not axes or 0 in axes:
        raise _Mixes
    return axes


def _reduce(call: _Call) -> _Rows:
    rows = _same(call)
    axes = _axes(call, 1, rows.rank)
    return rows if call.integer("keepdims", 1) else _Rows(rank=rows.rank - len(set(axes)))


def _squeeze(call: _Call) -> _Rows:
    rows = call.rows()
    return _Rows(rank=rows.rank - len(set(_axes(call, 1, rows.rank))))


def _unsqueeze(call: _Call) -> _Rows:
    rows = call.rows()
    rank = rows.rank + len(_need(_need(call.constant(1)).values))
    _axes(call, 1, rank)
    return _Rows(rank=rank)


def _slice(call: _Call) -> _Rows:
    rows = _same(call)
    _axes(call, 3, rows.rank)
    return rows


def _pad(call: _Call) -> _Rows:
    rows = _same(call)
    pads = _need(_need(call.constant(1)).values)
    if len(call.inputs) > 3 or len(pads) != 2 * rows.rank or pads[0] or pads[rows.rank]:
        raise _Mixes
    return rows


def _gather(call: _Call) -> _Rows:
    data, indices = call.inputs
    if isinstance(data, _Rows):
        width = len(_need(_need(call.constant(1)).shape))
        if call.axis(data.rank, 0) == 0:
            raise _Mixes
        return _Rows(rank=data.rank - 1 + width)
    table = len(_need(_need(call.constant(0)).shape))
    if not isinstance(indices, _Rows) or not table or call.axis(table, 0) != 0:
        raise _Mixes
    return _Rows(rank=table - 1 + indices.rank)


def _quantize(call: _Call) -> _Rows:
    rows = _same(call)
    scale = _need(_need(call.constant(1)).shape)
    if scale and (len(scale) != 1 or call.axis(rows.rank, 1) == 0 or call.integer("block_size", 0)):
        raise _Mixes
    return rows


def _rules(names: str, rule: Callable[[_Call], _Rows]) -> dict[str, Callable[[_Call], _Rows]]:
    return dict.fromkeys(names.split(), rule)


_UNARY: Final = (
    "Abs Acos Acosh Asin Asinh Atan Atanh Cast Ceil Celu Cos Cosh Elu Erf Exp Floor Gelu HardSigmoid HardSwish "
    "Identity IsInf IsNaN LeakyRelu Log Mish Neg Not Reciprocal Relu Round Selu Shrink Sigmoid Sign Sin Sinh Softplus "
    "Softsign Sqrt Tan Tanh ThresholdedRelu BitwiseNot "
    # Each row is a picture with its channels.
    "AveragePool GlobalAveragePool GlobalMaxPool GlobalLpPool LRN LpPool MaxPool DepthToSpace SpaceToDepth"
)
_ELEMENTWISE: Final = (
    "Add And Div Equal Greater GreaterOrEqual Less LessOrEqual Max Mean Min Mod Mul Or PRelu Pow Sub Sum Where Xor "
    "BitwiseAnd BitwiseOr BitwiseXor"
)
_REDUCTIONS: Final = (
    "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare"
)
_RULES: Final[dict[str, Callable[[_Call], _Rows]]] = {
    **_rules(_UNARY, _alone),
    **_rules(_ELEMENTWISE, _broadcast),
    **_rules("Conv ConvTranspose InstanceNormalization GroupNormalization", _same),
    **_rules("Softmax LogSoftmax Hardmax LpNormalization TopK", _along_axis(-1)),
    **_rules("Split", _along_axis(0)),
    **_rules("ArgMax ArgMin", _arg),
    **_rules(_REDUCTIONS, _reduce),
    "Clip": _same,
    "LayerNormalization": _layer_normalization,
    "BatchNormalization": _batch_normalization,
    "Dropout": _dropout,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Transpose": _transpose,
    "Concat": _concat,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Slice": _slice,
    "Pad": _pad,
    "Gather": _gather,
    **_rules("QuantizeLinear DequantizeLinear", _quantize),
}
_MANY_OUTPUTS: Final = frozenset({"Split", "TopK"})
