"""Reads JSON into frozen dataclasses by their type hints: nothing unknown, nothing missing, nothing converted.

A field is str, int, float, bool, `Path`, a bytes NewType (`Bytes32`, `Address`, as 0x hex), an int NewType, `Literal`,
`IntEnum`, a tuple of these, another such dataclass, or a union of dataclasses told apart by their field `kind`, and of
None. A field with a default may be left out.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import sys
import types
import typing
from enum import IntEnum
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar, cast

from caimi.types.errors import Blame, CaimiError, Certainty
from caimi.types.json_text import load_json
from caimi.types.primitives import Address, Bytes32

__all__ = ["ConfigRefused", "read_json", "to_json"]

T = TypeVar("T")
_LENGTHS: Final[dict[object, int]] = {Bytes32: 32, Address: 20}
_HEX: Final = re.compile("0x[0-9a-fA-F]*")
_MOST: Final = sys.float_info.max
# JSON can say what no encoding can: half a character.
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


class ConfigRefused(CaimiError):
    """The configuration is not what this version reads; the message begins with the place."""

    blame = Blame.OPERATOR
    certainty = Certainty.PROVEN
    hint = "correct the named field; caimi.apps.process_config says what each may hold"


def read_json(kind: type[T], text: str) -> T:
    """Parse `text` as one object of the dataclass `kind`.

    Raises:
        ConfigRefused: It is not JSON, has a key twice, or a field is unknown, missing or of another type.
    """
    try:
        value = load_json(text, object_pairs_hook=_object, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ConfigRefused(f"$: not JSON: {error}") from error
    return cast(T, _read(kind, value, "$"))


def to_json(value: Any) -> Any:
    """The JSON form that `read_json` takes back."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [to_json(v) for v in cast(tuple[Any, ...], value)]
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, Path):
        return str(value)
    return int(value) if isinstance(value, IntEnum) else value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


def _read(kind: Any, value: Any, place: str) -> Any:
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        return _read_union(typing.get_args(kind), value, place)
    if origin is tuple:
        if not isinstance(value, list):
            _refuse(place, "a list", value)
        inner = typing.get_args(kind)[0]
        return tuple(_read(inner, v, f"{place}[{i}]") for i, v in enumerate(cast(list[Any], value)))
    if origin is typing.Literal:
        if value not in typing.get_args(kind):
            _refuse(place, f"one of {', '.join(map(repr, typing.get_args(kind)))}", value)
        return value
    if dataclasses.is_dataclass(kind):
        return _read_object(cast(type[Any], kind), value, place)
    return _read_scalar(kind, value, place)


def _read_union(kinds: tuple[Any, ...], value: Any, place: str) -> Any:
    if value is None and types.NoneType in kinds:
        return None
    rest = [k for k in kinds if k is not types.NoneType]
    if len(rest) == 1:
        return _read(rest[0], value, place)
    named = {typing.get_args(_hints(k)["kind"])[0]: k for k in rest}
    told = cast(dict[str, Any], value).get("kind") if isinstance(value, dict) else None
    if not isinstance(told, str) or told not in named:
        _refuse(f"{place}.kind", f"one of {', '.join(map(repr, named))}", told)
    return _read(named[told], value, place)


@functools.cache
def _hints(kind: type[Any]) -> dict[str, Any]:
    # Each hint is a text that has to be compiled: most of the time that a configuration takes.
    return typing.get_type_hints(kind)


def _read_object(kind: type[Any], value: Any, place: str) -> Any:
    if not isinstance(value, dict):
        _refuse(place, "an object", value)
    given = cast(dict[str, Any], value)
    hints = _hints(kind)
    fields = {f.name: f for f in dataclasses.fields(kind)}
    for name in given:
        if name not in fields:
            raise ConfigRefused(f"{place}.{name}: unknown field")
    found: dict[str, Any] = {}
    for name, field in fields.items():
        if name in given:
            found[name] = _read(hints[name], given[name], f"{place}.{name}")
        elif field.default is dataclasses.MISSING:
            raise ConfigRefused(f"{place}.{name}: missing")
    try:
        return kind(**found)
    except (ValueError, CaimiError) as error:
        raise ConfigRefused(f"{place}: {type(error).__name__} {error}") from error


def _read_scalar(kind: Any, value: Any, place: str) -> Any:
    if kind in _LENGTHS:
        length = _LENGTHS[kind]
        # Not by what the library would read, which leaves out spaces.
        if isinstance(value, str) and len(value) == 2 + 2 * length and _HEX.fullmatch(value):
            return bytes.fromhex(value[2:])
        _refuse(place, f"0x and {2 * length} hex digits", value)
    kind = getattr(kind, "__supertype__", kind)
    if isinstance(value, str) and _SURROGATE.search(value):
        _refuse(place, "text that can be written", value)
    if kind is Path and isinstance(value, str) and value and "\0" not in value:
        return Path(value)
    if kind is float and isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= _MOST:
        return float(value)
    plain = cast(type[object], kind)
    if issubclass(plain, IntEnum) and type(value) is int and value in {int(member) for member in plain}:
        return plain(value)
    if type(value) is not plain:
        _refuse(place, plain.__name__, value)
    return value


def _refuse(place: str, wanted: str, value: Any) -> NoReturn:
    raise ConfigRefused(f"{place}: expected {wanted}, found {type(value).__name__}")
