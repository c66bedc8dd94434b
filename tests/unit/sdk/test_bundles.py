"""Which paths can be published, and what their manifests say."""

from __future__ import annotations

import hashlib
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from caimi.apps.demo.graph import linear, save
from caimi.bundle.manifest import Role
from caimi.bundle.onnx_errors import ModelFileTooLarge, ModelRefused
from caimi.sdk.bundles import read_bundle
from caimi.sdk.errors import BadBundle
from caimi.types.primitives import ZERO32


def _model() -> bytes:
    weight, bias = np.eye(2, dtype=np.float32), np.zeros(2, dtype=np.float32)
    nodes, weights = linear("x", "y", weight, bias, rectify=False)
    return save("tiny", nodes, weights, ("x", [None, 2]), ("y", [None, 2]))


def test_a_file_is_a_bundle(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(_model())
    (tmp_path / "beside.txt").write_text("not published")
    bundle = read_bundle(tmp_path / "m.onnx")
    (entry,) = bundle.manifest.files
    assert (entry.path, entry.role, entry.size) == ("m.onnx", Role.MODEL, len(_model()))
    assert entry.sha256 == hashlib.sha256(_model()).digest()
    assert bundle.manifest.licence_sha256 == ZERO32
    assert b"".join(next(bundle.contents())) == _model()


def test_a_folder_is_a_bundle_with_roles(tmp_path: Path) -> None:
    files = {"m.onnx": _model(), "LICENSE.txt": b"free", "README.md": b"r", "a/config.json": b"{}", "z.bin": b"1"}
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "secret").write_text("x")
    manifest = read_bundle(tmp_path).manifest
    assert [(f.path, f.role) for f in manifest.files] == [
        ("LICENSE.txt", Role.LICENCE),
        ("README.md", Role.README),
        ("a/config.json", Role.CONFIG),
        ("m.onnx", Role.MODEL),
        ("z.bin", Role.DATA),
    ]
    assert manifest.licence_sha256 == hashlib.sha256(b"free").digest()


@pytest.mark.parametrize("names", [[], ["a.txt"], ["a.onnx", "b.onnx"]])
def test_rejects_a_folder_without_exactly_one_model(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).write_bytes(_model())
    with pytest.raises(BadBundle):
        read_bundle(tmp_path)


def test_rejects_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadBundle):
        read_bundle(tmp_path / "nothing.onnx")


def test_rejects_a_link_in_the_folder(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(_model())
    os.symlink("/etc/passwd", tmp_path / "weights.bin")
    with pytest.raises(BadBundle, match="link"):
        read_bundle(tmp_path)


def test_rejects_a_model_that_no_host_would_load(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"\x80\x04pickle")
    with pytest.raises(ModelRefused):
        read_bundle(tmp_path / "m.onnx")


def test_rejects_a_model_beyond_the_limit_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "m.onnx").open("wb") as file:
        file.truncate(1 << 31)

    def read(path: Path) -> bytes:
        raise AssertionError(f"{path} was read")

    monkeypatch.setattr("caimi.sdk.bundles._opened", read)
    with pytest.raises(ModelFileTooLarge, match="the format holds 2147483647"):
        read_bundle(tmp_path / "m.onnx")


def test_a_model_in_one_file_is_never_in_memory_whole(tmp_path: Path) -> None:
    weight, bias = np.zeros((2, 8 << 20), dtype=np.float32), np.zeros(8 << 20, dtype=np.float32)
    nodes, weights = linear("x", "y", weight, bias, rectify=False)
    (tmp_path / "m.onnx").write_bytes(save("wide", nodes, weights, ("x", [None, 2]), ("y", [None, 8 << 20])))
    read_bundle(tmp_path / "m.onnx")
    tracemalloc.start()
    try:
        bundle = read_bundle(tmp_path / "m.onnx")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert bundle.manifest.content_bytes > 96 << 20
    assert peak < 4 << 20


def test_rejects_an_empty_model(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").touch()
    with pytest.raises(BadBundle, match="is empty"):
        read_bundle(tmp_path / "m.onnx")
