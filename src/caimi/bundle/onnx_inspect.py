"""Inspection of an ONNX model before any runtime sees it (spec 15 §7)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final

import onnx
import onnx.defs
from google.protobuf.message import DecodeError
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto

from caimi.bundle.buffers import BytesLike
from caimi.bundle.onnx_errors import (
    BadInterface,
    CustomOperator,
    MalformedModel,
    ModelFileTooLarge,
    ModelTooLarge,
    SignatureMismatch,
    UnsupportedFeature,
    UnsupportedVersion,
)
from caimi.bundle.onnx_external import ExternalFiles, SizeOf, no_external_files
from caimi.bundle.onnx_rows import keeps_rows_apart
from caimi.bundle.onnx_scan import ModelSource, scan_model
from caimi.bundle.onnx_tensors import check_inner_type, checked_tensor_bytes, tensor_spec
from caimi.bundle.signature import MAX_NAME_CHARS, MAX_TENSORS, ModelSignature, TensorSpec

__all__ = [
    "DEFAULT_LIMITS",
    "IR_VERSIONS",
    "MAX_FILE_BYTES",
    "OPSETS",
    "ControlFlow",
    "InspectedModel",
    "InspectionLimits",
    "check_file_size",
    "inspect_model",
    "verify_signature",
]

IR_VERSIONS: Final = range(7, 11)
"""IR versions accepted."""
OPSETS: Final = {"": range(17, 22), "ai.onnx.ml": range(3, 6)}
"""Operator-set versions accepted by domain; "ai.onnx" is another name of ""."""

MAX_FILE_BYTES: Final = (1 << 31) - 1
"""What protocol buffers hold in one message, and so a model in one file. Data files may be of any size."""

_ALIAS: Final = "ai.onnx"
_LOOPS: Final = frozenset({"Loop", "Scan", "SequenceMap"})
_STRING_CONSTANTS: Final = frozenset({"value_string", "value_strings", "sparse_value"})
# The field of an attribute that its type selects; types that are not here are refused.
_ATTRIBUTE_FIELDS: Final[dict[int, str]] = {
    AttributeProto.FLOAT: "f",
    AttributeProto.INT: "i",
    AttributeProto.STRING: "s",
    AttributeProto.TENSOR: "t",
    AttributeProto.GRAPH: "g",
    AttributeProto.FLOATS: "floats",
    AttributeProto.INTS: "ints",
    AttributeProto.STRINGS: "strings",
    AttributeProto.TENSORS: "tensors",
    AttributeProto.GRAPHS: "graphs",
}
_ATTRIBUTE_META: Final = frozenset({"name", "type", "doc_string"})


class ControlFlow(Enum):
    """Which operators with inner graphs are served."""

    NONE = "none"
    IF_ONLY = "if-only"
    """If. Loop, Scan and SequenceMap are refused: nothing bounds how long they run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectionLimits:
    """How much a model may be. The host takes these from its configuration."""

    model_bytes: int = MAX_FILE_BYTES
    """Size of the file; more than `MAX_FILE_BYTES` has no effect."""
    graph_bytes: int = 1 << 26
    """Bytes of the file without the data of constants of more than 1 KiB; bounds the memory of the inspection."""
    tensor_bytes: int = MAX_FILE_BYTES
    """Bytes of all constant tensors in the file together."""
    external_bytes: int = 1 << 40
    """Bytes of all constant tensors in data files together."""
    fields: int = 2_000_000
    """Fields of all protocol-buffer messages together; bounds time and memory of the inspection."""
    nodes: int = 100_000
    """Nodes of all graphs together."""
    depth: int = 4
    """Nesting of graphs inside graphs, 0 <= x <= 8."""
    control_flow: ControlFlow = ControlFlow.IF_ONLY


DEFAULT_LIMITS: Final = InspectionLimits()


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectedModel:
    """What the inspection found."""

    signature: ModelSignature
    keeps_rows_apart: bool
    """Whether inputs may be joined along their first dimension (`onnx_rows`)."""
    external: tuple[str, ...] = ()
    """The data files that it uses, as it names them, ascending."""


def inspect_model(
    model: BytesLike | ModelSource, *, limits: InspectionLimits = DEFAULT_LIMITS, size_of: SizeOf = no_external_files
) -> InspectedModel:
    """Refuse everything that is not a plain, self-contained, bounded ONNX model, and say what it is.

    Arguments:
        model: its bytes, or where they are read from: then the memory needed does not grow with the constants.
        size_of: the data files of its bundle, which its constants may lie in.

    Raises:
        ModelRefused: One of its subclasses, which see; nothing else, whatever the bytes are.
    """
    source = model if isinstance(model, ModelSource) else ModelSource.of_bytes(model)
    check_file_size(source.size, limits=limits)
    scanned = scan_model(source, max_fields=limits.fields, max_graph_bytes=limits.graph_bytes)
    try:
        parsed = ModelProto.FromString(scanned)
    except DecodeError as error:
        raise MalformedModel(f"not a protocol buffer: {error}") from error
    opsets = _checked_versions(parsed)
    external = ExternalFiles(size_of)
    _Inspection(limits, opsets, external).graph(parsed.graph, "graph", None, 0)
    external.check_apart()
    signature = _signature(parsed.graph)
    return InspectedModel(
        signature=signature,
        keeps_rows_apart=keeps_rows_apart(parsed.graph, signature),
        external=external.locations,
    )


def check_file_size(size: int, *, limits: InspectionLimits = DEFAULT_LIMITS) -> None:
    """Refuse a model by the size of its file, before anything of it is read.

    Raises:
        ModelFileTooLarge: No parser could hold it.
        ModelTooLarge: Beyond the limit.
    """
    if size > MAX_FILE_BYTES:
        raise ModelFileTooLarge(f"{size} bytes in one file, the format holds {MAX_FILE_BYTES}")
    if size > limits.model_bytes:
        raise ModelTooLarge(f"{size} bytes, the limit is {limits.model_bytes}")


def verify_signature(announced: ModelSignature, found: ModelSignature) -> None:
    """Compare a manifest's signature with the one that `inspect_model` returned.

    Raises:
        SignatureMismatch: They differ.
    """
    for side, ours, theirs in (
        ("inputs", announced.inputs, found.inputs),
        ("outputs", announced.outputs, found.outputs),
    ):
        if ours != theirs:
            names = [tensor.name for tensor in theirs]
            raise SignatureMismatch(f"the model has {names}, with types and shapes of its own", where=side)


def _checked_versions(model: ModelProto) -> dict[str, int]:
    if model.ir_version not in IR_VERSIONS:
        raise UnsupportedVersion(f"IR version {model.ir_version}", where="model.ir_version")
    opsets: dict[str, int] = {}
    for opset in model.opset_import:
        domain = "" if opset.domain == _ALIAS else opset.domain
        if domain not in OPSETS:
            raise CustomOperator(f"operator domain {domain[:80]!r}", where="model.opset_import")
        if domain in opsets:
            raise MalformedModel(f"domain {domain!r} imported twice", where="model.opset_import")
        if opset.version not in OPSETS[domain]:
            raise UnsupportedVersion(f"opset {opset.version} of {domain or _ALIAS}", where="model.opset_import")
        opsets[domain] = opset.version
    if "" not in opsets:
        raise UnsupportedVersion("the domain ai.onnx is not imported", where="model.opset_import")
    return opsets


def _signature(graph: GraphProto) -> ModelSignature:
    # An input with an initializer has a default and is part of the model, not of its interface.
    constants = {tensor.name for tensor in graph.initializer}
    inputs = tuple(
        tensor_spec(value.name, value.type, f"graph.input {value.name!r}")
        for value in graph.input
        if value.name not in constants
    )
    outputs = tuple(tensor_spec(value.name, value.type, f"graph.output {value.name!r}") for value in graph.output)
    _check_side("graph.input", inputs)
    _check_side("graph.output", outputs)
    return ModelSignature(inputs=inputs, outputs=outputs)


def _check_side(where: str, tensors: tuple[TensorSpec, ...]) -> None:
    if not 1 <= len(tensors) <= MAX_TENSORS:
        raise BadInterface(f"{len(tensors)} tensors, allowed are 1 to {MAX_TENSORS}", where=where)
    names = [tensor.name for tensor in tensors]
    if len(set(names)) != len(names):
        raise BadInterface("two tensors have one name", where=where)
    for name in names + [size for tensor in tensors for size in tensor.shape if isinstance(size, str)]:
        if not 1 <= len(name) <= MAX_NAME_CHARS or not name.isprintable():
            raise BadInterface(f"name {name[:80]!r} is not 1 to {MAX_NAME_CHARS} printable characters", where=where)


class _Inspection:
    # One walk over all graphs with the counters that are shared between them.

    def __init__(self, limits: InspectionLimits, opsets: dict[str, int], external: ExternalFiles) -> None:
        self._limits = limits
        self._opsets = opsets
        self._external = external
        self._external_bytes_left = limits.external_bytes
        self._nodes_left = limits.nodes
        self._bytes_left = limits.tensor_bytes
        self._known_operators: set[tuple[str, str]] = set()

    def graph(self, graph: GraphProto, where: str, outer: _Names | None, depth: int) -> None:
        if depth > self._limits.depth:
            raise ModelTooLarge(f"graphs nested more than {self._limits.depth} deep", where=where)
        names = _Names(outer, where)
        for value in graph.input:
            names.define_input(value.name)
        for tensor in graph.initializer:
            # A runtime finds data files for the constants of the outermost graph only.
            self._tensor(tensor, f"{where}.initializer {tensor.name!r}", self._external if outer is None else None)
            names.define_constant(tensor.name)
        for value in graph.value_info:
            check_inner_type(value.type, f"{where}.value_info {value.name!r}")
        for index, node in enumerate(graph.node):
            self._node(node, f"{where}.node[{index}] {node.op_type!r}", names, depth)
        names.require(value.name for value in graph.output)

    def _node(self, node: NodeProto, where: str, names: _Names, depth: int) -> None:
        self._nodes_left -= 1
        if self._nodes_left < 0:
            raise ModelTooLarge(f"more than {self._limits.nodes} nodes", where=where)
        domain = "" if node.domain == _ALIAS else node.domain
        self._operator(domain, node.op_type, where)
        names.require(name for name in node.input if name)
        seen: set[str] = set()
        for attribute in node.attribute:
            place = f"{where}.{attribute.name[:80]!r}"
            if not attribute.name or attribute.name in seen:
                raise MalformedModel("an attribute without a name or with one that is taken", where=place)
            seen.add(attribute.name)
            if node.op_type == "Constant" and attribute.name in _STRING_CONSTANTS:
                raise UnsupportedFeature("string and sparse constants are not served", where=place)
            self._attribute(attribute, node, place, names, depth)
        for name in node.output:
            if name:
                names.define(name)

    def _operator(self, domain: str, name: str, where: str) -> None:
        if (domain, name) in self._known_operators:
            return
        if domain not in self._opsets:
            raise CustomOperator(f"operator domain {domain[:80]!r} is custom or not imported", where=where)
        if not onnx.defs.has(name, self._opsets[domain], domain):
            raise CustomOperator(f"no such operator in opset {self._opsets[domain]}", where=where)
        if name in _LOOPS or (name == "If" and self._limits.control_flow is ControlFlow.NONE):
            raise UnsupportedFeature(f"{name} is not served", where=where)
        self._known_operators.add((domain, name))

    def _attribute(self, attribute: AttributeProto, node: NodeProto, where: str, names: _Names, depth: int) -> None:
        chosen = _ATTRIBUTE_FIELDS.get(attribute.type)
        if chosen is None:
            raise UnsupportedFeature(f"attribute type {attribute.type}", where=where)
        for field, _ in attribute.ListFields():
            if field.name != chosen and field.name not in _ATTRIBUTE_META:
                raise MalformedModel(f"holds {field.name} besides what its type says", where=where)
        for tensor in [attribute.t] if chosen == "t" else attribute.tensors:
            self._tensor(tensor, where)
        graphs = [attribute.g] if chosen == "g" else list(attribute.graphs)
        if graphs and node.op_type != "If":
            raise UnsupportedFeature("an inner graph outside of If", where=where)
        for graph in graphs:
            self.graph(graph, where, names, depth + 1)

    def _tensor(self, tensor: onnx.TensorProto, where: str, external: ExternalFiles | None = None) -> None:
        size = checked_tensor_bytes(tensor, where, external)
        if tensor.external_data:
            self._external_bytes_left -= size
        else:
            self._bytes_left -= size
        if self._bytes_left < 0:
            raise ModelTooLarge(f"constants of more than {self._limits.tensor_bytes} bytes", where=where)
        if self._external_bytes_left < 0:
            raise ModelTooLarge(f"data files of more than {self._limits.external_bytes} bytes", where=where)


class _Names:
    # The values that a graph's nodes can see: each is defined once, before it is used. The chain of outer graphs is
    # as long as the nesting, so a look-up is cheap however many values there are.

    def __init__(self, outer: _Names | None, where: str) -> None:
        self._outer = outer
        self._own: set[str] = set()
        self._defaults: set[str] = set()
        self._where = where

    def define(self, name: str) -> None:
        if not name or name in self:
            raise MalformedModel(f"value {name[:80]!r} has no name or one that is taken", where=self._where)
        self._own.add(name)

    def define_input(self, name: str) -> None:
        self.define(name)
        self._defaults.add(name)

    def define_constant(self, name: str) -> None:
        # A constant may give an input its default, once.
        if name in self._defaults:
            self._defaults.remove(name)
        else:
            self.define(name)

    def require(self, names: Iterable[str]) -> None:
        for name in names:
            if name not in self:
                raise MalformedModel(f"value {name[:80]!r} is used before it is defined", where=self._where)

    def __contains__(self, name: str) -> bool:
        return name in self._own or (self._outer is not None and name in self._outer)
