"""The streaming format against stock Tink, and what a decryptor refuses. The vectors hold more of both."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vectorgen.stream_suite import tink_primitive

import caimi.bundle.stream as stream_module
from caimi.bundle.errors import (
    MalformedHeader,
    StreamRefused,
    StreamTooLong,
    TamperedSegment,
    TrailingBytes,
    TruncatedStream,
    WrongContentKey,
)
from caimi.bundle.stream import (
    HEADER_BYTES,
    MAX_SEGMENTS,
    SEGMENT_BYTES,
    TAG_BYTES,
    Decryptor,
    StreamSize,
    bundle_associated_data,
    content_key,
    decrypt_segments,
    encrypt_segments,
)
from caimi.types.errors import BadLength
from caimi.types.primitives import Bytes32
from caimi.wire.keccak import Tag

KEY = content_key(bytes(range(32)))
SALT, PREFIX, DATA = bytes(range(32, 64)), bytes(range(7)), b"associated"
FIRST = SEGMENT_BYTES - HEADER_BYTES - TAG_BYTES
REST = SEGMENT_BYTES - TAG_BYTES
TWO_AND_A_BIT = bytes(i % 251 for i in range(1000)) * 2500


def encrypt(plaintext: bytes) -> bytes:
    segments = encrypt_segments(KEY, associated_data=DATA, salt=SALT, prefix=PREFIX, chunks=[plaintext])
    return b"".join(bytes(s) for s in segments)


def decrypt(ciphertext: bytes) -> bytes:
    pieces = decrypt_segments(KEY, associated_data=DATA, chunks=[ciphertext], ciphertext_bytes=len(ciphertext))
    return b"".join(bytes(p) for p in pieces)


def decryptor(ciphertext: bytes) -> Decryptor:
    header = ciphertext[:HEADER_BYTES]
    return Decryptor(KEY, associated_data=DATA, header=header, ciphertext_bytes=len(ciphertext))


def segments_of(ciphertext: bytes) -> list[bytes]:
    return [ciphertext[i : i + SEGMENT_BYTES] for i in range(0, len(ciphertext), SEGMENT_BYTES)]


@pytest.mark.parametrize("size", [0, 1, FIRST, FIRST + 1, FIRST + REST, 2_500_000])
def test_tink_opens_ours_and_we_open_tinks(size: int) -> None:
    plaintext, tink = TWO_AND_A_BIT[:size], tink_primitive(KEY)
    with tink.new_decrypting_stream(io.BytesIO(encrypt(plaintext)), DATA) as opened:
        assert opened.read() == plaintext
    sink = io.BytesIO()
    sink.close = lambda: None  # Tink closes what it writes to
    with tink.new_encrypting_stream(sink, DATA) as sealed:
        sealed.write(plaintext)
    assert len(sink.getvalue()) == StreamSize.of_plaintext(size).ciphertext_bytes
    assert decrypt(sink.getvalue()) == plaintext


@given(st.integers(0, 3 * SEGMENT_BYTES))
def test_sizes_are_inverse_and_cover_the_stream(size: int) -> None:
    sizes = StreamSize.of_plaintext(size)
    assert StreamSize.of_ciphertext(sizes.ciphertext_bytes) == sizes
    spans = [sizes.segment_span(i) for i in range(sizes.segments)]
    assert [start for start, _ in spans] == [i * SEGMENT_BYTES for i in range(sizes.segments)]
    assert sum(length for _, length in spans) == sizes.ciphertext_bytes
    plain = [sizes.plaintext_span(i) for i in range(sizes.segments)]
    assert [start for start, _ in plain] == [sum(n for _, n in plain[:i]) for i in range(sizes.segments)]
    assert sum(length for _, length in plain) == size


@settings(max_examples=20)
@given(st.lists(st.integers(1, 900_000), max_size=6))
def test_the_cut_of_the_plaintext_does_not_matter(cuts: list[int]) -> None:
    chunks, at = list[bytes](), 0
    for cut in cuts:
        chunks.append(TWO_AND_A_BIT[at : at + cut])
        at += cut
    chunks.append(TWO_AND_A_BIT[at:])
    sealed = encrypt_segments(KEY, associated_data=DATA, salt=SALT, prefix=PREFIX, chunks=chunks)
    assert b"".join(bytes(s) for s in sealed) == encrypt(TWO_AND_A_BIT)


def test_segments_open_in_any_order_and_into_a_given_buffer() -> None:
    ciphertext = encrypt(TWO_AND_A_BIT)
    opener, out = decryptor(ciphertext), bytearray(len(TWO_AND_A_BIT))
    for index in (2, 0, 1):
        start, length = opener.size.plaintext_span(index)
        into = memoryview(out)[start : start + length]
        opener.open_segment(index, segments_of(ciphertext)[index], into=into)
    assert out == TWO_AND_A_BIT


def test_memory_does_not_grow_with_the_content() -> None:
    def zeros() -> Iterator[bytes]:
        piece = bytes(1 << 20)
        for _ in range(64):
            yield piece

    size = StreamSize.of_plaintext(64 << 20).ciphertext_bytes
    sealed = encrypt_segments(KEY, associated_data=DATA, salt=SALT, prefix=PREFIX, chunks=zeros())
    tracemalloc.start()
    try:
        opened = decrypt_segments(KEY, associated_data=DATA, chunks=sealed, ciphertext_bytes=size)
        assert sum(len(p) for p in opened) == 64 << 20
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 << 20


@settings(max_examples=40)
@given(st.data())
def test_rejects_every_changed_bit(data: st.DataObject) -> None:
    ciphertext = bytearray(encrypt(b"a model" * 20))
    at = data.draw(st.integers(0, len(ciphertext) - 1))
    ciphertext[at] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(StreamRefused):
        decrypt(bytes(ciphertext))


def test_rejects_a_changed_segment_by_index_and_leaves_zeros() -> None:
    ciphertext = bytearray(encrypt(TWO_AND_A_BIT))
    ciphertext[SEGMENT_BYTES + 5] ^= 1
    opener, parts = decryptor(bytes(ciphertext)), segments_of(bytes(ciphertext))
    opener.open_segment(0, parts[0])
    into = bytearray(b"\xff" * REST)
    with pytest.raises(TamperedSegment) as caught:
        opener.open_segment(1, parts[1], into=memoryview(into))
    assert caught.value.index == 1
    assert into == bytes(REST)
    opener.open_segment(2, parts[2])


def test_rejects_the_wrong_key_and_leaves_zeros() -> None:
    ciphertext = encrypt(b"secret" * 100)
    other = content_key(bytes(32))
    opener = Decryptor(other, associated_data=DATA, header=ciphertext[:40], ciphertext_bytes=len(ciphertext))
    into = bytearray(b"\xff" * 600)
    with pytest.raises(WrongContentKey):
        opener.open_segment(0, ciphertext, into=memoryview(into))
    assert into == bytes(600)


def test_rejects_a_segment_in_another_place() -> None:
    ciphertext = encrypt(bytes(FIRST + 3 * REST))
    parts, opener = segments_of(ciphertext), decryptor(ciphertext)
    opener.open_segment(0, parts[0])
    with pytest.raises(TamperedSegment):
        opener.open_segment(1, parts[2])


@pytest.mark.parametrize("index", [-1, 3])
def test_rejects_a_segment_that_is_not_there(index: int) -> None:
    ciphertext = encrypt(TWO_AND_A_BIT)
    with pytest.raises(TruncatedStream):
        decryptor(ciphertext).open_segment(index, ciphertext[:SEGMENT_BYTES])


@pytest.mark.parametrize(("change", "error"), [(-1, TruncatedStream), (1, TrailingBytes)])
def test_rejects_a_segment_of_another_length(change: int, error: type[StreamRefused]) -> None:
    ciphertext = encrypt(TWO_AND_A_BIT)
    with pytest.raises(error):
        decryptor(ciphertext).open_segment(1, (ciphertext * 2)[SEGMENT_BYTES : 2 * SEGMENT_BYTES + change])


@pytest.mark.parametrize("size", [0, 39, 40, 55, SEGMENT_BYTES + 1, SEGMENT_BYTES + 16, 2 * SEGMENT_BYTES + 16])
def test_rejects_a_length_that_no_stream_has(size: int) -> None:
    with pytest.raises(TruncatedStream):
        StreamSize.of_ciphertext(size)


@pytest.mark.parametrize("header", [b"", bytes([40]) * 39, bytes([39]) + bytes(39), bytes([40]) * 41])
def test_rejects_a_malformed_header(header: bytes) -> None:
    with pytest.raises(MalformedHeader):
        Decryptor(KEY, associated_data=DATA, header=header, ciphertext_bytes=1000)


def test_rejects_more_segments_than_a_counter_holds() -> None:
    most = FIRST + (MAX_SEGMENTS - 1) * REST
    assert StreamSize.of_plaintext(most).segments == MAX_SEGMENTS
    with pytest.raises(StreamTooLong):
        StreamSize.of_plaintext(most + 1)
    with pytest.raises(StreamTooLong):
        StreamSize.of_ciphertext(MAX_SEGMENTS * SEGMENT_BYTES + 17)
    assert stream_module._nonce(PREFIX, MAX_SEGMENTS - 1, True) == PREFIX + b"\xff\xff\xff\xff\x01"
    with pytest.raises(StreamTooLong):
        stream_module._nonce(PREFIX, MAX_SEGMENTS, True)


@pytest.mark.parametrize(("key", "salt", "prefix"), [(31, 32, 7), (33, 32, 7), (32, 31, 7), (32, 33, 7), (32, 32, 6)])
def test_rejects_key_salt_and_prefix_of_other_lengths(key: int, salt: int, prefix: int) -> None:
    with pytest.raises(BadLength):
        segments = encrypt_segments(
            content_key(bytes(key)), associated_data=b"", salt=bytes(salt), prefix=bytes(prefix), chunks=[b"x"]
        )
        next(segments)


def test_wiping_overwrites_the_buffer() -> None:
    ciphertext = encrypt(b"secret weights")
    opener = decryptor(ciphertext)
    view = opener.open_segment(0, ciphertext)
    assert bytes(view) == b"secret weights"
    opener.wipe()
    assert bytes(view) == bytes(14)


def test_a_finished_pass_leaves_no_plaintext_in_its_buffer() -> None:
    views = list(decrypt_segments(KEY, associated_data=DATA, chunks=[encrypt(b"secret")], ciphertext_bytes=62))
    assert [bytes(v) for v in views] == [bytes(6)]


def test_associated_data_binds_the_manifest() -> None:
    commitment = Bytes32(bytes(range(32)))
    assert bundle_associated_data(commitment) == b"CAIMI/1/stream".ljust(32, b"\0") + commitment
    assert bundle_associated_data(commitment)[:32] == Tag.STREAM.bytes32
    with pytest.raises(BadLength):
        bundle_associated_data(Bytes32(bytes(31)))
