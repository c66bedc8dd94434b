"""Make a peer of the benchmarks ready and print the folder or program: `python3 tools/bench_peers.py NAME`.

What is not ours is fetched by exact version, checked against the hash in benchmarks/peers/npm.json or in a file of
requirements, and lies in the cache; nothing of it is ever part of the repository.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import sys
import tarfile
from pathlib import Path
from typing import Any

from toolchain.cache import Cache, content_key, default_root
from toolchain.errors import ToolchainError
from toolchain.golang import Go
from toolchain.node import Node
from toolchain.platforms import platform_name
from toolchain.process import say
from toolchain.python_env import install_locked

__all__ = ["check_integrity", "main", "unpack"]

_ROOT = Path(__file__).resolve().parent.parent
_PEERS = _ROOT / "benchmarks" / "peers"
_PYTHON = ("mlserver", "ferveo")


def check_integrity(archive: bytes, expected: str) -> None:
    """Refuse an archive that is not the pinned one; `expected` is sha512- and base64, as in npm's lock files.

    Raises:
        ToolchainError: It has another hash.
    """
    found = "sha512-" + base64.b64encode(hashlib.sha512(archive).digest()).decode()
    if found != expected:
        raise ToolchainError(f"the package has the hash {found}, expected {expected}")


def unpack(archive: Path, folder: Path, wanted: list[str]) -> None:
    """Take the named files out of an npm archive, by their paths below `package/`.

    Raises:
        ToolchainError: One is not in it.
    """
    with tarfile.open(archive) as packed:
        for name in wanted:
            try:
                stream = packed.extractfile(f"package/{name}")
            except KeyError:
                stream = None
            if stream is None:
                raise ToolchainError(f"{archive.name} has no file {name}")
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(stream.read())


def _npm(name: str, cache: Cache) -> Path:
    pins: dict[str, Any] = json.loads((_PEERS / "npm.json").read_text(encoding="utf-8"))
    pin = pins[name]
    node = Node(_ROOT, cache, dict(os.environ))

    def build(folder: Path) -> None:
        archive = node.pack(f"{pin['package']}@{pin['version']}", folder)
        check_integrity(archive.read_bytes(), pin["integrity"])
        unpack(archive, folder, pin["files"])
        archive.unlink()

    key = content_key([pin["package"], pin["version"], pin["integrity"], *pin["files"]])
    return cache.ensure(f"peer-{name}", key, build)


def _packages(name: str, cache: Cache) -> Path:
    requirements = _PEERS / name / "requirements.txt"
    key = content_key([platform_name(), *map(str, sys.version_info[:2])], [("requirements", requirements)])
    return cache.ensure(
        f"peer-{name}", key, lambda folder: install_locked(requirements, folder, _ROOT, cache, dict(os.environ))
    )


def main(arguments: list[str]) -> int:
    """Print where the peer is. Returns 0, 1 if it cannot be made, 2 for a name that nobody has."""
    cache = Cache(default_root(dict(os.environ)), say=say)
    names = ("htlc", *_PYTHON, *json.loads((_PEERS / "npm.json").read_text(encoding="utf-8")))
    if len(arguments) != 1 or arguments[0] not in names:
        say(f"usage: bench_peers.py {'|'.join(names)}")
        return 2
    try:
        if arguments[0] == "htlc":
            print(Go(_ROOT, cache, dict(os.environ)).program_of(_PEERS / "htlc" / "fabric", "the HTLC chaincode"))
        elif arguments[0] in _PYTHON:
            print(_packages(arguments[0], cache))
        else:
            print(_npm(arguments[0], cache))
    except ToolchainError as error:
        say(f"error: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
