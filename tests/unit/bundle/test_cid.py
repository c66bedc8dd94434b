"""CIDs: what the vectors do not show."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caimi.bundle.cid import CID_BYTES, CID_TEXT_CHARS, DAG_PB, RAW, cid_of, decode_cid, format_cid, parse_cid
from caimi.bundle.errors import CidRefused
from caimi.types.failure import Blame
from caimi.wire.digests import cid_bytes


@given(st.binary(max_size=64), st.sampled_from([RAW, DAG_PB]))
def test_both_forms_come_back(block: bytes, codec: int) -> None:
    cid = cid_of(codec, block)
    assert decode_cid(cid_bytes(cid)) == parse_cid(format_cid(cid)) == cid
    assert (len(cid_bytes(cid)), len(format_cid(cid))) == (CID_BYTES, CID_TEXT_CHARS)


@given(st.text(max_size=70))
def test_any_text_is_a_cid_or_refused(text: str) -> None:
    with contextlib.suppress(CidRefused):
        assert format_cid(parse_cid(text)) == text


@given(st.binary(max_size=40) | st.binary(min_size=34, max_size=34).map(lambda b: b"\x01\x55" + b))
def test_any_bytes_are_a_cid_or_refused(data: bytes) -> None:
    with contextlib.suppress(CidRefused):
        assert cid_bytes(decode_cid(data)) == data


@given(st.integers(0, CID_TEXT_CHARS - 1), st.sampled_from("abcdefghijklmnopqrstuvwxyz234567BZ018=é"))
def test_one_changed_character_is_another_cid_or_refused(at: int, character: str) -> None:
    good = format_cid(cid_of(RAW, b"x"))
    changed = good[:at] + character + good[at + 1 :]
    if changed != good:
        with contextlib.suppress(CidRefused):
            assert parse_cid(changed) != parse_cid(good)


def test_rejects_a_cid_and_blames_the_caller() -> None:
    with pytest.raises(CidRefused, match="not 35") as caught:
        decode_cid(bytes(35))
    assert (caught.value.blame, "ipfs add" in caught.value.hint) == (Blame.CALLER, True)
