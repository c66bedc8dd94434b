"""From files to ciphertext and back: the parts of this package put together (spec 15 §8)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from caimi.bundle.buffers import BytesLike
from caimi.bundle.errors import OutOfOrder, TrailingBytes, TruncatedStream
from caimi.bundle.framing import BundleReader, OpenedFile, frame_bundle, manifest_commitment
from caimi.bundle.manifest import Manifest, Role, encode_manifest
from caimi.bundle.stream import HEADER_BYTES, ContentKey, Decryptor, bundle_associated_data, encrypt_segments
from caimi.types.primitives import Bytes32

__all__ = ["BundleOpener", "SealEntropy", "seal_bundle"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SealEntropy:
    """All randomness of one sealed bundle. The same entropy and files give the same ciphertext, so an interrupted
    publication can be taken up again; with other files it must never be used twice."""

    manifest_salt: Bytes32
    """32 random bytes that hide the manifest behind its commitment."""
    stream_salt: Bytes32
    """32 random bytes for the key derivation."""
    stream_prefix: bytes
    """7 random bytes."""


def seal_bundle(
    key: ContentKey, manifest: Manifest, *, entropy: SealEntropy, contents: Iterable[Iterable[BytesLike]]
) -> Iterator[memoryview]:
    """Frame and encrypt the files of a manifest; yields segments, each valid until the next one is asked for.

    Raises:
        As `frame_bundle` and `encrypt_segments`.
    """
    commitment = manifest_commitment(entropy.manifest_salt, encode_manifest(manifest))
    return encrypt_segments(
        key,
        associated_data=bundle_associated_data(commitment),
        salt=entropy.stream_salt,
        prefix=entropy.stream_prefix,
        chunks=frame_bundle(manifest, salt=entropy.manifest_salt, contents=contents),
    )


class BundleOpener:
    """Opens a ciphertext segment by segment, as its leaves come out of the content store.

    Memory is one segment and one released file. Nothing is released before its segment is authentic, the manifest is
    the one committed to, and the file's hash is right.
    """

    def __init__(
        self,
        key: ContentKey,
        *,
        commitment: Bytes32,
        ciphertext_bytes: int,
        max_content_bytes: int,
        released: Collection[Role] = tuple(Role),
    ) -> None:
        """Expect a ciphertext of that length (which the content store knows from the root block) and commitment.

        Arguments:
            released: as `BundleReader`.
        """
        self._key = key
        self._associated_data = bundle_associated_data(commitment)
        self._ciphertext_bytes = ciphertext_bytes
        self._reader = BundleReader(commitment, max_content_bytes=max_content_bytes, released=released)
        self._decryptor: Decryptor | None = None
        self._index = 0
        self._is_closed = False

    def feed(self, segment: BytesLike) -> list[OpenedFile]:
        """Take the next whole segment (1 MiB, the last one shorter) and return the files that it completed.

        Raises:
            StreamRefused, ManifestRefused, CommitmentMismatch, MalformedBundle, BundleTooLarge, FileMismatch: As
                `Decryptor` and `BundleReader`.
            OutOfOrder: An earlier call failed or finished this object.
        """
        if self._is_closed:
            raise OutOfOrder("this opener has failed or is finished")
        try:
            decryptor = self._decryptor or self._begin(segment)
            if self._index == decryptor.size.segments:
                raise TrailingBytes(f"more than {self._index} segments")
            opened = self._reader.feed(decryptor.open_segment(self._index, segment))
        except BaseException:
            self.close()
            raise
        self._index += 1
        return opened

    def finish(self) -> Manifest:
        """Check that the whole ciphertext was fed, and return the manifest.

        Raises:
            TruncatedStream: Segments are missing.
            MalformedBundle: The plaintext ends too early.
            OutOfOrder: As `feed`.
        """
        if self._is_closed:
            raise OutOfOrder("this opener has failed or is finished")
        is_complete = self._decryptor is not None and self._index == self._decryptor.size.segments
        self.close()
        if not is_complete:
            raise TruncatedStream(f"the ciphertext ends after {self._index} segments")
        return self._reader.finish()

    def close(self) -> None:
        """Overwrite what was buffered. Safe to call twice."""
        self._is_closed = True
        if self._decryptor is not None:
            self._decryptor.wipe()

    def _begin(self, segment: BytesLike) -> Decryptor:
        self._decryptor = Decryptor(
            self._key,
            associated_data=self._associated_data,
            header=memoryview(segment)[:HEADER_BYTES],
            ciphertext_bytes=self._ciphertext_bytes,
        )
        return self._decryptor
