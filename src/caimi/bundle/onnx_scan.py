"""First look at a model's bytes, before any parser builds objects from them (spec 15 §7).

Protocol buffers let a few bytes become many objects, unknown fields pass unseen and repeated fields overwrite one
another, so that two parsers may see two models. This scan walks the encoding with the ONNX schema in hand and lets
through only what every parser reads alike, in bounded number and depth.

A model is read by windows and never whole. What the scan gives is the same model without the data of its large
constants, which are counted and skipped: a tensor that lacks its data says so in `segment`, a field that no model that
passes has of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, cast

import onnx
from onnx import TensorProto

from caimi.bundle.buffers import BytesLike
from caimi.bundle.onnx_errors import BadTensor, MalformedModel, ModelRefused, ModelTooLarge, UnsupportedFeature

__all__ = ["DATA_WIDTHS", "ModelSource", "bytes_left_out", "scan_model"]

_VARINT: Final = 0
_FIXED64: Final = 1
_BYTES: Final = 2
_FIXED32: Final = 5
_MAX_DEPTH: Final = 48
_MAX_TEXT_BYTES: Final = 1 << 20
_PACKED_BYTES_PER_FIELD: Final = 8
_WINDOW_BYTES: Final = 1 << 18
_LONGEST_NUMBER: Final = 10
# Enough for the shapes and axes that are read as numbers.
_KEPT_DATA_BYTES: Final = 1 << 10

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


DATA_WIDTHS: Final = {"raw_data": 1, "float_data": 4, "double_data": 8}
"""The fields of a tensor whose data the scan may leave out, with the bytes of an element."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSource:
    """Where a model's bytes are read from."""

    size: int
    """All of them."""
    read: Callable[[int, int], BytesLike]
    """Bytes from an offset on, at most so many; fewer if it likes, none only where the source ends too early."""

    @classmethod
    def of_bytes(cls, model: BytesLike) -> ModelSource:
        """A model in memory; nothing is copied."""
        view = memoryview(model).cast("B")
        return cls(size=len(view), read=lambda offset, most: view[offset : offset + most])


def bytes_left_out(tensor: TensorProto, field: str) -> int:
    """How many bytes of a tensor's data the scan left where they are: of one of `DATA_WIDTHS`, else 0."""
    is_left_out = tensor.HasField("segment") and tensor.segment.begin == _DATA_FIELDS.get(field)
    return tensor.segment.end if is_left_out else 0


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
_TENSOR: Final = "onnx.TensorProto"
_DATA_FIELDS: Final = {
    field.name.rpartition(".")[2]: number
    for number, field in _TABLES[_TENSOR].items()
    if field.name.rpartition(".")[2] in DATA_WIDTHS
}
_DATA_NUMBERS: Final = {number: DATA_WIDTHS[name] for name, number in _DATA_FIELDS.items()}


def scan_model(source: ModelSource, *, max_fields: int, max_graph_bytes: int) -> bytes:
    """Check that the bytes are one ONNX model in an encoding without surprises.

    Arguments:
        max_fields: Most fields of all messages together; 8 bytes of packed integers count as one.
        max_graph_bytes: Most bytes of everything but the data that is left out.
    Returns:
        The model without the data of constants of more than 1 KiB: see `bytes_left_out`.
    Raises:
        MalformedModel: Not the encoding of a ModelProto; unknown fields, wrong wire types, a single field given
            twice, texts that are not UTF-8.
        ModelTooLarge: More fields or bytes, deeper nesting than 48, or a text of more than 1 MiB.
        UnsupportedFeature: A refused field, wherever it is.
        BadTensor: A constant with large data in two fields.
    """
    return bytes(_Scan(source, max_fields, max_graph_bytes).message(_ROOT, 0, source.size, 0))


class _Scan:
    def __init__(self, source: ModelSource, max_fields: int, max_graph_bytes: int) -> None:
        self._source = source
        self._fields_left = max_fields
        self._bytes_left = max_graph_bytes
        self._window: BytesLike = b""
        self._window_at = 0

    def message(self, kind: str, position: int, end: int, depth: int) -> bytearray:
        # What is kept of it.
        if depth > _MAX_DEPTH:
            raise ModelTooLarge(f"nested more than {_MAX_DEPTH} deep", where=kind)
        table, kept = _TABLES[kind], bytearray()
        seen: set[int] = set()
        left_out: dict[int, int] = {}
        while position < end:
            self._spend(1, kind)
            start = position
            key, position = self._varint(position, end)
            number = key >> 3
            field = table.get(number)
            if field is None:
                raise MalformedModel(f"unknown field {number}", where=kind)
            if field.refusal is not None:
                raise field.refusal("this field is refused", where=field.name)
            if not field.is_repeated and number in seen:
                raise MalformedModel("given twice", where=field.name)
            seen.add(number)
            if key & 7 != _BYTES or not (field.wire == _BYTES or field.is_repeated):
                position = self._number(field, key & 7, position, end)
                kept += self._kept(start, position, field.name)
                continue
            length, position = self._varint(position, end)
            stop = position + length
            if stop > end:
                raise MalformedModel("longer than what holds it", where=field.name)
            if field.message is not None:
                inner = self.message(field.message, position, stop, depth + 1)
                kept += _varint_bytes(key) + _varint_bytes(len(inner)) + inner
            elif kind == _TENSOR and number in _DATA_NUMBERS and length > _KEPT_DATA_BYTES:
                if length % _DATA_NUMBERS[number]:
                    raise MalformedModel("ends inside a number", where=field.name)
                left_out[number] = left_out.get(number, 0) + length
            else:
                self._check_bytes(field, length)
                data = self._kept(start, stop, field.name)
                if field.is_text:
                    _check_text(field, data[position - start :])
                kept += data
            position = stop
        return kept + _segment(left_out)

    def _spend(self, fields: int, where: str) -> None:
        self._fields_left -= fields
        if self._fields_left < 0:
            raise ModelTooLarge("too many fields", where=where)

    def _check_bytes(self, field: _Field, length: int) -> None:
        if field.is_text and length > _MAX_TEXT_BYTES:
            raise ModelTooLarge(f"a text of {length} bytes", where=field.name)
        if field.wire == _VARINT:  # a packed number of one byte becomes eight in memory
            self._spend(length // _PACKED_BYTES_PER_FIELD, field.name)

    def _number(self, field: _Field, wire: int, position: int, end: int) -> int:
        if wire != field.wire:
            raise MalformedModel(f"wire type {wire}, expected {field.wire}", where=field.name)
        if wire == _VARINT:
            return self._varint(position, end)[1]
        stop = position + (8 if wire == _FIXED64 else 4)
        if stop > end:
            raise MalformedModel("ends inside a number", where=field.name)
        return stop

    def _varint(self, position: int, end: int) -> tuple[int, int]:
        # Nearly all keys and lengths are one byte that is in the window.
        at = position - self._window_at
        if position < end and 0 <= at < len(self._window) and self._window[at] < 0x80:
            return self._window[at], position + 1
        at = self._window_to(position, min(_LONGEST_NUMBER, end - position))
        value, window = 0, self._window
        for count in range(_LONGEST_NUMBER):
            if position + count >= end:
                raise MalformedModel("ends inside a number")
            byte = window[at + count]
            value |= (byte & 0x7F) << 7 * count
            if byte < 0x80:
                return value, position + count + 1
        raise MalformedModel("a number is longer than 10 bytes")

    def _kept(self, start: int, stop: int, where: str) -> bytes:
        self._bytes_left -= stop - start
        if self._bytes_left < 0:
            raise ModelTooLarge("too many bytes besides the data of constants", where=where)
        at = self._window_to(start, stop - start)
        return bytes(self._window[at : at + stop - start])

    def _window_to(self, start: int, length: int) -> int:
        # Where `start` is in the window, which has that many bytes from there.
        at = start - self._window_at
        if at < 0 or at + length > len(self._window):
            self._window, self._window_at, at = self._read(start, length), start, 0
        return at

    def _read(self, start: int, least: int) -> BytesLike:
        window = self._source.read(start, max(least, min(_WINDOW_BYTES, self._source.size - start)))
        while len(window) < least:
            more = self._source.read(start + len(window), least - len(window))
            if not len(more):
                raise MalformedModel(f"it ends at byte {start + len(window)} of {self._source.size}")
            window = bytes(window) + bytes(more)
        return window


def _check_text(field: _Field, text: bytes) -> None:
    try:
        text.decode()
    except UnicodeDecodeError as error:
        raise MalformedModel("not UTF-8", where=field.name) from error


def _segment(left_out: dict[int, int]) -> bytes:
    # TensorProto.segment {begin: the field's number, end: its bytes}, written into tensors that lack data.
    if not left_out:
        return b""
    if len(left_out) > 1:
        raise BadTensor("its data is in more than one field", where=_TENSOR)
    return TensorProto(
        segment=TensorProto.Segment(begin=next(iter(left_out)), end=sum(left_out.values()))
    ).SerializeToString()


def _varint_bytes(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
