"""Reads vectors/stream: the streaming format, encrypted and decrypted, and changed ciphertexts (spec 15 §6)."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any

import pytest
from suites import named, suite, unhex
from vectorgen.content_recipe import RECIPE, content

from caimi.bundle import errors
from caimi.bundle.stream import SEGMENT_BYTES, ContentKey, content_key, decrypt_segments, encrypt_segments

SUITE = suite("stream/segments.json")
CASES = {case["tcId"]: case for case in SUITE["cases"]}


@lru_cache(maxsize=4)
def ciphertext(number: int) -> bytes:
    case = CASES[number]
    segments = encrypt_segments(
        content_key(unhex(case["key"])),
        associated_data=unhex(case["associatedData"]),
        salt=unhex(case["salt"]),
        prefix=unhex(case["prefix"]),
        chunks=content(case["seed"], case["size"]),
    )
    return b"".join(bytes(segment) for segment in segments)


def decrypt(key: ContentKey, associated_data: bytes, data: bytes, announced: int) -> bytes:
    pieces = decrypt_segments(key, associated_data=associated_data, chunks=[data], ciphertext_bytes=announced)
    return b"".join(bytes(piece) for piece in pieces)


def test_recipe_is_the_one_of_the_vectors() -> None:
    assert SUITE["recipe"] == RECIPE


@pytest.mark.parametrize("case", **named(SUITE["cases"]))
def test_ciphertext(case: dict[str, Any]) -> None:
    data = ciphertext(case["tcId"])
    assert len(data) == case["ciphertextBytes"]
    assert hashlib.sha256(data).digest() == unhex(case["ciphertextSha256"])
    opened = decrypt(content_key(unhex(case["key"])), unhex(case["associatedData"]), data, len(data))
    assert opened == b"".join(content(case["seed"], case["size"]))


@pytest.mark.parametrize("case", **named(SUITE["refusals"]))
def test_rejects_ciphertext(case: dict[str, Any]) -> None:
    base = CASES[case["case"]]
    key, associated_data = unhex(base["key"]), unhex(base["associatedData"])
    data = bytearray(ciphertext(case["case"]))
    announced: int | None = None
    for mutation in case["mutations"]:
        match mutation:
            case {"op": "flip", "at": at}:
                data[at] ^= 1
            case {"op": "cut", "to": size}:
                del data[size:]
            case {"op": "append", "bytes": more}:
                data += unhex(more)
            case {"op": "swap", "a": a, "b": b}:
                first, second = segment(data, a), segment(data, b)
                data[a * SEGMENT_BYTES : (a + 1) * SEGMENT_BYTES] = second
                data[b * SEGMENT_BYTES : (b + 1) * SEGMENT_BYTES] = first
            case {"op": "copy", "from": a, "to": b}:
                data[b * SEGMENT_BYTES : (b + 1) * SEGMENT_BYTES] = segment(data, a)
            case {"op": "announce", "bytes": size}:
                announced = size
            case {"op": "key"}:
                key = bytes([key[0] ^ 1]) + key[1:]
            case {"op": "associatedData"}:
                associated_data += b"\0"
            case _:
                pytest.fail(f"unknown mutation {mutation}")
    expected = getattr(errors, case["error"])
    with pytest.raises(expected) as caught:
        decrypt(content_key(key), associated_data, bytes(data), len(data) if announced is None else announced)
    assert type(caught.value) is expected
    if case["segment"] is not None:
        assert caught.value.index == case["segment"]


def segment(data: bytearray, index: int) -> bytes:
    return bytes(data[index * SEGMENT_BYTES : (index + 1) * SEGMENT_BYTES])
