"""From revert data to the refusal it stands for (spec/errors.toml: the custom error of that name)."""

from __future__ import annotations

from typing import Any, Final

from caimi.types.errors import BadEncoding, Refusal
from caimi.types.refusals import BY_NAME
from caimi.wire.codec import decode_values
from caimi.wire.keccak import keccak256

__all__ = ["REVERT_SELECTORS", "read_revert"]

_LIMIT: Final = 4_096


def _kinds(refusal: type[Refusal]) -> tuple[str, ...]:
    return tuple(argument.split(" ")[0] for argument in refusal.arguments)


def _selector(name: str, kinds: tuple[str, ...]) -> bytes:
    return keccak256(f"{name}({','.join(kinds)})".encode())[:4]


REVERT_SELECTORS: Final = {_selector(name, _kinds(refusal)): refusal for name, refusal in BY_NAME.items()}
"""Refusal by the first 4 bytes of its revert data."""

_PANIC: Final = _selector("Panic", ("uint256",))
_REASON: Final = _selector("Error", ("string",))


def read_revert(data: bytes) -> Refusal | str:
    """The refusal, or words for a revert that is none of ours."""
    refusal = REVERT_SELECTORS.get(data[:4])
    if refusal is not None:
        values = _values(_kinds(refusal), data)
        return refusal(*values) if values is not None else f"{refusal.__name__} with malformed arguments"
    if data[:4] == _PANIC and (values := _values(("uint256",), data)) is not None:
        return f"panic {values[0]:#x}"
    if data[:4] == _REASON and (values := _values(("string",), data)) is not None:
        return f"reverted: {values[0][:200]}"
    return f"unknown revert 0x{data[:36].hex()}" if data else "reverted without a reason"


def _values(kinds: tuple[str, ...], data: bytes) -> tuple[Any, ...] | None:
    try:
        return decode_values(kinds, data[4:], limit=_LIMIT)
    except BadEncoding:
        return None
