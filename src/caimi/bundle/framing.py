"""The plaintext of a ciphertext: header, manifest, files; and the commitment to it (spec 15 §5)."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from caimi.bundle.buffers import BytesLike, overwrite
from caimi.bundle.canonical import MAX_DOCUMENT_BYTES
from caimi.bundle.errors import BundleTooLarge, CommitmentMismatch, FileMismatch, MalformedBundle, OutOfOrder
from caimi.bundle.manifest import FileEntry, Manifest, Role, decode_manifest, encode_manifest
from caimi.types.primitives import Bytes32, bytes32
from caimi.wire.keccak import Tag, tagged_hash

__all__ = ["MAGIC", "BundleReader", "OpenedFile", "bundle_bytes", "frame_bundle", "manifest_commitment"]

MAGIC: Final = b"CAIMIBN1"
_SALT_AT: Final = len(MAGIC)
_LENGTH_AT: Final = _SALT_AT + 32
_MANIFEST_AT: Final = _LENGTH_AT + 4


def manifest_commitment(salt: Bytes32, manifest: bytes) -> Bytes32:
    """tagged_hash("CAIMI/1/manifest", salt, manifest): hides the manifest while the salt is secret, and binds to it.

    Arguments:
        salt: 32 random bytes, fresh for each publication; it travels inside the encrypted bundle.
        manifest: The canonical bytes.
    """
    return tagged_hash(Tag.MANIFEST, bytes32(salt), manifest)


def bundle_bytes(manifest: Manifest) -> int:
    """Length of the whole plaintext."""
    return _MANIFEST_AT + len(encode_manifest(manifest)) + manifest.content_bytes


def frame_bundle(manifest: Manifest, *, salt: Bytes32, contents: Iterable[Iterable[BytesLike]]) -> Iterator[BytesLike]:
    """Yield the plaintext: magic, salt, length of the manifest (u32be), manifest, then each file's bytes.

    Arguments:
        contents: For each file in the manifest's order its bytes, cut anywhere.
    Raises:
        ManifestRefused: As `encode_manifest`.
        FileMismatch: A file changed since its hash was taken; the caller must throw away what was yielded.
    """
    encoded = encode_manifest(manifest)
    yield MAGIC + bytes32(salt) + len(encoded).to_bytes(4, "big") + encoded
    streams = iter(contents)
    for entry in manifest.files:
        digest, size = hashlib.sha256(), 0
        for chunk in next(streams, ()):
            size += memoryview(chunk).nbytes
            if size > entry.size:
                break
            digest.update(chunk)
            yield chunk
        if size != entry.size or digest.digest() != entry.sha256:
            raise FileMismatch(entry.path, "it changed while it was read")
    if next(streams, None) is not None:
        raise MalformedBundle("more files than the manifest names")


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedFile:
    """One file whose size and hash are those of the manifest."""

    entry: FileEntry
    data: bytearray
    """The whole content, owned by the receiver, who overwrites it after use."""


class BundleReader:
    """Reads a plaintext piece by piece and releases each file only when its hash is right.

    Feed pieces of any size, then call `finish`. `manifest` is set once its bytes were complete and matched the
    commitment; nothing is released before that. Memory is one released file and the manifest.
    """

    def __init__(
        self, commitment: Bytes32, *, max_content_bytes: int, released: Collection[Role] = tuple(Role)
    ) -> None:
        """Expect the manifest of `commitment` and at most that many bytes of files.

        Arguments:
            released: files of other roles are checked, and never in memory whole.
        """
        self._commitment = bytes32(commitment)
        self._limit = max_content_bytes
        self._released = frozenset(released)
        self._head = bytearray()
        self._manifest: Manifest | None = None
        self._file: bytearray | None = None
        self._digest = hashlib.sha256()
        self._filled = 0
        self._index = 0
        self._is_closed = False

    @property
    def manifest(self) -> Manifest | None:
        """The manifest, None until it was read and found to be the one committed to."""
        return self._manifest

    def feed(self, piece: BytesLike) -> list[OpenedFile]:
        """Take the next piece and return the released files that it completed.

        Raises:
            MalformedBundle: Wrong magic, a manifest over 1 MiB, or bytes after the last file.
            CommitmentMismatch: Another manifest.
            ManifestRefused: As `decode_manifest`.
            BundleTooLarge: More content than the limit; before any memory for it is taken.
            FileMismatch: A file's hash is wrong; its bytes are overwritten.
            OutOfOrder: An earlier call failed or finished the reader.
        """
        if self._is_closed:
            raise OutOfOrder("this reader has failed or is finished")
        try:
            return self._take(memoryview(piece).cast("B"))
        except BaseException:
            self._close()
            raise

    def finish(self) -> Manifest:
        """Check that everything announced was fed, and return the manifest.

        Raises:
            MalformedBundle: The plaintext ends too early.
            OutOfOrder: As `feed`.
        """
        if self._is_closed:
            raise OutOfOrder("this reader has failed or is finished")
        self._close()
        if self._manifest is None or self._index < len(self._manifest.files):
            raise MalformedBundle("the plaintext ends before its last file")
        return self._manifest

    def _take(self, piece: memoryview) -> list[OpenedFile]:
        opened: list[OpenedFile] = []
        if self._manifest is None:
            piece = self._read_head(piece)
            if self._manifest is None:
                return opened
            opened += self._next_files()
        while len(piece):
            piece = piece[self._fill(piece) :]
            opened += self._next_files()
        return opened

    def _read_head(self, piece: memoryview) -> memoryview:
        # Takes from `piece` what the header still lacks and returns the rest.
        while (missing := self._head_bytes() - len(self._head)) > 0:
            if not len(piece):
                return piece
            self._head += piece[:missing]
            piece = piece[missing:]
        encoded = bytes(self._head[_MANIFEST_AT:])
        salt = Bytes32(bytes(self._head[_SALT_AT:_LENGTH_AT]))
        if manifest_commitment(salt, encoded) != self._commitment:
            raise CommitmentMismatch("the publication commits to another manifest")
        manifest = decode_manifest(encoded)
        if manifest.content_bytes > self._limit:
            raise BundleTooLarge(f"{manifest.content_bytes} bytes of files, the limit is {self._limit}")
        self._manifest = manifest
        return piece

    def _head_bytes(self) -> int:
        if len(self._head) < _MANIFEST_AT:
            return _MANIFEST_AT
        if not self._head.startswith(MAGIC):
            raise MalformedBundle("the plaintext does not begin with the bundle's magic")
        length = int.from_bytes(self._head[_LENGTH_AT:_MANIFEST_AT], "big")
        if length > MAX_DOCUMENT_BYTES:
            raise MalformedBundle(f"a manifest of {length} bytes, the limit is {MAX_DOCUMENT_BYTES}")
        return _MANIFEST_AT + length

    def _fill(self, piece: memoryview) -> int:
        files = () if self._manifest is None else self._manifest.files
        if self._index == len(files):
            raise MalformedBundle("bytes after the last file")
        taken = piece[: files[self._index].size - self._filled]
        self._digest.update(taken)
        if self._file is not None:
            # From buffer to buffer: assigning to a part of a bytearray would leave a copy of the plaintext behind.
            memoryview(self._file)[self._filled : self._filled + len(taken)] = taken
        self._filled += len(taken)
        return len(taken)

    def _next_files(self) -> Iterator[OpenedFile]:
        # Yields the file that is complete and any empty ones that follow, and makes room for the next.
        files = () if self._manifest is None else self._manifest.files
        while self._index < len(files):
            entry = files[self._index]
            if self._file is None and entry.role in self._released:
                self._file = bytearray(entry.size)
            if self._filled < entry.size:
                return
            if self._digest.digest() != entry.sha256:
                raise FileMismatch(entry.path, "its hash is not the one in the manifest")
            data, self._file = self._file, None
            self._digest, self._filled = hashlib.sha256(), 0
            self._index += 1
            if data is not None:
                yield OpenedFile(entry=entry, data=data)

    def _close(self) -> None:
        self._is_closed = True
        if self._file is not None:
            overwrite(self._file)
            self._file = None
