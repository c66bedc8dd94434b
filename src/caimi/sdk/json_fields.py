"""Reading JSON objects of files and answers: every member has one type, and nothing is guessed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from caimi.sdk.errors import MalformedFile, NoNetwork, SdkError
from caimi.types.json_text import load_json
from caimi.types.primitives import Address, Bytes32

__all__ = ["Fields", "hex_text", "parse_object", "read_object"]

T = TypeVar("T")
_MAX_FILE_BYTES: Final = 4 << 20


def hex_text(value: bytes) -> str:
    """0x and lower-case digits."""
    return "0x" + value.hex()


class Fields:
    """One JSON object. Every method raises `error` if the member is missing or has another type."""

    __slots__ = ("_error", "_where", "values")

    def __init__(self, values: dict[str, Any], where: str, *, error: type[SdkError] = MalformedFile) -> None:
        """Arguments:
        where: for messages: file or address, and the path inside it.
        error: `MalformedFile` for files, `ServiceAnswer` for answers.
        """
        self.values = values
        self._where = where
        self._error = error

    def text(self, name: str) -> str:
        """A string."""
        return self._typed(name, str)

    def number(self, name: str, *, bits: int = 64) -> int:
        """An integer, 0 <= x < 2**bits, as a JSON number or as a decimal string (amounts above 2**53)."""
        value = self.values.get(name)
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 100:
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << bits:
            raise self.malformed(name)
        return value

    def real(self, name: str) -> float:
        """A number."""
        value = self.values.get(name)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self.malformed(name)
        return float(value)

    def data(self, name: str, *, length: int | None = None) -> bytes:
        """Bytes as 0x and hex digits; exactly `length` of them unless that is None."""
        text = self.text(name)
        try:
            value = bytes.fromhex(text.removeprefix("0x"))
        except ValueError:
            raise self.malformed(name) from None
        if not text.startswith("0x") or (length is not None and len(value) != length):
            raise self.malformed(name)
        return value

    def bytes32(self, name: str) -> Bytes32:
        """32 bytes."""
        return Bytes32(self.data(name, length=32))

    def address(self, name: str) -> Address:
        """20 bytes."""
        return Address(self.data(name, length=20))

    def object(self, name: str) -> Fields:
        """An object."""
        return Fields(cast("dict[str, Any]", self._typed(name, dict)), f"{self._where}.{name}", error=self._error)

    def objects(self, name: str) -> tuple[Fields, ...]:
        """An array of objects."""
        items = self.items(name)
        if not all(isinstance(item, dict) for item in items):
            raise self.malformed(name)
        return tuple(
            Fields(item, f"{self._where}.{name}[{place}]", error=self._error) for place, item in enumerate(items)
        )

    def named(self, name: str) -> dict[str, Fields]:
        """An object whose members are objects."""
        inner = self.object(name)
        return {key: inner.object(key) for key in inner.values}

    def items(self, name: str) -> list[Any]:
        """An array."""
        return cast("list[Any]", self._typed(name, list))

    def optional(self, name: str, read: Callable[[str], T]) -> T | None:
        """None if the member is absent or null, else `read(name)` of one of the methods above."""
        return None if self.values.get(name) is None else read(name)

    def texts(self, name: str) -> tuple[str, ...]:
        """An array of strings."""
        items = self.items(name)
        if not all(isinstance(item, str) for item in items):
            raise self.malformed(name)
        return tuple(items)

    def malformed(self, name: str) -> SdkError:
        """The error about a member."""
        return self._error(f"{self._where}: member {name!r} is missing or not what it should be")

    def _typed(self, name: str, kind: type[T]) -> T:
        value = self.values.get(name)
        if not isinstance(value, kind):
            raise self.malformed(name)
        return value


def parse_object(data: bytes, where: str, *, error: type[SdkError] = MalformedFile) -> Fields:
    """Parse a JSON object.

    Raises:
        error: It is none.
    """
    try:
        value: object = load_json(data)
    except (ValueError, RecursionError) as cause:
        raise error(f"{where} is not JSON") from cause
    if not isinstance(value, dict):
        raise error(f"{where} is not a JSON object")
    return Fields(cast("dict[str, Any]", value), where, error=error)


def read_object(path: Path) -> Fields:
    """Read a file of at most 4 MiB with one JSON object.

    Raises:
        NoNetwork: There is no such file.
        MalformedFile: It is larger, unreadable or no object.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise NoNetwork(f"there is no {path}") from None
    except OSError as error:
        raise MalformedFile(f"cannot read {path}: {error.strerror}") from error
    if len(data) > _MAX_FILE_BYTES:
        raise MalformedFile(f"{path} is larger than {_MAX_FILE_BYTES} bytes")
    return parse_object(data, str(path))
