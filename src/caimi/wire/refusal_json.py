"""Refusals in JSON: the table's arguments by name; byte strings as 0x hex, large numbers as decimal strings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from caimi.types.errors import BadEncoding, Refusal
from caimi.types.refusals import BY_NAME

__all__ = ["refusal_from_json", "refusal_to_json"]

_EXACT: Final = (1 << 53) - 1  # what every JSON reader keeps


def refusal_to_json(refusal: Refusal) -> dict[str, str | int]:
    """The refusal's values by their names in spec/errors.toml."""
    names = [argument.split(" ")[1] for argument in refusal.arguments]
    return {name: _shown(value) for name, value in zip(names, refusal.values, strict=False)}


def refusal_from_json(name: str, values: Mapping[str, Any]) -> Refusal | None:
    """The refusal of that name, None if spec/errors.toml has none.

    Raises:
        BadEncoding: A value is missing or not of its type.
    """
    kind = BY_NAME.get(name)
    if kind is None:
        return None
    try:
        return kind(*(_read(argument.split(" ")[0], values[argument.split(" ")[1]]) for argument in kind.arguments))
    except (KeyError, ValueError, TypeError) as error:
        raise BadEncoding from error


def _shown(value: Any) -> str | int:
    if isinstance(value, bytes):
        return "0x" + value.hex()
    return value if isinstance(value, int) and value <= _EXACT else str(value)


def _read(kind: str, value: Any) -> int | bytes:
    if kind.startswith("uint"):
        return int(value)
    if not isinstance(value, str) or not value.startswith("0x"):
        raise ValueError
    return bytes.fromhex(value[2:])
