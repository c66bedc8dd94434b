"""Constants whose data lie in other files of the bundle: by the manifest's paths and hashes, never by a place on a disk
(spec 15 §7)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from onnx import TensorProto

from caimi.bundle.errors import ManifestRefused
from caimi.bundle.manifest import Manifest, Role, check_path
from caimi.bundle.onnx_errors import ExternalData

__all__ = ["ExternalFiles", "SizeOf", "external_paths", "external_sizes", "no_external_files"]

SizeOf = Callable[[str], int | None]
"""Size of the file that a model names, in bytes; None if the bundle declares no such file."""
_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,15}")
_KEYS: Final = frozenset({"location", "offset", "length"})


def no_external_files(location: str) -> int | None:
    """`SizeOf` of a model that is one file."""
    del location
    return None


def external_paths(manifest: Manifest) -> dict[str, str]:
    """By the names that the model has to use, the manifest's paths: relative to the model's folder.

    Files outside of that folder have no name that a model may use.
    """
    folder = manifest.files_of(Role.MODEL)[0].path.rpartition("/")[0]
    start = folder + "/" if folder else ""
    found = [file.path for file in manifest.files_of(Role.EXTERNAL_DATA)]
    return {path.removeprefix(start): path for path in found if path.startswith(start)}


def external_sizes(manifest: Manifest) -> SizeOf:
    """`SizeOf` of the files that a manifest declares."""
    sizes = {file.path: file.size for file in manifest.files}
    known = {name: sizes[path] for name, path in external_paths(manifest).items()}
    return known.get


@dataclass(frozen=True, slots=True, order=True)
class _Range:
    start: int
    stop: int
    where: str


class ExternalFiles:
    """What a model's tensors take of which file. Every byte belongs to one tensor at most."""

    def __init__(self, size_of: SizeOf) -> None:
        self._size_of = size_of
        self._ranges: dict[str, list[_Range]] = {}

    @property
    def locations(self) -> tuple[str, ...]:
        """The names that the model uses, ascending."""
        return tuple(sorted(self._ranges))

    def take(self, tensor: TensorProto, size: int, where: str) -> None:
        """Check where one tensor's `size` bytes lie.

        Raises:
            ExternalData: A name that leaves the bundle, a file that is not declared, or a range outside of it.
        """
        location, offset, length = _entries(tensor, where)
        try:
            check_path(location)
        except ManifestRefused as error:
            raise ExternalData("the location is no relative path inside the bundle", where=where) from error
        available = self._size_of(location)
        if available is None:
            raise ExternalData(f"the bundle declares no data file {location[:80]!r}", where=where)
        if length != size:
            raise ExternalData(f"{length} bytes announced, the tensor has {size}", where=where)
        if offset + size > available:
            raise ExternalData(f"bytes {offset} to {offset + size} of a file of {available}", where=where)
        self._ranges.setdefault(location, []).append(_Range(offset, offset + size, where))

    def check_apart(self) -> None:
        """Refuse tensors that share bytes.

        Raises:
            ExternalData: Two do.
        """
        for ranges in self._ranges.values():
            # Tensors without elements take nothing and share nothing.
            ordered = sorted(one for one in ranges if one.stop > one.start)
            for before, after in pairwise(ordered):
                if after.start < before.stop:
                    raise ExternalData(f"its bytes overlap those of {before.where}", where=after.where)


def _entries(tensor: TensorProto, where: str) -> tuple[str, int, int]:
    values: dict[str, str] = {}
    for entry in tensor.external_data:
        if entry.key not in _KEYS or entry.key in values:
            raise ExternalData(f"entry {entry.key[:80]!r} is unknown or there twice", where=where)
        values[entry.key] = entry.value
    if _KEYS - {"offset"} - values.keys():
        raise ExternalData("location or length is missing", where=where)
    for key in ("offset", "length"):
        if not _NUMBER.fullmatch(values.get(key, "0")):
            raise ExternalData(f"{key} {values[key][:80]!r} is no number", where=where)
    return values["location"], int(values.get("offset", "0")), int(values["length"])
