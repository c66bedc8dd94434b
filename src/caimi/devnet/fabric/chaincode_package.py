"""The chaincode package that carries a static binary, and the external builder with which peers start it.

The package id is the hash of the package, so organisations that approve the id approve the very binary.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

__all__ = ["BUILDER_SCRIPTS", "build_package", "package_id", "write_builder"]

_TYPE: Final = "caimi-binary"
_HEAD: Final = "#!/bin/sh\nset -e\n"

BUILDER_SCRIPTS: Final[Mapping[str, str]] = {
    "detect": f'{_HEAD}grep -q \'"type": "{_TYPE}"\' "$2/metadata.json"\n',
    "build": f'{_HEAD}cp "$1/chaincode" "$3/chaincode"\nchmod 755 "$3/chaincode"\n',
    "run": f'{_HEAD}exec "$1/chaincode" run "$2"\n',
}
"""Scripts by name. `run` gives the binary `run DIR`; DIR/chaincode.json says how to reach the peer."""


def build_package(binary: bytes, *, label: str) -> bytes:
    """Return the package of a static executable; the same input gives the same bytes."""
    metadata = json.dumps({"type": _TYPE, "label": label}).encode()
    # The binary is packed once, inside; packing it twice would only cost time.
    code = _archive({"chaincode": binary}, level=1)
    return _archive({"metadata.json": metadata, "code.tar.gz": code}, level=0)


def package_id(package: bytes, *, label: str) -> str:
    """Return the id by which peers know the package: `label:` and 64 hex digits of its SHA-256."""
    return f"{label}:{hashlib.sha256(package).hexdigest()}"


def write_builder(folder: Path) -> None:
    """Write the builder's scripts to `folder/bin`."""
    scripts = folder / "bin"
    scripts.mkdir(parents=True)
    for name, text in BUILDER_SCRIPTS.items():
        path = scripts / name
        path.write_text(text)
        path.chmod(0o755)


def _archive(files: Mapping[str, bytes], *, level: int) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)  # owner, group and time are zero
            entry.size = len(content)
            entry.mode = 0o755
            archive.addfile(entry, io.BytesIO(content))
    return gzip.compress(raw.getvalue(), level, mtime=0)
