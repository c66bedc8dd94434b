"""Canonical JSON: what the manifest vectors do not show."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caimi.bundle.canonical import MAX_DOCUMENT_BYTES, MAX_INTEGER, Json, decode_canonical, encode_canonical
from caimi.bundle.errors import ManifestRefused

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_ASCII = st.text(st.characters(max_codepoint=127), max_size=6)
_LEAVES = st.none() | st.integers(0, MAX_INTEGER) | _TEXT
_DOCUMENTS: st.SearchStrategy[Json] = st.recursive(
    _LEAVES, lambda x: st.lists(x, max_size=4) | st.dictionaries(_ASCII, x, max_size=4), max_leaves=12
)


def depth(value: Json) -> int:
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + max((depth(item) for item in value), default=0) if isinstance(value, list) else 0


@given(_DOCUMENTS)
def test_documents_come_back(document: Json) -> None:
    if depth(document) <= 8:
        assert decode_canonical(encode_canonical(document)) == document


@given(st.binary(max_size=60) | st.text(alphabet='{}[]",:0123456789 \\nul-.e', max_size=30).map(str.encode))
def test_any_bytes_are_canonical_or_refused(data: bytes) -> None:
    with contextlib.suppress(ManifestRefused):
        assert encode_canonical(decode_canonical(data)) == data


@given(_DOCUMENTS)
def test_every_other_spelling_is_refused(document: Json) -> None:
    canonical = encode_canonical(document) if depth(document) <= 8 else b""
    for text in (json.dumps(document), json.dumps(document, indent=1), json.dumps(document, ensure_ascii=False)):
        if text.encode() != canonical:
            with pytest.raises(ManifestRefused):
                decode_canonical(text.encode())


@pytest.mark.parametrize("value", [1.5, True, -1, MAX_INTEGER + 1, "\ud800", {"é": 1}, {1: 1}, b"x", (1,)])
def test_rejects_values_that_have_no_canonical_form(value: Any) -> None:
    with pytest.raises(ManifestRefused):
        encode_canonical(value)


def test_rejects_a_ninth_level_on_both_sides() -> None:
    document: Json = 1
    for _ in range(8):
        document = [document]
    assert decode_canonical(encode_canonical(document)) == document
    with pytest.raises(ManifestRefused, match="8 deep"):
        encode_canonical([document])
    with pytest.raises(ManifestRefused, match="8 deep"):
        decode_canonical(b"[" * 9 + b"]" * 9)
    with pytest.raises(ManifestRefused, match="8 deep"):
        decode_canonical(b'{"a":' * 9 + b"1" + b"}" * 9)


def test_rejects_more_than_a_mebibyte_before_reading_it() -> None:
    most = b'"' + b"a" * (MAX_DOCUMENT_BYTES - 2) + b'"'
    assert decode_canonical(most) == "a" * (MAX_DOCUMENT_BYTES - 2)
    with pytest.raises(ManifestRefused, match="the limit is"):
        decode_canonical(most + b" ")
    with pytest.raises(ManifestRefused, match="the limit is"):
        encode_canonical("a" * MAX_DOCUMENT_BYTES)


def test_rejects_a_long_number_without_converting_it() -> None:
    with pytest.raises(ManifestRefused, match="a number of 1000000 digits"):
        decode_canonical(b"9" * 1_000_000)


def test_rejects_a_repeated_key_as_such() -> None:
    with pytest.raises(ManifestRefused, match="an object repeats a key"):
        decode_canonical(b'{"a":1,"a":1}')
