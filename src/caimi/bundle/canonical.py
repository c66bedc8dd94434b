"""Canonical JSON without floats: one text for one value (spec 15 §4)."""

from __future__ import annotations

import json
from typing import Final, NoReturn, TypeAlias, cast

from caimi.bundle.errors import ManifestRefused
from caimi.types.json_text import JsonTooDeep, load_json

__all__ = ["MAX_DEPTH", "MAX_DOCUMENT_BYTES", "MAX_INTEGER", "Json", "decode_canonical", "encode_canonical"]

Json: TypeAlias = "int | str | list[Json] | dict[str, Json] | None"
"""A document: objects with ASCII keys, arrays, strings, null, and integers 0 <= x < 2**53."""

MAX_DOCUMENT_BYTES: Final = 1 << 20
MAX_DEPTH: Final = 8
"""Deepest nesting of objects and arrays."""
MAX_INTEGER: Final = (1 << 53) - 1
_MAX_DIGITS: Final = 16


def encode_canonical(value: Json) -> bytes:
    """Encode: UTF-8, keys in ascending order, no white space, shortest escapes (as RFC 8785 writes these types).

    Raises:
        ManifestRefused: A value that is not `Json`, nests more than 8 deep or takes more than 1 MiB.
    """
    _check(value, 0)
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True, allow_nan=False)
        data = text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ManifestRefused(f"a text is not Unicode: {error}") from error
    if len(data) > MAX_DOCUMENT_BYTES:
        raise ManifestRefused(f"{len(data)} bytes, the limit is {MAX_DOCUMENT_BYTES}")
    return data


def decode_canonical(data: bytes) -> Json:
    """Decode what `encode_canonical` gives, and nothing else.

    Raises:
        ManifestRefused: Too large or deep, not UTF-8 or JSON, repeated keys, floats, booleans, negative or large
            numbers, or another text than the canonical one.
    """
    if len(data) > MAX_DOCUMENT_BYTES:
        raise ManifestRefused(f"{len(data)} bytes, the limit is {MAX_DOCUMENT_BYTES}")
    try:
        value = load_json(
            data.decode("utf-8"),
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_no_float,
            parse_constant=_no_float,
        )
    except JsonTooDeep as error:
        raise ManifestRefused(f"nested more than {MAX_DEPTH} deep") from error
    except ValueError as error:  # also UnicodeDecodeError and JSONDecodeError
        raise ManifestRefused(f"not JSON in UTF-8: {error}") from error
    document = cast(Json, value)
    if encode_canonical(document) != data:
        raise ManifestRefused("not in canonical form")
    return document


def _check(value: object, depth: int) -> None:
    if isinstance(value, dict):
        _check_depth(depth)
        for key, item in cast("dict[object, object]", value).items():
            if not isinstance(key, str) or not key.isascii():
                raise ManifestRefused(f"key {key!r} is not ASCII")
            _check(item, depth + 1)
    elif isinstance(value, list):
        _check_depth(depth)
        for item in cast("list[object]", value):
            _check(item, depth + 1)
    elif isinstance(value, bool) or not (value is None or isinstance(value, (int, str))):
        raise ManifestRefused(f"{type(value).__name__} is not allowed")
    elif isinstance(value, int) and not 0 <= value <= MAX_INTEGER:
        raise ManifestRefused(f"{value} is not below 2**53, or is negative")


def _check_depth(depth: int) -> None:
    if depth >= MAX_DEPTH:
        raise ManifestRefused(f"nested more than {MAX_DEPTH} deep")


def _object(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ManifestRefused("an object repeats a key")
    return result


def _integer(text: str) -> int:
    if len(text) > _MAX_DIGITS:  # before int(), whose time grows with the square of the length
        raise ManifestRefused(f"a number of {len(text)} digits")
    return int(text)


def _no_float(text: str) -> NoReturn:
    raise ManifestRefused(f"{text[:20]} is not an integer")
