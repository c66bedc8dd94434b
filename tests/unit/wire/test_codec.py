"""The codec's own edges; what ledgers must agree on is in the vectors."""

from __future__ import annotations

import pytest

from caimi.types.errors import BadEncoding
from caimi.wire.codec import LIST_LIMIT, decode_values, encode_values


@pytest.mark.parametrize("data", [b"", b"name", "é".encode(), b"\xff", b"a\xc3", b"\xed\xb2\x80", bytes(range(256))])
def test_strings_are_bytes(data: bytes) -> None:
    # A contract hashes and compares a string's bytes; what is lawful text is a rule of the record (spec 10 §2).
    carried = encode_values(("bytes",), (data,))
    (text,) = decode_values(("string",), carried)
    assert encode_values(("string",), (text,)) == carried
    assert text.encode("utf-8", "surrogateescape") == data


@pytest.mark.parametrize("text", ["\ud800", "a\udc7f", "\udfff"])
def test_rejects_text_that_stands_for_no_bytes(text: str) -> None:
    with pytest.raises(BadEncoding):
        encode_values(("string",), (text,))


@pytest.mark.parametrize("kind", ["bytes32", "bytes"])
def test_rejects_lists_beyond_the_limit(kind: str) -> None:
    most = encode_values((f"{kind}[]",), ((bytes(32),) * LIST_LIMIT,))
    assert len(decode_values((f"{kind}[]",), most)[0]) == LIST_LIMIT
    with pytest.raises(BadEncoding):
        decode_values((f"{kind}[]",), encode_values((f"{kind}[]",), ((bytes(32),) * (LIST_LIMIT + 1),)))


_GOOD = encode_values(("bytes32", "bytes"), (bytes(32), b"abc"))
_BAD = {
    "nothing": b"",
    "a byte less": _GOOD[:-1],
    "a word less": _GOOD[:-32],
    "a byte more": _GOOD + b"\0",
    "a word more": _GOOD + bytes(32),
    "an offset too low": _GOOD[:63] + b"\x20" + _GOOD[64:],
    "an offset too high": _GOOD[:63] + b"\x60" + _GOOD[64:],
    "a huge offset": _GOOD[:32] + b"\xff" * 32 + _GOOD[64:],
    "a huge length": _GOOD[:64] + b"\xff" * 32 + _GOOD[96:],
    "dirt behind bytes": _GOOD[:-1] + b"\x01",
}


@pytest.mark.parametrize("data", _BAD.values(), ids=_BAD)
def test_rejects_other_encodings(data: bytes) -> None:
    with pytest.raises(BadEncoding):
        decode_values(("bytes32", "bytes"), data)


def test_rejects_what_is_longer_than_asked_for() -> None:
    assert decode_values(("bytes32", "bytes"), _GOOD, limit=len(_GOOD)) == (bytes(32), b"abc")
    with pytest.raises(BadEncoding):
        decode_values(("bytes32", "bytes"), _GOOD, limit=len(_GOOD) - 1)
