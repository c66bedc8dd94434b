"""The whole way: files, bundle, ciphertext, tree of blocks, and back."""

from __future__ import annotations

import hashlib

import pytest

from caimi.bundle.errors import (
    BundleTooLarge,
    CommitmentMismatch,
    FileMismatch,
    MalformedBundle,
    MalformedHeader,
    OutOfOrder,
    StreamRefused,
    TamperedSegment,
    TrailingBytes,
    TruncatedStream,
    WrongContentKey,
)
from caimi.bundle.framing import MAGIC, manifest_commitment
from caimi.bundle.manifest import BundleKind, FileEntry, Framework, Manifest, Role, encode_manifest
from caimi.bundle.opener import BundleOpener, SealEntropy, seal_bundle
from caimi.bundle.stream import SEGMENT_BYTES, bundle_associated_data, content_key, encrypt_segments
from caimi.bundle.unixfs import DagReader, UnixFsBuilder, verify_block
from caimi.types.primitives import Bytes32

KEY = content_key(bytes(range(32)))
ENTROPY = SealEntropy(manifest_salt=Bytes32(b"m" * 32), stream_salt=Bytes32(b"s" * 32), stream_prefix=b"prefix7")
FILES = {"big.bin": bytes(range(256)) * 10_000, "small.bin": b"small"}
MANIFEST = Manifest(
    kind=BundleKind.DATASET,
    framework=Framework.NONE,
    files=tuple(
        FileEntry(path=p, size=len(d), sha256=Bytes32(hashlib.sha256(d).digest()), role=Role.DATA)
        for p, d in FILES.items()
    ),
    signature=None,
    licence_sha256=Bytes32(bytes(32)),
)
COMMITMENT = manifest_commitment(ENTROPY.manifest_salt, encode_manifest(MANIFEST))
SEGMENTS = [bytes(s) for s in seal_bundle(KEY, MANIFEST, entropy=ENTROPY, contents=[[d] for d in FILES.values()])]


def opener(segments: list[bytes], *, commitment: Bytes32 = COMMITMENT, limit: int = 1 << 30) -> BundleOpener:
    size = sum(map(len, segments))
    return BundleOpener(KEY, commitment=commitment, ciphertext_bytes=size, max_content_bytes=limit)


def open_all(segments: list[bytes]) -> dict[str, bytes]:
    o = opener(segments)
    files = {f.entry.path: bytes(f.data) for s in segments for f in o.feed(s)}
    assert o.finish() == MANIFEST
    return files


def test_leaves_of_the_tree_are_segments_and_open_to_the_files() -> None:
    builder = UnixFsBuilder()
    blocks = {b.cid: bytes(b.data) for b in builder.blocks(SEGMENTS)}
    reader = DagReader(builder.root.cid, max_content_bytes=1 << 30)
    leaves: list[bytes] = []
    while not reader.is_done:
        cid = reader.due()[0]
        if content := bytes(reader.feed(verify_block(cid, blocks[cid]))):
            leaves.append(content)
    assert leaves == SEGMENTS
    assert open_all(leaves) == FILES


def test_the_same_entropy_gives_the_same_ciphertext() -> None:
    again = seal_bundle(KEY, MANIFEST, entropy=ENTROPY, contents=[[d[:100], d[100:]] for d in FILES.values()])
    assert [bytes(s) for s in again] == SEGMENTS


def test_rejects_a_key_of_another_publication() -> None:
    o = BundleOpener(
        content_key(bytes(32)),
        commitment=COMMITMENT,
        ciphertext_bytes=sum(map(len, SEGMENTS)),
        max_content_bytes=1 << 30,
    )
    with pytest.raises(WrongContentKey):
        o.feed(SEGMENTS[0])


def test_rejects_a_ciphertext_under_another_commitment() -> None:
    # The associated data holds the commitment, so another publication's ciphertext does not even decrypt.
    with pytest.raises(WrongContentKey):
        opener(SEGMENTS, commitment=Bytes32(bytes(32))).feed(SEGMENTS[0])


def test_rejects_a_ciphertext_bound_to_the_commitment_that_holds_another_manifest() -> None:
    plaintext = MAGIC + bytes(32) + len(encode_manifest(MANIFEST)).to_bytes(4, "big") + encode_manifest(MANIFEST)
    sealed = [
        bytes(s)
        for s in encrypt_segments(
            KEY,
            associated_data=bundle_associated_data(COMMITMENT),
            salt=bytes(32),
            prefix=bytes(7),
            chunks=[plaintext],
        )
    ]
    with pytest.raises(CommitmentMismatch):
        opener(sealed).feed(sealed[0])


def test_rejects_a_changed_segment_and_is_closed_then() -> None:
    o = opener(SEGMENTS)
    o.feed(SEGMENTS[0])
    with pytest.raises(TamperedSegment) as caught:
        o.feed(SEGMENTS[1][:-1] + bytes([SEGMENTS[1][-1] ^ 1]))
    assert caught.value.index == 1
    for call in (lambda: o.feed(SEGMENTS[1]), o.finish):
        with pytest.raises(OutOfOrder):
            call()


@pytest.mark.parametrize(
    ("segments", "error"),
    [
        (SEGMENTS[:1], TruncatedStream),
        (SEGMENTS[:2], TruncatedStream),
        ([*SEGMENTS, SEGMENTS[1]], StreamRefused),
        ([SEGMENTS[0], SEGMENTS[2], SEGMENTS[1]], StreamRefused),
        ([SEGMENTS[0][:39]], MalformedHeader),
        ([b""], MalformedHeader),
    ],
)
def test_rejects_missing_repeated_and_moved_segments(segments: list[bytes], error: type[StreamRefused]) -> None:
    with pytest.raises(error):
        open_all(segments)


def test_rejects_a_stream_that_is_finished_too_early_or_fed_too_long() -> None:
    early = opener(SEGMENTS)
    early.feed(SEGMENTS[0])
    with pytest.raises(TruncatedStream, match="after 1 segments"):
        early.finish()
    late = opener(SEGMENTS)
    for segment in SEGMENTS:
        late.feed(segment)
    with pytest.raises(TrailingBytes, match="more than 3 segments"):
        late.feed(SEGMENTS[0])
    with pytest.raises(TruncatedStream, match="after 0 segments"):
        opener(SEGMENTS).finish()


def test_rejects_a_bundle_over_the_limit() -> None:
    with pytest.raises(BundleTooLarge):
        opener(SEGMENTS, limit=MANIFEST.content_bytes - 1).feed(SEGMENTS[0])


def test_rejects_a_plaintext_that_ends_early() -> None:
    plaintext = MAGIC + ENTROPY.manifest_salt + len(encode_manifest(MANIFEST)).to_bytes(4, "big")
    plaintext += encode_manifest(MANIFEST) + FILES["big.bin"][:10]
    sealed = [
        bytes(s)
        for s in encrypt_segments(
            KEY, associated_data=bundle_associated_data(COMMITMENT), salt=bytes(32), prefix=bytes(7), chunks=[plaintext]
        )
    ]
    o = opener(sealed)
    o.feed(sealed[0])
    with pytest.raises(MalformedBundle):
        o.finish()


def test_rejects_a_file_that_changes_between_hashing_and_sealing() -> None:
    with pytest.raises(FileMismatch):
        list(seal_bundle(KEY, MANIFEST, entropy=ENTROPY, contents=[[b"other"], [FILES["small.bin"]]]))


def test_segments_are_one_mebibyte() -> None:
    assert [len(s) for s in SEGMENTS[:-1]] == [SEGMENT_BYTES] * 2
