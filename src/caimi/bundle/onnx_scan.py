"""First look at a model's bytes, before any parser builds objects from them (spec 15 §7).

Protocol buffers let a few bytes become many objects, unknown fields pass unseen and repeated fields overwrite one
another, so that two parsers may see two models. This scan walks the encoding with the ONNX schema in hand and lets
through only what every parser reads alike, in bounded number and depth. It allocates nothing that grows with the input.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, cast

import onnx

from caimi.bundle.onnx_errors import MalformedModel, ModelRefused, ModelTooLarge, UnsupportedFeature

__all__ = ["scan_model"]

_VARINT: Final = 0
_FIXED64: Final = 1
_BYTES: Final = 2
_FIXED32: Final = 5
_MAX_DEPTH: Final = 48
_MAX_TEXT_BYTES: Final = 1 << 20
_PACKED_BYTES_PER_FIELD: Final = 16

# Fields that are refused wherever they appear, by message and field name.
_REFUSED: Final[dict[str, type[ModelRefused]]] = {
    "TensorProto.string_data": UnsupportedFeature,
    "TensorProto.segment": UnsupportedFeature,
    "GraphProto.sparse_initializer": UnsupportedFeature,
    "AttributeProto.sparse_tensor": UnsupportedFeature,
    "AttributeProto.sparse_tensors": UnsupportedFeature,
    "AttributeProto.tp": UnsupportedFeature,
    "AttributeProto.type_protos": UnsupportedFeature,
    "AttributeProto.ref_attr_name": UnsupportedFeature,
    "ModelProto.functions": UnsupportedFeature,
    "ModelProto.training_info": UnsupportedFeature,
    "ModelProto.configuration": UnsupportedFeature,
    "NodeProto.device_configurations": UnsupportedFeature,
    "NodeProto.overload": UnsupportedFeature,
    "TypeProto.sequence_type": UnsupportedFeature,
    "TypeProto.map_type": UnsupportedFeature,
    "TypeProto.optional_type": UnsupportedFeature,
    "TypeProto.sparse_tensor_type": UnsupportedFeature,
    "TypeProto.opaque_type": UnsupportedFeature,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Field:
    name: str
    wire: int
    is_repeated: bool
    is_text: bool
    message: str | None
    refusal: type[ModelRefused] | None


def _schema() -> dict[str, dict[int, _Field]]:
    # The field tables of all messages reachable from ModelProto, from the descriptors of the onnx package.
    tables: dict[str, dict[int, _Field]] = {}
    waiting: list[Any] = [cast(Any, onnx.ModelProto).DESCRIPTOR]
    while waiting:
        message = waiting.pop()
        if message.full_name not in tables:
            tables[message.full_name] = {field.number: _field(message.name, field) for field in message.fields}
            waiting += [field.message_type for field in message.fields if field.message_type is not None]
    return tables


def _field(message: str, field: Any) -> _Field:
    wire = {
        field.TYPE_FLOAT: _FIXED32,
        field.TYPE_FIXED32: _FIXED32,
        field.TYPE_SFIXED32: _FIXED32,
        field.TYPE_DOUBLE: _FIXED64,
        field.TYPE_FIXED64: _FIXED64,
        field.TYPE_SFIXED64: _FIXED64,
        field.TYPE_STRING: _BYTES,
        field.TYPE_BYTES: _BYTES,
        field.TYPE_MESSAGE: _BYTES,
    }.get(field.type, _VARINT)
    name = f"{message}.{field.name}"
    return _Field(
        name=name,
        wire=wire,
        is_repeated=field.label == field.LABEL_REPEATED,
        is_text=field.type == field.TYPE_STRING,
        message=None if field.message_type is None else field.message_type.full_name,
        refusal=_REFUSED.get(name),
    )


_TABLES: Final = _schema()
_ROOT: Final = "onnx.ModelProto"


def scan_model(data: memoryview, *, max_fields: int) -> None:
    """Check that the bytes are one ONNX model in an encoding without surprises.

    Arguments:
        max_fields: Most fields of all messages together; 16 bytes of packed integers count as one.
    Raises:
        MalformedModel: Not the encoding of a ModelProto; unknown fields, wrong wire types, a single field given
            twice, texts that are not UTF-8.
        ModelTooLarge: More fields, deeper nesting than 48, or a text of more than 1 MiB.
        UnsupportedFeature: A refused field, wherever it is.
    """
    _Scan(data, max_fields).message(_ROOT, 0, len(data), 0)


class _Scan:
    def __init__(self, data: memoryview, max_fields: int) -> None:
        self._data = data
        self._left = max_fields

    def message(self, kind: str, position: int, end: int, depth: int) -> None:
        if depth > _MAX_DEPTH:
            raise ModelTooLarge(f"nested more than {_MAX_DEPTH} deep", where=kind)
        table = _TABLES[kind]
        seen: set[int] = set()
        while position < end:
            self._spend(1, kind)
            key, position = self._varint(position, end)
            field = table.get(key >> 3)
            if field is None:
                raise MalformedModel(f"unknown field {key >> 3}", where=kind)
            if field.refusal is not None:
                raise field.refusal("this field is refused", where=field.name)
            if not field.is_repeated and key >> 3 in seen:
                raise MalformedModel("given twice", where=field.name)
            seen.add(key >> 3)
            position = self._value(field, key & 7, position, end, depth)

    def _spend(self, fields: int, where: str) -> None:
        self._left -= fields
        if self._left < 0:
            raise ModelTooLarge("too many fields", where=where)

    def _value(self, field: _Field, wire: int, position: int, end: int, depth: int) -> int:
        if wire == _BYTES and (field.wire == _BYTES or field.is_repeated):  # the latter: packed numbers
            length, start = self._varint(position, end)
            stop = start + length
            if stop > end:
                raise MalformedModel("longer than what holds it", where=field.name)
            if field.message is not None:
                self.message(field.message, start, stop, depth + 1)
            elif field.is_text:
                self._text(field, start, stop)
            elif field.wire == _VARINT:  # a packed number of one byte becomes eight in memory
                self._spend(length // _PACKED_BYTES_PER_FIELD, field.name)
            return stop
        if wire != field.wire:
            raise MalformedModel(f"wire type {wire}, expected {field.wire}", where=field.name)
        if wire == _VARINT:
            return self._varint(position, end)[1]
        stop = position + (8 if wire == _FIXED64 else 4)
        if stop > end:
            raise MalformedModel("ends inside a number", where=field.name)
        return stop

    def _text(self, field: _Field, start: int, stop: int) -> None:
        if stop - start > _MAX_TEXT_BYTES:
            raise ModelTooLarge(f"a text of {stop - start} bytes", where=field.name)
        try:
            str(self._data[start:stop], "utf-8")
        except UnicodeDecodeError as error:
            raise MalformedModel("not UTF-8", where=field.name) from error

    def _varint(self, position: int, end: int) -> tuple[int, int]:
        value = 0
        for shift in range(0, 70, 7):
            if position >= end:
                raise MalformedModel("ends inside a number")
            byte = self._data[position]
            position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, position
        raise MalformedModel("a number is longer than 10 bytes")
