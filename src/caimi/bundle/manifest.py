"""The manifest of a bundle: which files it holds and what the model takes and gives (spec 15 §4)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeVar

from caimi.bundle.canonical import MAX_INTEGER, Json, decode_canonical, encode_canonical
from caimi.bundle.errors import ManifestRefused
from caimi.bundle.signature import (
    MAX_DIMENSION,
    MAX_NAME_CHARS,
    MAX_RANK,
    MAX_TENSORS,
    DType,
    ModelSignature,
    TensorSpec,
)
from caimi.types.primitives import Bytes32

__all__ = [
    "FORMAT",
    "MAX_FILES",
    "BundleKind",
    "FileEntry",
    "Framework",
    "Manifest",
    "Role",
    "check_path",
    "decode_manifest",
    "encode_manifest",
]

FORMAT: Final = 1
MAX_FILES: Final = 1024
_MAX_PATH_BYTES: Final = 1024
_MAX_PART_BYTES: Final = 255
# Names that some file system reads otherwise than it was written, and characters that no path needs.
_FORBIDDEN: Final = re.compile(r'[\x00-\x1f\x7f<>:"|?*\\]')
_RESERVED: Final = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?")
_HEX32: Final = re.compile(r"[0-9a-f]{64}")

EnumT = TypeVar("EnumT", bound=Enum)


class BundleKind(Enum):
    """What the bundle is: the publication's kind in words."""

    MODEL = "model"
    DATASET = "dataset"


class Framework(Enum):
    """How the model file is to be read."""

    ONNX = "onnx"
    NONE = "none"
    """Of a dataset."""


class Role(Enum):
    """What a file is for."""

    MODEL = "model"
    EXTERNAL_DATA = "external-data"
    TOKENIZER = "tokenizer"
    CONFIG = "config"
    DATA = "data"
    LICENCE = "licence"
    README = "readme"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """One file."""

    path: str
    """Relative, `/` between parts, Unicode NFC, at most 1024 bytes and 255 a part; no `.`, `..`, `\\` or control."""
    size: int
    """Bytes, 0 <= x < 2**53."""
    sha256: Bytes32
    role: Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Everything that a publication says about its plaintext. Checked by `encode_manifest` and `decode_manifest`."""

    kind: BundleKind
    framework: Framework
    """`onnx` for a model, `none` for a dataset."""
    files: tuple[FileEntry, ...]
    """1 to 1024, ascending by the UTF-8 bytes of the path; the order of the bytes in the bundle."""
    signature: ModelSignature | None
    """Of the model; None for a dataset."""
    licence_sha256: Bytes32
    """Hash of the licence text. When the bundle has files with the role licence, one of them has this hash."""

    @property
    def content_bytes(self) -> int:
        """Sum of the sizes of all files."""
        return sum(file.size for file in self.files)

    def files_of(self, role: Role) -> tuple[FileEntry, ...]:
        """The files with that role, in order."""
        return tuple(file for file in self.files if file.role is role)


def encode_manifest(manifest: Manifest) -> bytes:
    """Check a manifest and give its canonical bytes, at most 1 MiB.

    Raises:
        ManifestRefused: It says something that no manifest may say (spec 15 §4).
    """
    _check(manifest)
    document: dict[str, Json] = {
        "files": [
            {"path": f.path, "role": f.role.value, "sha256": f.sha256.hex(), "size": f.size} for f in manifest.files
        ],
        "format": FORMAT,
        "framework": manifest.framework.value,
        "kind": manifest.kind.value,
        "licence_sha256": manifest.licence_sha256.hex(),
        "signature": None if manifest.signature is None else _signature_to_json(manifest.signature),
    }
    return encode_canonical(document)


def decode_manifest(data: bytes) -> Manifest:
    """Decode canonical bytes; encoding the result gives them again.

    Raises:
        ManifestRefused: Not canonical, unknown or missing members, or a rule of spec 15 §4 broken.
    """
    top = _members(
        decode_canonical(data), "manifest", ("files", "format", "framework", "kind", "licence_sha256", "signature")
    )
    if top["format"] != FORMAT:
        raise ManifestRefused(f"format {top['format']!r}, this version reads {FORMAT}")
    signature = top["signature"]
    manifest = Manifest(
        kind=_enum(BundleKind, top["kind"]),
        framework=_enum(Framework, top["framework"]),
        files=tuple(_file(item) for item in _items(top["files"], "files", MAX_FILES)),
        signature=None if signature is None else _signature_from_json(signature),
        licence_sha256=_hash(top["licence_sha256"]),
    )
    _check(manifest)
    return manifest


def _check(manifest: Manifest) -> None:
    _check_files(manifest.files)
    models = manifest.files_of(Role.MODEL)
    if manifest.kind is BundleKind.MODEL:
        if manifest.framework is not Framework.ONNX or manifest.signature is None or len(models) != 1:
            raise ManifestRefused("a model has framework onnx, a signature and exactly one file with the role model")
        _check_tensors("input", manifest.signature.inputs)
        _check_tensors("output", manifest.signature.outputs)
    elif manifest.framework is not Framework.NONE or manifest.signature is not None or models:
        raise ManifestRefused("a dataset has framework none, no signature and no file with the role model")
    licences = manifest.files_of(Role.LICENCE)
    if licences and manifest.licence_sha256 not in [file.sha256 for file in licences]:
        raise ManifestRefused("no licence file has the hash in licence_sha256")


def _check_files(files: Sequence[FileEntry]) -> None:
    if not 1 <= len(files) <= MAX_FILES:
        raise ManifestRefused(f"{len(files)} files, allowed are 1 to {MAX_FILES}")
    for file in files:
        check_path(file.path)
        if not 0 <= file.size <= MAX_INTEGER or len(file.sha256) != 32:
            raise ManifestRefused(f"size or hash of {file.path!r}")
    if sum(file.size for file in files) > MAX_INTEGER:
        raise ManifestRefused("the files together have 2**53 bytes or more")
    keys = [file.path.encode() for file in files]
    if keys != sorted(keys):
        raise ManifestRefused("files are not in ascending order of their paths")
    # Two paths that one file system takes for one, or a file where another path needs a folder.
    folded = [file.path.casefold() for file in files]
    taken = set(folded)
    if len(taken) != len(folded):
        raise ManifestRefused("two paths differ only in case")
    for path in folded:
        parts = path.split("/")
        if any("/".join(parts[:n]) in taken for n in range(1, len(parts))):
            raise ManifestRefused(f"{path!r} lies below another file")


def check_path(path: str) -> None:
    """Refuse a path that no manifest may hold (spec 15 §4).

    Raises:
        ManifestRefused: Absolute, not normal, or with a part that some system reads otherwise.
    """
    try:
        raw = path.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ManifestRefused(f"path {path!r} is not Unicode") from error
    if len(raw) > _MAX_PATH_BYTES or not unicodedata.is_normalized("NFC", path) or _FORBIDDEN.search(path):
        raise ManifestRefused(f"path {path[:80]!r} is too long, not NFC or has a forbidden character")
    for part in path.split("/"):
        if part in ("", ".", "..") or len(part.encode()) > _MAX_PART_BYTES:
            raise ManifestRefused(f"path {path[:80]!r} is not relative and normal")
        if part != part.strip(" ") or part.endswith(".") or _RESERVED.fullmatch(part):
            raise ManifestRefused(f"path {path[:80]!r} has a part that some systems cannot hold")


def _check_tensors(side: str, tensors: Sequence[TensorSpec]) -> None:
    if not 1 <= len(tensors) <= MAX_TENSORS:
        raise ManifestRefused(f"{len(tensors)} {side}s, allowed are 1 to {MAX_TENSORS}")
    if len({tensor.name for tensor in tensors}) != len(tensors):
        raise ManifestRefused(f"two {side}s have one name")
    for tensor in tensors:
        _check_name(tensor.name)
        if len(tensor.shape) > MAX_RANK:
            raise ManifestRefused(f"{side} {tensor.name!r} has more than {MAX_RANK} dimensions")
        for dimension in tensor.shape:
            if isinstance(dimension, str):
                _check_name(dimension)
            elif not 0 <= dimension <= MAX_DIMENSION:
                raise ManifestRefused(f"{side} {tensor.name!r} has a dimension of {dimension}")


def _check_name(name: str) -> None:
    if not 1 <= len(name) <= MAX_NAME_CHARS or not name.isprintable():
        raise ManifestRefused(f"name {name[:80]!r} is not 1 to {MAX_NAME_CHARS} printable characters")


def _signature_to_json(signature: ModelSignature) -> Json:
    def side(tensors: Sequence[TensorSpec]) -> Json:
        return [{"dtype": t.dtype.value, "name": t.name, "shape": list[Json](t.shape)} for t in tensors]

    return {"inputs": side(signature.inputs), "outputs": side(signature.outputs)}


def _signature_from_json(value: Json) -> ModelSignature:
    def side(items: Json) -> tuple[TensorSpec, ...]:
        return tuple(_tensor(item) for item in _items(items, "tensors", MAX_TENSORS))

    members = _members(value, "signature", ("inputs", "outputs"))
    return ModelSignature(inputs=side(members["inputs"]), outputs=side(members["outputs"]))


def _tensor(value: Json) -> TensorSpec:
    members = _members(value, "tensor", ("dtype", "name", "shape"))
    shape: list[int | str] = []
    for dimension in _items(members["shape"], "shape", MAX_RANK):
        if not isinstance(dimension, (int, str)):
            raise ManifestRefused("a dimension is a number or a name")
        shape.append(dimension)
    return TensorSpec(name=_text(members["name"]), dtype=_enum(DType, members["dtype"]), shape=tuple(shape))


def _file(value: Json) -> FileEntry:
    members = _members(value, "file", ("path", "role", "sha256", "size"))
    size = members["size"]
    if not isinstance(size, int):
        raise ManifestRefused("a size is a number")
    path, role = _text(members["path"]), _enum(Role, members["role"])
    return FileEntry(path=path, role=role, sha256=_hash(members["sha256"]), size=size)


def _members(value: Json, what: str, names: tuple[str, ...]) -> dict[str, Json]:
    if not isinstance(value, dict) or tuple(sorted(value)) != names:
        raise ManifestRefused(f"a {what} is an object with exactly the members {', '.join(names)}")
    return value


def _items(value: Json, what: str, limit: int) -> list[Json]:
    if not isinstance(value, list) or len(value) > limit:
        raise ManifestRefused(f"{what} is an array of at most {limit}")
    return value


def _text(value: Json) -> str:
    if not isinstance(value, str):
        raise ManifestRefused("a text is expected")
    return value


def _enum(kind: type[EnumT], value: Json) -> EnumT:
    for member in kind:
        if member.value == value:
            return member
    raise ManifestRefused(f"{value!r} is none of {', '.join(str(m.value) for m in kind)}")


def _hash(value: Json) -> Bytes32:
    if not isinstance(value, str) or _HEX32.fullmatch(value) is None:
        raise ManifestRefused("a hash is 64 lower-case hexadecimal digits")
    return Bytes32(bytes.fromhex(value))
