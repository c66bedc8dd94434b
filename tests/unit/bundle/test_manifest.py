"""Manifests: rules that JSON texts of the vectors cannot break alone, each refused for its own reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from caimi.bundle.errors import ManifestRefused
from caimi.bundle.manifest import (
    MAX_FILES,
    BundleKind,
    FileEntry,
    Framework,
    Manifest,
    Role,
    decode_manifest,
    encode_manifest,
)
from caimi.bundle.signature import DType, ModelSignature, TensorSpec
from caimi.types.failure import Blame
from caimi.types.primitives import Bytes32

HASH = Bytes32(bytes(range(32)))
FILE = FileEntry(path="model.onnx", size=7, sha256=HASH, role=Role.MODEL)
TENSOR = TensorSpec(name="x", dtype=DType.FLOAT32, shape=("N", 3))
MODEL = Manifest(
    kind=BundleKind.MODEL,
    framework=Framework.ONNX,
    files=(FILE,),
    signature=ModelSignature(inputs=(TENSOR,), outputs=(TENSOR,)),
    licence_sha256=HASH,
)


def data_files(count: int) -> tuple[FileEntry, ...]:
    return tuple(replace(FILE, path=f"z{i:04}", role=Role.DATA) for i in range(count))


def test_most_files_are_accepted() -> None:
    most = replace(MODEL, files=(FILE, *data_files(MAX_FILES - 1)))
    assert decode_manifest(encode_manifest(most)) == most
    assert most.files_of(Role.MODEL) == (FILE,)
    assert most.content_bytes == 7 * MAX_FILES


@pytest.mark.parametrize(
    ("manifest", "reason"),
    [
        (replace(MODEL, files=()), "0 files"),
        (replace(MODEL, files=(FILE, *data_files(MAX_FILES))), "1025 files"),
        (replace(MODEL, files=(replace(FILE, size=-1),)), "size or hash"),
        (replace(MODEL, files=(replace(FILE, size=1 << 53),)), "size or hash"),
        (replace(MODEL, files=(replace(FILE, sha256=Bytes32(bytes(31))),)), "size or hash"),
        (replace(MODEL, files=(replace(FILE, path="\ud800"),)), "not Unicode"),
        (
            replace(MODEL, signature=ModelSignature(inputs=(replace(TENSOR, shape=(1,) * 17),), outputs=(TENSOR,))),
            "more than 16 dimensions",
        ),
        (
            replace(MODEL, signature=ModelSignature(inputs=(TENSOR,), outputs=(replace(TENSOR, shape=(-1,)),))),
            "a dimension of -1",
        ),
    ],
)
def test_rejects_values_before_they_are_written(manifest: Manifest, reason: str) -> None:
    with pytest.raises(ManifestRefused, match=reason) as caught:
        encode_manifest(manifest)
    assert caught.value.blame is Blame.PUBLISHER


def set_files(document: Any, value: Any) -> None:
    document["files"] = value


WRONG_TYPES: list[tuple[Callable[[Any], Any], str]] = [
    (lambda d: set_files(d, {}), "files is an array of at most 1024"),
    (lambda d: set_files(d, "model.onnx"), "files is an array of at most 1024"),
    (lambda d: set_files(d, [1] * 1025), "files is an array of at most 1024"),
    (lambda d: set_files(d, [1]), "a file is an object"),
    (lambda d: d["files"][0].update(path=1), "a text is expected"),
    (lambda d: d["files"][0].update(sha256=1), "a hash is 64"),
    (lambda d: d["files"][0].update(size=None), "a size is a number"),
    (lambda d: d["signature"].update(inputs=None), "tensors is an array"),
    (lambda d: d["signature"]["inputs"][0].update(shape=3), "shape is an array"),
    (lambda d: d["signature"]["inputs"][0].update(name=None), "a text is expected"),
    (lambda d: d.update(kind=1), "1 is none of model, dataset"),
    (lambda d: d.update(signature=[]), "a signature is an object"),
]


@pytest.mark.parametrize(("change", "reason"), WRONG_TYPES)
def test_rejects_members_of_another_type(change: Callable[[Any], Any], reason: str) -> None:
    document = json.loads(encode_manifest(MODEL))
    change(document)
    with pytest.raises(ManifestRefused, match=reason):
        decode_manifest(json.dumps(document, sort_keys=True, separators=(",", ":")).encode())
