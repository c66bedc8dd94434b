"""The ABI codec against an independent one, and what it refuses."""

from __future__ import annotations

from typing import Any, cast

import pytest
from eth_abi.abi import decode as reference_decode
from eth_abi.abi import encode as reference_encode
from eth_abi.exceptions import DecodingError
from hypothesis import given
from hypothesis import strategies as st

from caimi.types.errors import BadEncoding
from caimi.types.records import Cid, Lane
from caimi.wire.abi import LIST_LIMIT, basic_codec
from caimi.wire.codec import abi_type, decode_values, encode_values

_BASIC: dict[str, st.SearchStrategy[Any]] = {
    "uint8": st.integers(0, 255),
    "uint64": st.integers(0, (1 << 64) - 1),
    "uint256": st.integers(0, (1 << 256) - 1),
    "bytes32": st.binary(min_size=32, max_size=32),
    "bytes4": st.binary(min_size=4, max_size=4),
    "address": st.binary(min_size=20, max_size=20),
    "bool": st.booleans(),
    "bytes": st.binary(max_size=70),
    "string": st.text(max_size=40).filter(lambda text: text.isprintable()),
    "Lane": st.builds(Lane, chain=st.binary(min_size=32, max_size=32), registry=st.binary(min_size=32, max_size=32)),
}


@st.composite
def _typed(draw: st.DrawFn) -> tuple[tuple[str, ...], tuple[Any, ...]]:
    kinds: list[str] = []
    values: list[Any] = []
    for _ in range(draw(st.integers(0, 6))):
        kind = draw(st.sampled_from(sorted(_BASIC)))
        if draw(st.booleans()):
            kinds.append(kind + "[]")
            values.append(tuple(draw(st.lists(_BASIC[kind], max_size=4))))
        else:
            kinds.append(kind)
            values.append(draw(_BASIC[kind]))
    return tuple(kinds), tuple(values)


def _for_reference(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_for_reference(one) for one in cast("tuple[Any, ...]", value)]
    if isinstance(value, Lane):
        return value.chain, value.registry
    return "0x" + value.hex() if isinstance(value, bytes) and len(value) == 20 else value


@given(_typed())
def test_encodes_as_an_independent_library_and_decodes_back(typed: tuple[tuple[str, ...], tuple[Any, ...]]) -> None:
    kinds, values = typed
    encoded = encode_values(kinds, values)
    # A 20-byte value of type bytes would be taken for an address.
    if not any(kind.startswith("bytes") and _has_twenty(v) for kind, v in zip(kinds, values, strict=True)):
        given_to_it = [_for_reference(value) for value in values]
        assert encoded == reference_encode([abi_type(kind) for kind in kinds], given_to_it)
    assert decode_values(kinds, encoded) == values


def _has_twenty(value: Any) -> bool:
    if isinstance(value, tuple):
        return any(_has_twenty(one) for one in cast("tuple[Any, ...]", value))
    return len(value) == 20


@given(_typed(), st.data())
def test_changed_bytes_are_refused_or_other_values(
    typed: tuple[tuple[str, ...], tuple[Any, ...]], data: st.DataObject
) -> None:
    kinds, values = typed
    encoded = bytearray(encode_values(kinds, values))
    if not encoded:
        return
    place = data.draw(st.integers(0, len(encoded) - 1))
    encoded[place] ^= data.draw(st.integers(1, 255))
    try:
        decoded = decode_values(kinds, bytes(encoded))
    except BadEncoding:
        return
    assert decoded != values
    assert encode_values(kinds, decoded) == bytes(encoded)


@given(_typed(), st.binary(max_size=300))
def test_garbage_is_refused_or_canonical(typed: tuple[tuple[str, ...], tuple[Any, ...]], garbage: bytes) -> None:
    kinds, _ = typed
    try:
        decoded = decode_values(kinds, garbage)
    except BadEncoding:
        return
    assert encode_values(kinds, decoded) == garbage


def _words(*words: int | bytes) -> bytes:
    return b"".join(w.to_bytes(32, "big") if isinstance(w, int) else w for w in words)


_REFUSED: dict[str, tuple[tuple[str, ...], bytes]] = {
    "nothing": (("uint8",), b""),
    "half a word": (("uint8",), bytes(31)),
    "a byte more": (("uint8",), bytes(33)),
    "too large a number": (("uint8",), _words(256)),
    "too large a truth value": (("bool",), _words(2)),
    "bytes in an address's padding": (("address",), b"\1" + bytes(31)),
    "bytes in fixed bytes' padding": (("bytes4",), bytes(31) + b"\1"),
    "bytes in the padding": (("bytes",), _words(32, 1, b"a" + bytes(30) + b"\1")),
    "no padding": (("bytes",), _words(32, 1, b"a")),
    "a length beyond the data": (("bytes",), _words(32, 33, bytes(32))),
    "an enormous length": (("bytes",), _words(32, (1 << 256) - 1, bytes(32))),
    "an offset with a gap": (("bytes",), _words(64, 0, 1, b"a".ljust(32, b"\0"))),
    "an offset backwards": (("bytes", "bytes"), _words(64, 64, 0)),
    "an offset into itself": (("bytes",), _words(0, 0)),
    "tails in another order": (("bytes", "bytes"), _words(128, 64, 1, b"b".ljust(32, b"\0"), 1, b"a".ljust(32, b"\0"))),
    "more elements than data": (("uint8[]",), _words(32, 2, 1)),
    "an enormous list": (("uint8[]",), _words(32, 1 << 255)),
    "an enormous list of lists": (("bytes[]",), _words(32, 1 << 64, 32, 0)),
    "something left over": (("uint8[]",), _words(32, 1, 1, 0)),
}


@pytest.mark.parametrize(("kinds", "data"), _REFUSED.values(), ids=_REFUSED)
def test_refuses_what_is_not_canonical(kinds: tuple[str, ...], data: bytes) -> None:
    with pytest.raises(BadEncoding):
        decode_values(kinds, data)


def test_some_of_what_is_refused_is_lawful_elsewhere() -> None:
    kinds, data = _REFUSED["tails in another order"]
    assert reference_decode(list(kinds), data) == (b"a", b"b")
    with pytest.raises(DecodingError):
        reference_decode(["bytes"], _REFUSED["a length beyond the data"][1])


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("uint8", 256),
        ("uint8", -1),
        ("uint8", True),
        ("uint8", "1"),
        ("uint8", None),
        ("bool", 1),
        ("bytes32", bytes(31)),
        ("bytes32", bytes(33)),
        ("bytes32", "0" * 32),
        ("address", bytes(19)),
        ("address", bytes(32)),
        ("address", "0x" + "00" * 20),
        ("bytes", "text"),
        ("bytes", None),
        ("string", b"bytes"),
        ("string", "\ud800"),
        ("Lane", Cid(codec=1, digest=bytes(32))),  # type: ignore[arg-type]
        ("Lane", (bytes(32), bytes(32))),
        ("uint8[]", 1),
        ("uint8[]", None),
        ("uint8[]", b"\1\2"),
        ("uint8[]", (1,) * (LIST_LIMIT + 1)),
    ],
)
def test_refuses_values_that_do_not_fit(kind: str, value: Any) -> None:
    with pytest.raises(BadEncoding):
        encode_values((kind,), (value,))


@pytest.mark.parametrize("values", [(), (1, 2)])
def test_refuses_another_number_of_values(values: tuple[int, ...]) -> None:
    with pytest.raises(BadEncoding):
        encode_values(("uint8",), values)


def test_the_longest_list_is_encoded_and_decoded() -> None:
    longest = (7,) * LIST_LIMIT
    encoded = encode_values(("uint8[]",), (longest,))
    assert decode_values(("uint8[]",), encoded) == (longest,)
    one_more = _words(32, LIST_LIMIT + 1) + encoded[64:] + _words(7)
    with pytest.raises(BadEncoding):
        decode_values(("uint8[]",), one_more)


@pytest.mark.parametrize("kind", ["int8", "uint7", "uint264", "uint", "bytes33", "bytes0", "Nothing", "uint8[2]"])
def test_knows_no_other_types(kind: str) -> None:
    with pytest.raises(ValueError, match="no ABI type"):
        basic_codec(kind)
