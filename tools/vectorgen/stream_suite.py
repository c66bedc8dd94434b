"""vectors/stream: ciphertexts of the streaming format, each confirmed by Tink, and changed ones that are refused."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from typing import Any

from tink import JsonKeysetReader, cleartext_keyset_handle, streaming_aead

from caimi.bundle.stream import HEADER_BYTES, SEGMENT_BYTES, TAG_BYTES, content_key, encrypt_segments
from vectorgen.content_recipe import RECIPE, content

__all__ = ["stream_suite", "tink_primitive"]

_TYPE_URL = "type.googleapis.com/google.crypto.tink.AesGcmHkdfStreamingKey"
_REST = SEGMENT_BYTES - TAG_BYTES
_FIRST = _REST - HEADER_BYTES
_SIZES = (
    ("empty", 0),
    ("one byte", 1),
    ("one byte less than the first segment", _FIRST - 1),
    ("exactly the first segment", _FIRST),
    ("one byte more than the first segment", _FIRST + 1),
    ("exactly two segments", _FIRST + _REST),
    ("one byte more than two segments", _FIRST + _REST + 1),
    ("five million bytes", 5_000_000),
)


def stream_suite() -> dict[str, Any]:
    """stream/segments.json."""
    cases = [_case(number, comment, size) for number, (comment, size) in enumerate(_SIZES, 1)]
    three, five = cases[6]["ciphertextBytes"], cases[7]["ciphertextBytes"]
    last = 2 * SEGMENT_BYTES
    flip = "flip"
    refusals: list[tuple[str, int, list[dict[str, Any]], str, int | None]] = [
        ("header: length byte", 7, [{"op": flip, "at": 0}], "MalformedHeader", None),
        ("header: salt", 7, [{"op": flip, "at": 1}], "WrongContentKey", None),
        ("header: nonce prefix", 7, [{"op": flip, "at": 39}], "WrongContentKey", None),
        ("wrong key", 7, [{"op": "key"}], "WrongContentKey", None),
        ("wrong associated data", 7, [{"op": "associatedData"}], "WrongContentKey", None),
        ("wrong key, a single segment", 2, [{"op": "key"}], "WrongContentKey", None),
        ("segment 0 changed", 7, [{"op": flip, "at": HEADER_BYTES}], "TamperedSegment", 0),
        ("segment 0's tag changed", 7, [{"op": flip, "at": SEGMENT_BYTES - 1}], "TamperedSegment", 0),
        ("segment 1 changed", 7, [{"op": flip, "at": SEGMENT_BYTES}], "TamperedSegment", 1),
        ("segment 1's tag changed", 7, [{"op": flip, "at": last - 1}], "TamperedSegment", 1),
        ("the last segment changed", 7, [{"op": flip, "at": last}], "TamperedSegment", 2),
        ("the last segment's tag changed", 7, [{"op": flip, "at": three - 1}], "TamperedSegment", 2),
        ("segments 1 and 2 of five swapped", 8, [{"op": "swap", "a": 1, "b": 2}], "TamperedSegment", 1),
        ("segment 1 twice", 8, [{"op": "copy", "from": 1, "to": 2}], "TamperedSegment", 2),
        ("the only segment changed", 2, [{"op": flip, "at": HEADER_BYTES}], "WrongContentKey", None),
        ("nothing at all", 2, [_cut(0)], "MalformedHeader", None),
        ("half a header", 2, [_cut(20)], "MalformedHeader", None),
        ("only a header", 2, [_cut(40)], "TruncatedStream", None),
        ("cut inside the first tag", 2, [_cut(55)], "TruncatedStream", None),
        ("cut after segment 0", 7, [_cut(SEGMENT_BYTES)], "TruncatedStream", None),
        ("cut after segment 1", 7, [_cut(last)], "TruncatedStream", None),
        ("cut inside the last tag", 7, [_cut(last + 10)], "TruncatedStream", None),
        ("cut to an empty last segment", 7, [_cut(last + TAG_BYTES)], "TruncatedStream", None),
        ("cut by one byte", 8, [_cut(five - 1)], "TamperedSegment", 4),
        ("cut by the last segment's only byte", 7, [_cut(three - 1)], "TruncatedStream", None),
        ("a byte after a short last segment", 7, [_append(1)], "TamperedSegment", 2),
        ("bytes after a full last segment", 6, [_append(17)], "TrailingBytes", None),
        ("bytes after a full last segment, not announced", 6, [_append(17), _announce(last)], "TrailingBytes", None),
        ("announced longer than it is", 7, [_announce(three + 1)], "TruncatedStream", None),
        ("announced shorter than it is", 8, [_announce(five - 1)], "TrailingBytes", None),
        ("announced to end after segment 1", 8, [_announce(last)], "TruncatedStream", None),
        ("announced a segment longer", 6, [_announce(last + 17)], "TrailingBytes", None),
        ("cut after segment 1, announced whole", 7, [_cut(last), _announce(three)], "TruncatedStream", None),
        ("announced a length that no stream has", 6, [_announce(last + 16)], "TruncatedStream", None),
    ]
    return {
        "format": "Tink AES256_GCM_HKDF_1MB, output prefix RAW",
        "oracle": "tink 1.16.1 decrypts every case to the plaintext",
        "recipe": RECIPE,
        "cases": cases,
        "refusals": [
            {"tcId": 1000 + i, "comment": c, "case": base, "mutations": m, "error": e, "segment": s}
            for i, (c, base, m, e, s) in enumerate(refusals)
        ],
    }


def _cut(size: int) -> dict[str, Any]:
    return {"op": "cut", "to": size}


def _append(zeros: int) -> dict[str, Any]:
    return {"op": "append", "bytes": "0x" + "00" * zeros}


def _announce(size: int) -> dict[str, Any]:
    return {"op": "announce", "bytes": size}


def tink_primitive(key: bytes) -> Any:
    """Stock Tink's streaming AEAD over a raw key of the template AES256_GCM_HKDF_1MB."""
    streaming_aead.register()
    # AesGcmHkdfStreamingKey { params { segment size 2^20, derived key size 32, hash SHA256 }, key_value }
    value = bytes.fromhex("1208" + "08808040" + "1020" + "1803") + b"\x1a\x20" + key
    data = {"typeUrl": _TYPE_URL, "value": base64.b64encode(value).decode(), "keyMaterialType": "SYMMETRIC"}
    entry = {"keyData": data, "status": "ENABLED", "keyId": 1, "outputPrefixType": "RAW"}
    reader = JsonKeysetReader(json.dumps({"primaryKeyId": 1, "key": [entry]}))
    return cleartext_keyset_handle.read(reader).primitive(streaming_aead.StreamingAead)


def _case(number: int, comment: str, size: int) -> dict[str, Any]:
    def derived(what: str, length: int) -> bytes:
        return hashlib.shake_128(f"caimi stream {number} {what}".encode()).digest(length)

    key, salt, prefix = content_key(derived("key", 32)), derived("salt", 32), derived("prefix", 7)
    associated_data, seed = derived("associated data", 64), f"caimi stream {number}"
    plaintext = b"".join(content(seed, size))
    segments = encrypt_segments(key, associated_data=associated_data, salt=salt, prefix=prefix, chunks=[plaintext])
    ciphertext = b"".join(bytes(segment) for segment in segments)
    with tink_primitive(key).new_decrypting_stream(io.BytesIO(ciphertext), associated_data) as opened:
        if opened.read() != plaintext:
            raise RuntimeError(f"Tink does not open case {number} to its plaintext")
    return {
        "tcId": number,
        "comment": comment,
        "key": "0x" + key.hex(),
        "associatedData": "0x" + associated_data.hex(),
        "salt": "0x" + salt.hex(),
        "prefix": "0x" + prefix.hex(),
        "seed": seed,
        "size": size,
        "ciphertextBytes": len(ciphertext),
        "ciphertextSha256": "0x" + hashlib.sha256(ciphertext).hexdigest(),
    }
