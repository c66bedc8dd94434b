"""Bulk encryption in the wire format of Tink's AES256_GCM_HKDF_1MB streaming AEAD (spec 15 §6).

A ciphertext is cut into segments of 1 MiB, the first of which begins with the header, so that segment i is exactly
leaf i of the ciphertext's UnixFS tree. Stock Tink opens what `encrypt_segments` makes, and the other way round.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, NewType

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from caimi.bundle.buffers import BytesLike, cut, overwrite
from caimi.bundle.errors import (
    MalformedHeader,
    StreamTooLong,
    TamperedSegment,
    TrailingBytes,
    TruncatedStream,
    WrongContentKey,
)
from caimi.types.errors import BadLength
from caimi.types.primitives import Bytes32, bytes32
from caimi.wire.keccak import Tag

__all__ = [
    "HEADER_BYTES",
    "KEY_BYTES",
    "MAX_SEGMENTS",
    "PREFIX_BYTES",
    "SALT_BYTES",
    "SEGMENT_BYTES",
    "TAG_BYTES",
    "ContentKey",
    "Decryptor",
    "StreamSize",
    "bundle_associated_data",
    "content_key",
    "decrypt_segments",
    "encrypt_segments",
]

ContentKey = NewType("ContentKey", bytes)
"""Exactly 32 bytes of uniform randomness, used for one publication only."""

KEY_BYTES: Final = 32
SALT_BYTES: Final = 32
PREFIX_BYTES: Final = 7
TAG_BYTES: Final = 16
HEADER_BYTES: Final = 1 + SALT_BYTES + PREFIX_BYTES
"""40: one byte that holds 40, the salt, the nonce prefix."""
SEGMENT_BYTES: Final = 1 << 20
"""Ciphertext bytes of every segment but the last, header and tag included."""
MAX_SEGMENTS: Final = 1 << 32

_REST: Final = SEGMENT_BYTES - TAG_BYTES
_FIRST: Final = _REST - HEADER_BYTES


def content_key(value: bytes) -> ContentKey:
    """Check that a key is 32 bytes long.

    Raises:
        BadLength: It is not.
    """
    return ContentKey(bytes32(value))


def bundle_associated_data(manifest_commitment: Bytes32) -> bytes:
    """What binds a ciphertext to the publication's manifest: 64 bytes, tag "CAIMI/1/stream" and the commitment."""
    return Tag.STREAM.bytes32 + bytes32(manifest_commitment)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSize:
    """How many bytes and segments a stream has. Made by `of_plaintext` or `of_ciphertext`."""

    plaintext_bytes: int
    ciphertext_bytes: int
    segments: int
    """1 <= x <= 2**32; an empty plaintext has one segment."""

    @classmethod
    def of_plaintext(cls, plaintext_bytes: int) -> StreamSize:
        """Sizes of the stream that holds that much plaintext.

        Raises:
            StreamTooLong: More than 2**32 segments.
        """
        segments = 1 + max(0, -(-(plaintext_bytes - _FIRST) // _REST))
        if segments > MAX_SEGMENTS:
            raise StreamTooLong(f"{segments} segments, the format holds {MAX_SEGMENTS}")
        total = HEADER_BYTES + plaintext_bytes + TAG_BYTES * segments
        return cls(plaintext_bytes=plaintext_bytes, ciphertext_bytes=total, segments=segments)

    @classmethod
    def of_ciphertext(cls, ciphertext_bytes: int) -> StreamSize:
        """Sizes of a ciphertext of that length.

        Raises:
            TruncatedStream: No ciphertext has this length: the last segment would be empty or shorter than its tag.
            StreamTooLong: More than 2**32 segments.
        """
        segments = max(1, -(-ciphertext_bytes // SEGMENT_BYTES))
        plaintext = ciphertext_bytes - HEADER_BYTES - TAG_BYTES * segments
        if plaintext < 0 or cls.of_plaintext(plaintext).segments != segments:
            raise TruncatedStream(f"no stream has {ciphertext_bytes} bytes")
        return cls(plaintext_bytes=plaintext, ciphertext_bytes=ciphertext_bytes, segments=segments)

    def segment_span(self, index: int) -> tuple[int, int]:
        """Offset and length of segment `index` in the ciphertext, the header counted to segment 0."""
        self._check(index)
        start = index * SEGMENT_BYTES
        return start, min(SEGMENT_BYTES, self.ciphertext_bytes - start)

    def plaintext_span(self, index: int) -> tuple[int, int]:
        """Offset and length in the plaintext of what segment `index` holds."""
        start, length = self.segment_span(index)
        if index == 0:
            return 0, length - HEADER_BYTES - TAG_BYTES
        return start - HEADER_BYTES - index * TAG_BYTES, length - TAG_BYTES

    def _check(self, index: int) -> None:
        if not 0 <= index < self.segments:
            raise TruncatedStream(f"segment {index} of a stream of {self.segments}")


def encrypt_segments(
    key: ContentKey, *, associated_data: bytes, salt: bytes, prefix: bytes, chunks: Iterable[BytesLike]
) -> Iterator[memoryview]:
    """Encrypt the plaintext in `chunks`, cut anywhere, and yield the segments: 1 MiB each, the last one 17 or more.

    Arguments:
        salt: 32 random bytes, fresh for each call; a second stream under the same key and salt breaks the cipher
            unless it is the same stream again (an interrupted publication repeats its own).
        prefix: 7 random bytes, fresh as well.
    Each view is valid until the next one is asked for. Memory is two segments.

    Raises:
        BadLength: Of key, salt or prefix; before anything is yielded, at the first `next`.
        StreamTooLong: More than 2**32 segments.
    """
    header = bytes([HEADER_BYTES]) + _exactly(salt, SALT_BYTES) + _exactly(prefix, PREFIX_BYTES)
    cipher = _derive(key, salt, associated_data)
    buffer = bytearray(SEGMENT_BYTES)
    out = memoryview(buffer)
    out[:HEADER_BYTES] = header
    start = HEADER_BYTES
    for index, piece in enumerate(cut(chunks, first=_FIRST, rest=_REST)):
        end = start + len(piece.data) + TAG_BYTES
        cipher.encrypt_into(_nonce(prefix, index, piece.is_last), piece.data, None, out[start:end])
        yield out[:end]
        start = 0


class Decryptor:
    """Opens the segments of one ciphertext, in any order. Not safe for concurrent use."""

    def __init__(self, key: ContentKey, *, associated_data: bytes, header: BytesLike, ciphertext_bytes: int) -> None:
        """Take the first 40 bytes of the ciphertext and its total length.

        Raises:
            MalformedHeader: Not 40 bytes, or their first byte is not 40.
            TruncatedStream, StreamTooLong: As `StreamSize.of_ciphertext`.
            BadLength: Of the key.
        """
        head = bytes(header)
        if len(head) != HEADER_BYTES or head[0] != HEADER_BYTES:
            raise MalformedHeader(f"a header is {HEADER_BYTES} bytes and begins with that number")
        self.size = StreamSize.of_ciphertext(ciphertext_bytes)
        self._cipher = _derive(key, head[1 : 1 + SALT_BYTES], associated_data)
        self._prefix = head[1 + SALT_BYTES :]
        self._buffer = bytearray(_REST)
        self._has_opened = False

    def open_segment(self, index: int, segment: BytesLike, *, into: memoryview | None = None) -> memoryview:
        """Decrypt segment `index`, given whole: segment 0 with the header in front.

        Arguments:
            into: Where to put the plaintext: exactly `size.plaintext_span(index)[1]` bytes. Without it the result is
                a view of an own buffer, valid until the next call.
        Raises:
            TruncatedStream: The index is beyond the end, the segment is too short, or the stream was cut after it.
            TrailingBytes: The segment is too long, or it was the last of the stream that was encrypted.
            TamperedSegment: It does not open but others have.
            WrongContentKey: It does not open and no other has so far: if another opens, this one was changed.
        After an error `into` holds zeros: nothing unauthenticated is released.
        """
        _, length = self.size.segment_span(index)
        if len(segment) != length:
            short = len(segment) < length
            text = f"segment {index} has {len(segment)} bytes, expected {length}"
            raise TruncatedStream(text) if short else TrailingBytes(text)
        body = memoryview(segment)[HEADER_BYTES if index == 0 else 0 :]
        target = memoryview(self._buffer)[: len(body) - TAG_BYTES] if into is None else into
        is_last = index == self.size.segments - 1
        if self._opens(index, body, target, is_last=is_last):
            self._has_opened = True
            return target
        ends_elsewhere = self._opens(index, body, target, is_last=not is_last)
        target[:] = bytes(len(target))
        if ends_elsewhere:
            raise TruncatedStream(f"more follows segment {index}") if is_last else TrailingBytes(f"after {index}")
        if self._has_opened:
            raise TamperedSegment(index)
        raise WrongContentKey(f"segment {index} does not open, nor has any other")

    def wipe(self) -> None:
        """Overwrite the own buffer. Call it when done; copies made by the caller are the caller's."""
        overwrite(self._buffer)

    def _opens(self, index: int, body: memoryview, target: memoryview, *, is_last: bool) -> bool:
        try:
            self._cipher.decrypt_into(_nonce(self._prefix, index, is_last), body, None, target)
        except InvalidTag:
            return False
        return True


def decrypt_segments(
    key: ContentKey, *, associated_data: bytes, chunks: Iterable[BytesLike], ciphertext_bytes: int
) -> Iterator[memoryview]:
    """Decrypt a whole ciphertext of known length, cut anywhere, in one pass; memory is a few segments.

    Each view is one authenticated segment's plaintext, valid until the next one is asked for. The end of the content
    is known to be authentic only when the iterator is exhausted without an error.

    Raises:
        As `Decryptor`; and when the first segment fails, the second one decides between TamperedSegment and
        WrongContentKey.
    """
    pieces = enumerate(cut(chunks, first=SEGMENT_BYTES, rest=SEGMENT_BYTES))
    index, piece = next(pieces)
    header = piece.data[:HEADER_BYTES]
    decryptor = Decryptor(key, associated_data=associated_data, header=header, ciphertext_bytes=ciphertext_bytes)
    try:
        yield decryptor.open_segment(index, piece.data)
        for index, piece in pieces:
            if index == decryptor.size.segments:
                raise TrailingBytes(f"bytes after the last segment, {index - 1}")
            yield decryptor.open_segment(index, piece.data)
    except WrongContentKey:
        for second, piece in pieces:
            decryptor.open_segment(second, piece.data)
            raise TamperedSegment(0) from None
        raise
    finally:
        decryptor.wipe()
    if index != decryptor.size.segments - 1:
        raise TruncatedStream(f"the stream ends after segment {index} of {decryptor.size.segments}")


def _derive(key: ContentKey, salt: bytes, associated_data: bytes) -> AESGCM:
    kdf = HKDF(algorithm=hashes.SHA256(), length=KEY_BYTES, salt=salt, info=associated_data)
    return AESGCM(kdf.derive(_exactly(key, KEY_BYTES)))


def _nonce(prefix: bytes, index: int, is_last: bool) -> bytes:
    if index >= MAX_SEGMENTS:
        raise StreamTooLong(f"segment {index}, the format holds {MAX_SEGMENTS}")
    return prefix + index.to_bytes(4, "big") + (b"\x01" if is_last else b"\x00")


def _exactly(value: bytes, length: int) -> bytes:
    if len(value) != length:
        raise BadLength(length, len(value))
    return value
