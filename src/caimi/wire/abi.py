"""The contract ABI's encoding of the types that we use, compiled once per type (Solidity ABI specification).

Every call, event body and record passes here several times, so this is written for speed. Decoding accepts the
canonical layout alone: heads in order, tails right behind one another, no padding but zeros, nothing left over. What
was decoded encodes to the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, Protocol, cast

from caimi.types.errors import BadEncoding

__all__ = ["LIST_LIMIT", "Codec", "ListCodec", "StructCodec", "TupleCodec", "basic_codec", "encode_text"]

LIST_LIMIT: Final = 4_096
"""Most elements of one list."""
_WORD: Final = 32
# A string on a ledger is any bytes: those that are no UTF-8 become lone surrogates.
_ANY_BYTES: Final = "surrogateescape"
_UINT: Final = re.compile(r"uint([1-9]\d{0,2})")
_BYTES: Final = re.compile(r"bytes([1-9]\d?)")


class Codec(Protocol):
    """Encodes and decodes values of one type."""

    head: int
    """Bytes in the head of whatever holds it: all of a static value, the offset of a dynamic one."""
    is_dynamic: bool

    def encode(self, value: Any) -> bytes:
        """The value, or for a dynamic type its tail. Raises `BadEncoding`."""
        ...

    def decode(self, data: bytes, at: int) -> tuple[Any, int]:
        """The value that begins at `at`, and where it ends. Raises `BadEncoding`."""
        ...


def _word(data: bytes, at: int) -> bytes:
    word = data[at : at + _WORD]
    if len(word) != _WORD:
        raise BadEncoding
    return word


class _Uint:
    head = _WORD
    is_dynamic = False

    def __init__(self, bits: int) -> None:
        self._above = 1 << bits

    def encode(self, value: Any) -> bytes:
        # A truth value is an int to Python and none to anybody else.
        if not isinstance(value, int) or value is True or value is False or not 0 <= value < self._above:
            raise BadEncoding
        return value.to_bytes(_WORD, "big")

    def decode(self, data: bytes, at: int) -> tuple[Any, int]:
        value = int.from_bytes(_word(data, at), "big")
        if value >= self._above:
            raise BadEncoding
        return value, at + _WORD


class _Bool:
    head = _WORD
    is_dynamic = False

    def encode(self, value: Any) -> bytes:
        if value is not True and value is not False:
            raise BadEncoding
        return int(value).to_bytes(_WORD, "big")

    def decode(self, data: bytes, at: int) -> tuple[Any, int]:
        value = int.from_bytes(_word(data, at), "big")
        if value > 1:
            raise BadEncoding
        return value == 1, at + _WORD


class _FixedBytes:
    head = _WORD
    is_dynamic = False

    def __init__(self, length: int) -> None:
        self._length = length
        self._padding = bytes(_WORD - length)

    def encode(self, value: Any) -> bytes:
        if not isinstance(value, bytes) or len(value) != self._length:
            raise BadEncoding
        return value + self._padding

    def decode(self, data: bytes, at: int) -> tuple[Any, int]:
        word = _word(data, at)
        if word[self._length :] != self._padding:
            raise BadEncoding
        return word[: self._length], at + _WORD


class _Address:
    head = _WORD
    is_dynamic = False

    def encode(self, value: Any) -> bytes:
        if not isinstance(value, bytes) or len(value) != 20:
            raise BadEncoding
        return bytes(12) + value

    def decode(self, data: bytes, at: int) -> tuple[Any, int]:
        word = _word(data, at)
        if any(word[:12]):
            raise BadEncoding
        return word[12:], at + _WORD


class _Bytes:
    head = _WORD
    is_dynamic = True

    def encode(self, value: Any) -> bytes:
        if not isinstance(value, bytes):
            raise BadEncoding
        return len(value).to_bytes(_WORD, "big") + value + bytes(-len(value) % _WORD)

    def decode(self, data: bytes, at: int) -> tuple[Any, int]:
        length, start = int.from_bytes(_word(data, at), "big"), at + _WORD
        end = start + length
        padded = end + -length % _WORD
        if padded > len(data) or any(data[end:padded]):
            raise BadEncoding
        return data[start:end], padded


def encode_text(value: Any) -> bytes:
    """The bytes of a string: UTF-8, or what such bytes were decoded from that are none.

    Raises:
        BadEncoding: It is no string, or has surrogates that stand for no byte.
    """
    try:
        return value.encode("utf-8", _ANY_BYTES)
    except (AttributeError, UnicodeEncodeError) as error:
        raise BadEncoding from error


class _String(_Bytes):
    def encode(self, value: Any) -> bytes:
        return super().encode(encode_text(value))

    def decode(self, data: bytes, at: int) -> tuple[Any, int]:
        value, end = super().decode(data, at)
        return value.decode("utf-8", _ANY_BYTES), end


class TupleCodec:
    """Values one after another: heads first, then the tails of the dynamic ones."""

    def __init__(self, members: Sequence[Codec]) -> None:
        self._members = tuple(members)
        self._heads = sum(member.head for member in self._members)
        self.is_dynamic = any(member.is_dynamic for member in self._members)
        self.head = _WORD if self.is_dynamic else self._heads

    def encode(self, value: Any) -> bytes:
        """See `Codec.encode`; `value` is a sequence as long as the members."""
        if len(value) != len(self._members):
            raise BadEncoding
        if not self.is_dynamic:
            return b"".join([member.encode(one) for member, one in zip(self._members, value, strict=True)])
        heads: list[bytes] = []
        tails: list[bytes] = []
        end = self._heads
        for member, one in zip(self._members, value, strict=True):
            encoded = member.encode(one)
            if member.is_dynamic:
                heads.append(end.to_bytes(_WORD, "big"))
                tails.append(encoded)
                end += len(encoded)
            else:
                heads.append(encoded)
        return b"".join(heads + tails)

    def decode(self, data: bytes, at: int) -> tuple[Any, int]:
        """See `Codec.decode`; a list of the members' values."""
        values: list[Any] = []
        head, end = at, at + self._heads
        for member in self._members:
            if member.is_dynamic:
                if int.from_bytes(_word(data, head), "big") != end - at:
                    raise BadEncoding
                value, end = member.decode(data, end)
                head += _WORD
            else:
                value, head = member.decode(data, head)
            values.append(value)
        return values, end


class ListCodec:
    """A list of any length up to `LIST_LIMIT`."""

    head = _WORD
    is_dynamic = True

    def __init__(self, member: Codec) -> None:
        self._member = member

    def encode(self, value: Any) -> bytes:
        """See `Codec.encode`."""
        if not isinstance(value, (tuple, list)):
            raise BadEncoding
        count = len(cast("Sequence[Any]", value))
        if count > LIST_LIMIT:
            raise BadEncoding
        return count.to_bytes(_WORD, "big") + TupleCodec((self._member,) * count).encode(value)

    def decode(self, data: bytes, at: int) -> tuple[Any, int]:
        """See `Codec.decode`; a tuple."""
        count = int.from_bytes(_word(data, at), "big")
        start = at + _WORD
        # Before anything is made for them: so many elements have to be there.
        if count > LIST_LIMIT or count * self._member.head > len(data) - start:
            raise BadEncoding
        values, end = TupleCodec((self._member,) * count).decode(data, start)
        return tuple(values), end


class StructCodec:
    """A record class: its fields in order as a tuple."""

    def __init__(self, cls: type[Any], names: Sequence[str], members: Sequence[Codec]) -> None:
        self._cls = cls
        self._names = tuple(names)
        self._tuple = TupleCodec(members)
        self.head = self._tuple.head
        self.is_dynamic = self._tuple.is_dynamic

    def encode(self, value: Any) -> bytes:
        """See `Codec.encode`."""
        if not isinstance(value, self._cls):
            raise BadEncoding
        return self._tuple.encode([getattr(value, name) for name in self._names])

    def decode(self, data: bytes, at: int) -> tuple[Any, int]:
        """See `Codec.decode`."""
        values, end = self._tuple.decode(data, at)
        return self._cls(**dict(zip(self._names, values, strict=True))), end


def basic_codec(kind: str) -> Codec:
    """The codec of a Solidity type that is neither struct nor list.

    Raises:
        ValueError: None of uint8 to uint256, bytes1 to bytes32, bool, address, bytes and string.
    """
    uint, fixed = _UINT.fullmatch(kind), _BYTES.fullmatch(kind)
    if uint is not None and int(uint[1]) % 8 == 0 and int(uint[1]) <= 256:
        return _Uint(int(uint[1]))
    if fixed is not None and int(fixed[1]) <= _WORD:
        return _FixedBytes(int(fixed[1]))
    simple: dict[str, Codec] = {"bool": _Bool(), "address": _Address(), "bytes": _Bytes(), "string": _String()}
    if kind not in simple:
        raise ValueError(f"no ABI type that is used here: {kind}")
    return simple[kind]
