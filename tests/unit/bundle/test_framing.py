"""The plaintext of a bundle: framing, commitment, and a reader that releases nothing unchecked."""

from __future__ import annotations

import dataclasses
import hashlib
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caimi.bundle.errors import (
    BundleError,
    BundleTooLarge,
    CommitmentMismatch,
    FileMismatch,
    MalformedBundle,
    ManifestRefused,
    OutOfOrder,
)
from caimi.bundle.framing import MAGIC, BundleReader, OpenedFile, bundle_bytes, frame_bundle, manifest_commitment
from caimi.bundle.manifest import BundleKind, FileEntry, Framework, Manifest, Role, encode_manifest
from caimi.types.errors import BadLength
from caimi.types.failure import Blame
from caimi.types.primitives import Bytes32
from caimi.wire.keccak import Tag, tagged_hash

SALT = Bytes32(bytes(range(32)))
FILES = {"a.bin": b"first file", "b/empty.bin": b"", "c.bin": bytes(range(256)) * 5, "d.bin": b""}


def manifest_of(files: dict[str, bytes]) -> Manifest:
    entries = tuple(
        FileEntry(path=p, size=len(d), sha256=Bytes32(hashlib.sha256(d).digest()), role=Role.DATA)
        for p, d in files.items()
    )
    licence = Bytes32(hashlib.sha256(b"licence").digest())
    return Manifest(
        kind=BundleKind.DATASET, framework=Framework.NONE, files=entries, signature=None, licence_sha256=licence
    )


MANIFEST = manifest_of(FILES)
ENCODED = encode_manifest(MANIFEST)
COMMITMENT = manifest_commitment(SALT, ENCODED)
PLAIN = b"".join(bytes(p) for p in frame_bundle(MANIFEST, salt=SALT, contents=[[d] for d in FILES.values()]))


def read(plaintext: bytes, *, step: int = 1 << 20, limit: int = 1 << 20) -> list[OpenedFile]:
    reader = BundleReader(COMMITMENT, max_content_bytes=limit)
    opened = [file for i in range(0, len(plaintext), step) for file in reader.feed(plaintext[i : i + step])]
    assert reader.finish() == MANIFEST
    return opened


def mixed(files: dict[str, bytes]) -> tuple[Manifest, bytes, Bytes32]:
    """A manifest whose b files are READMEs, its plaintext and commitment."""
    files = dict(sorted(files.items()))
    plain = manifest_of(files)
    entries = [dataclasses.replace(f, role=Role.README) if f.path.startswith("b") else f for f in plain.files]
    manifest = dataclasses.replace(plain, files=tuple(entries))
    framed = frame_bundle(manifest, salt=SALT, contents=[[d] for d in files.values()])
    return manifest, b"".join(bytes(p) for p in framed), manifest_commitment(SALT, encode_manifest(manifest))


@pytest.mark.parametrize("step", [1, 7, 1 << 20])
def test_only_files_of_the_roles_asked_for_are_released(step: int) -> None:
    manifest, plaintext, commitment = mixed({**FILES, "b/last.md": b"read me", "bx": b""})
    reader = BundleReader(commitment, max_content_bytes=1 << 20, released=[Role.DATA])
    opened = [file for i in range(0, len(plaintext), step) for file in reader.feed(plaintext[i : i + step])]
    assert reader.finish() == manifest
    wanted = {path: data for path, data in FILES.items() if not path.startswith("b")}
    assert {file.entry.path: bytes(file.data) for file in opened} == wanted


def test_files_that_are_not_released_are_never_in_memory() -> None:
    manifest, plaintext, commitment = mixed({"a.bin": b"model", "b.md": bytes(32 << 20), "c.bin": b"data"})
    reader = BundleReader(commitment, max_content_bytes=1 << 30, released=[Role.DATA])
    view = memoryview(plaintext)
    tracemalloc.start()
    try:
        opened = [file for i in range(0, len(view), 1 << 20) for file in reader.feed(view[i : i + (1 << 20)])]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [bytes(file.data) for file in opened] == [b"model", b"data"]
    assert peak < 1 << 20
    assert reader.finish() == manifest


def test_rejects_a_changed_file_that_is_not_released() -> None:
    _, plaintext, commitment = mixed({"a.bin": b"model", "b.md": b"read me"})
    reader = BundleReader(commitment, max_content_bytes=99, released=[Role.DATA])
    with pytest.raises(FileMismatch, match=r"b\.md"):
        reader.feed(plaintext.replace(b"read me", b"real me"))


def test_the_layout_is_the_one_of_the_spec() -> None:
    assert MAGIC + SALT + len(ENCODED).to_bytes(4, "big") + ENCODED + b"".join(FILES.values()) == PLAIN
    assert len(PLAIN) == bundle_bytes(MANIFEST)
    assert tagged_hash(Tag.MANIFEST, SALT, ENCODED) == COMMITMENT


@given(st.integers(1, len(PLAIN)))
def test_files_come_out_whatever_the_pieces_are(step: int) -> None:
    assert {f.entry.path: bytes(f.data) for f in read(PLAIN, step=step)} == FILES


def test_a_file_is_released_with_its_last_byte_and_not_before() -> None:
    reader = BundleReader(COMMITMENT, max_content_bytes=1 << 20)
    head = len(PLAIN) - MANIFEST.content_bytes
    assert reader.feed(PLAIN[:head]) == []
    assert reader.manifest == MANIFEST
    assert reader.feed(PLAIN[head : head + 9]) == []
    assert [f.entry.path for f in reader.feed(PLAIN[head + 9 : head + 10])] == ["a.bin", "b/empty.bin"]


def test_the_manifest_is_not_there_before_its_commitment_was_checked() -> None:
    reader = BundleReader(COMMITMENT, max_content_bytes=1 << 20)
    head = len(PLAIN) - MANIFEST.content_bytes
    reader.feed(PLAIN[: head - 1])
    assert reader.manifest is None


@given(st.integers(0, len(PLAIN) - 1), st.integers(0, 7))
def test_rejects_every_changed_bit(at: int, bit: int) -> None:
    changed = bytearray(PLAIN)
    changed[at] ^= 1 << bit
    with pytest.raises(BundleError):
        read(bytes(changed))


@pytest.mark.parametrize(
    ("at", "error"),
    [
        (0, MalformedBundle),  # magic
        (8, CommitmentMismatch),  # salt
        (40, MalformedBundle),  # length: 16 MiB more
        (44, CommitmentMismatch),  # manifest
        (len(PLAIN) - 1, FileMismatch),  # last byte of c.bin
    ],
)
def test_rejects_a_change_with_the_class_of_its_place(at: int, error: type[BundleError]) -> None:
    changed = bytearray(PLAIN)
    changed[at] ^= 1
    with pytest.raises(error) as caught:
        read(bytes(changed))
    assert type(caught.value) is error
    assert caught.value.blame is Blame.PUBLISHER


def test_rejects_a_changed_file_by_name_and_overwrites_it() -> None:
    reader = BundleReader(COMMITMENT, max_content_bytes=1 << 20)
    reader.feed(PLAIN[:-1])
    buffer = reader._file
    assert buffer is not None
    with pytest.raises(FileMismatch) as caught:
        reader.feed(b"?")
    assert caught.value.path == "c.bin"
    assert buffer == bytes(len(buffer))
    for call in (lambda: reader.feed(b""), reader.finish):
        with pytest.raises(OutOfOrder):
            call()


def test_rejects_another_manifest_of_the_same_files() -> None:
    other = dataclasses.replace(MANIFEST, licence_sha256=Bytes32(bytes(32)))
    plaintext = b"".join(bytes(p) for p in frame_bundle(other, salt=SALT, contents=[[d] for d in FILES.values()]))
    with pytest.raises(CommitmentMismatch):
        read(plaintext)


def test_rejects_a_committed_manifest_that_is_not_canonical() -> None:
    text = b" " + ENCODED
    plaintext = MAGIC + SALT + len(text).to_bytes(4, "big") + text
    with pytest.raises(ManifestRefused):
        BundleReader(manifest_commitment(SALT, text), max_content_bytes=99).feed(plaintext)


def test_rejects_trailing_bytes_and_a_missing_end() -> None:
    with pytest.raises(MalformedBundle, match="after the last file"):
        read(PLAIN + b"x")
    for size in (0, 7, 43, 100, len(PLAIN) - 1):
        with pytest.raises(MalformedBundle, match="ends before its last file"):
            read(PLAIN[:size])


def test_rejects_more_than_the_limit_before_taking_memory() -> None:
    assert len(read(PLAIN, limit=MANIFEST.content_bytes)) == 4
    huge = dataclasses.replace(MANIFEST.files[0], size=(1 << 52))
    manifest = dataclasses.replace(MANIFEST, files=(huge,))
    commitment = manifest_commitment(SALT, encode_manifest(manifest))
    with pytest.raises(BundleTooLarge) as caught:
        BundleReader(commitment, max_content_bytes=1 << 30).feed(
            MAGIC + SALT + len(encode_manifest(manifest)).to_bytes(4, "big") + encode_manifest(manifest)
        )
    assert caught.value.blame is Blame.PUBLISHER
    with pytest.raises(BundleTooLarge):
        read(PLAIN, limit=MANIFEST.content_bytes - 1)


def test_rejects_a_manifest_length_over_the_limit() -> None:
    with pytest.raises(MalformedBundle, match="the limit is"):
        BundleReader(COMMITMENT, max_content_bytes=1).feed(MAGIC + SALT + (1 << 20 | 1).to_bytes(4, "big"))


@pytest.mark.parametrize("content", [b"first filE", b"first fil", b"first file!", b""])
def test_rejects_a_file_that_changed_while_it_was_framed(content: bytes) -> None:
    contents = [[content], [], [FILES["c.bin"]], []]
    with pytest.raises(FileMismatch) as caught:
        list(frame_bundle(MANIFEST, salt=SALT, contents=contents))
    assert caught.value.path == "a.bin"


def test_rejects_a_file_that_grew_by_whole_pieces() -> None:
    contents = [[b"first file", b"!"], [], [FILES["c.bin"]], []]
    with pytest.raises(FileMismatch):
        list(frame_bundle(MANIFEST, salt=SALT, contents=contents))


def test_rejects_fewer_and_more_files_than_the_manifest_names() -> None:
    contents = [[d] for d in FILES.values()]
    with pytest.raises(FileMismatch):
        list(frame_bundle(MANIFEST, salt=SALT, contents=contents[:2]))
    with pytest.raises(MalformedBundle, match="more files"):
        list(frame_bundle(MANIFEST, salt=SALT, contents=[*contents, [b""]]))


def test_rejects_a_short_salt() -> None:
    with pytest.raises(BadLength):
        manifest_commitment(Bytes32(bytes(31)), ENCODED)


def test_the_commitment_hides_and_binds() -> None:
    other = Bytes32(bytes(32))
    assert len({manifest_commitment(SALT, ENCODED), manifest_commitment(other, ENCODED), COMMITMENT}) == 2
    # The parts are length-prefixed: moving a byte from one to the other gives another commitment.
    assert tagged_hash(Tag.MANIFEST, SALT + b"x", b"y") != tagged_hash(Tag.MANIFEST, SALT, b"xy")
