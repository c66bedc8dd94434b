"""From a path to a manifest: which files are published, what each is for, what the model takes and gives."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from caimi.bundle.manifest import BundleKind, FileEntry, Framework, Manifest, Role, encode_manifest
from caimi.bundle.onnx_inspect import InspectedModel, check_file_size, inspect_model
from caimi.bundle.onnx_scan import ModelSource
from caimi.sdk.errors import BadBundle
from caimi.types.primitives import ZERO32, Bytes32

__all__ = ["LocalBundle", "read_bundle"]

_CHUNK: Final = 1 << 20
_MAX_FILES: Final = 1024
_BY_NAME: Final = {
    "licence": Role.LICENCE,
    "license": Role.LICENCE,
    "readme": Role.README,
    "tokenizer": Role.TOKENIZER,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalBundle:
    """A manifest and the files that it describes."""

    manifest: Manifest
    paths: tuple[Path, ...]
    """In the manifest's order."""

    def contents(self) -> Iterator[Iterator[bytes]]:
        """For each file its bytes, in pieces."""
        return (_pieces(path) for path in self.paths)


def read_bundle(path: Path) -> LocalBundle:
    """Hash the files at `path` (an ONNX file, or a folder with exactly one), and inspect the model.

    Constants may lie in data files beside or below the model if the folder is published: an ONNX file alone may name
    none, since what lies beside it was not said to be published.

    Raises:
        BadBundle: There is no such thing, not exactly one ONNX file, or a file that cannot be read.
        ModelRefused: The model is not one that a host would load.
        ManifestRefused: A file's name cannot stand in a manifest.
    """
    root, names = _files(path)
    models = [name for name in names if _role(name) is Role.MODEL]
    if len(models) != 1:
        raise BadBundle(f"{path} has {len(models)} ONNX files")
    sizes = {name: _size(root / name) for name in names}
    found = _inspect(root, models[0], sizes)
    start = models[0][: models[0].rfind("/") + 1]
    # The model says what its data files are, whatever they are called.
    roles = {name: _role(name) for name in names} | {start + name: Role.EXTERNAL_DATA for name in found.external}
    entries = [_entry(root, name, roles[name], sizes[name]) for name in names]
    licences = [entry for entry in entries if entry.role is Role.LICENCE]
    manifest = Manifest(
        kind=BundleKind.MODEL,
        framework=Framework.ONNX,
        files=tuple(entries),
        signature=found.signature,
        licence_sha256=licences[0].sha256 if licences else ZERO32,
    )
    encode_manifest(manifest)
    return LocalBundle(manifest=manifest, paths=tuple(root / name for name in names))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise _unreadable(path, error) from error


def _inspect(root: Path, model: str, sizes: Mapping[str, int]) -> InspectedModel:
    # Its size comes before anything of it is hashed or read into memory.
    size, path = sizes[model], root / model
    if size == 0:
        raise BadBundle(f"{path} is empty")
    check_file_size(size)
    start = model[: model.rfind("/") + 1]
    others = {name.removeprefix(start): size for name, size in sizes.items() if name.startswith(start)}
    del others[model.removeprefix(start)]
    with _opened(path) as file:

        def read(offset: int, most: int) -> bytes:
            try:
                return os.pread(file.fileno(), most, offset)
            except OSError as error:
                raise _unreadable(path, error) from error

        return inspect_model(ModelSource(size=size, read=read), size_of=others.get)


def _files(path: Path) -> tuple[Path, list[str]]:
    if path.is_file():
        return path.parent, [path.name]
    if not path.is_dir():
        raise BadBundle(f"there is no {path}")
    names: list[str] = []
    for found in path.rglob("*"):
        relative = found.relative_to(path)
        if any(part.startswith(".") for part in relative.parts):
            continue
        if found.is_symlink():
            # What it points to may lie outside of what the publisher believes to publish.
            raise BadBundle(f"{found} is a link")
        if found.is_file():
            names.append(relative.as_posix())
        if len(names) > _MAX_FILES:
            raise BadBundle(f"{path} has more than {_MAX_FILES} files")
    return path, sorted(names, key=str.encode)


def _role(name: str) -> Role:
    last = name.rsplit("/", 1)[-1].lower()
    if last.endswith(".onnx"):
        return Role.MODEL
    for start, role in _BY_NAME.items():
        if last.startswith(start):
            return role
    return Role.CONFIG if last.endswith((".json", ".yaml", ".yml", ".toml")) else Role.DATA


def _entry(root: Path, name: str, role: Role, expected: int) -> FileEntry:
    digest, size = hashlib.sha256(), 0
    for piece in _pieces(root / name):
        digest.update(piece)
        size += len(piece)
    if size != expected:
        raise BadBundle(f"{root / name} changed while it was read")
    return FileEntry(path=name, size=size, sha256=Bytes32(digest.digest()), role=role)


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise _unreadable(path, error) from error


def _pieces(path: Path) -> Iterator[bytes]:
    with _opened(path) as file:
        try:
            while piece := file.read(_CHUNK):
                yield piece
        except OSError as error:
            raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> BadBundle:
    return BadBundle(f"cannot read {path}: {error.strerror}")
