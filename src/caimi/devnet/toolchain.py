"""Where the native programs of the devnet are: Fabric, the chaincode, Foundry, Go, and Kubo for the long tests.

`tools/bootstrap.py` builds them and writes their absolute paths to one file; this module reads it and nothing else of
the package knows how they came to be.

* CaimiError
  + ToolchainError: root of this module's errors
    - ToolchainMissing: no file, or a program that it names is gone
    - ToolchainMalformed: the file is not what the bootstrap of this version writes
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from caimi.types.failure import Blame, CaimiError, Certainty, Retry
from caimi.types.json_text import load_json

__all__ = [
    "MANIFEST_NAME",
    "Toolchain",
    "ToolchainError",
    "ToolchainMalformed",
    "ToolchainMissing",
    "load_toolchain",
    "named_programs",
]

MANIFEST_NAME: Final = "caimi-toolchain.json"
"""Name of the file in the root of the Python environment."""

_ENVIRONMENT_NAME: Final = "CAIMI_TOOLCHAIN"
_FORMAT: Final = 1
_MAX_BYTES: Final = 64 * 1024
_FABRIC_PROGRAMS: Final = ("configtxgen", "cryptogen", "orderer", "peer")
_SINGLE_PROGRAMS: Final = ("chaincode", "anvil", "cast", "forge", "go")
_OPTIONAL_PROGRAMS: Final = ("solc", "kubo")


class ToolchainError(CaimiError):
    """The native programs cannot be used."""

    blame = Blame.OPERATOR
    certainty = Certainty.PROVEN
    retry = Retry.AFTER
    hint = "run `make demo` or `python3 tools/bootstrap.py setup`"


class ToolchainMissing(ToolchainError):
    """The file with the paths does not exist, or a program that it names does not."""


class ToolchainMalformed(ToolchainError):
    """The file with the paths was not written by the bootstrap of this version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolchain:
    """Absolute paths of the native programs; each existed when this was read."""

    fabric_bin: Path
    """Folder with Fabric's `peer`, `orderer`, `configtxgen` and `cryptogen`."""
    chaincode: Path
    """The registry's chaincode, a static executable that the peer starts from its package."""
    anvil: Path
    """Foundry's Ethereum node."""
    cast: Path
    """Foundry's command-line client."""
    forge: Path
    """Foundry's compiler driver and test runner."""
    go: Path
    """The Go tool that built `chaincode`."""
    kubo: Path | None
    """Kubo's `ipfs`; None unless `make test-long` has built it."""


def load_toolchain(*, environment: Mapping[str, str] | None = None, prefix: Path | None = None) -> Toolchain:
    """Read the paths from the file in $CAIMI_TOOLCHAIN, else from `caimi-toolchain.json` in the environment's root.

    Arguments:
        environment: the variables to look at; os.environ by default.
        prefix: root of the Python environment; sys.prefix by default.
    Raises:
        ToolchainMissing: there is no such file, or a program that it names is gone.
        ToolchainMalformed: the file is too large, is not JSON, or lacks a path.
    """
    path = _place(environment, prefix)
    paths = _read(path)
    kubo = paths.get("kubo")
    toolchain = Toolchain(
        fabric_bin=_required(paths, "fabric_bin", path),
        chaincode=_required(paths, "chaincode", path),
        anvil=_required(paths, "anvil", path),
        cast=_required(paths, "cast", path),
        forge=_required(paths, "forge", path),
        go=_required(paths, "go", path),
        kubo=None if kubo is None else Path(kubo),
    )
    for program in _programs(toolchain):
        if not (program.is_file() and os.access(program, os.X_OK)):
            raise ToolchainMissing(f"{path} names {program}, which is not an executable file")
    return toolchain


def named_programs(*, environment: Mapping[str, str] | None = None, prefix: Path | None = None) -> dict[str, Path]:
    """The programs that the file names, by name; whether they exist is not looked at. Arguments as `load_toolchain`.

    Raises:
        ToolchainMissing, ToolchainMalformed: As `load_toolchain`.
    """
    path = _place(environment, prefix)
    paths = _read(path)
    fabric = _required(paths, "fabric_bin", path)
    named = {name: _required(paths, name, path) for name in _SINGLE_PROGRAMS}
    others = {name: Path(paths[name]) for name in _OPTIONAL_PROGRAMS if name in paths}
    return {**{name: fabric / name for name in _FABRIC_PROGRAMS}, **named, **others}


def _place(environment: Mapping[str, str] | None, prefix: Path | None) -> Path:
    named = (os.environ if environment is None else environment).get(_ENVIRONMENT_NAME)
    return Path(named) if named else (Path(sys.prefix) if prefix is None else prefix) / MANIFEST_NAME


def _programs(toolchain: Toolchain) -> list[Path]:
    named = [toolchain.chaincode, toolchain.anvil, toolchain.cast, toolchain.forge, toolchain.go, toolchain.kubo]
    return [toolchain.fabric_bin / name for name in _FABRIC_PROGRAMS] + [path for path in named if path is not None]


def _read(path: Path) -> dict[str, str]:
    try:
        with path.open("rb") as stream:
            data = stream.read(_MAX_BYTES + 1)
    except OSError as error:
        raise ToolchainMissing(f"cannot read {path}: {error.strerror}") from error
    if len(data) > _MAX_BYTES:
        raise ToolchainMalformed(f"{path} is larger than {_MAX_BYTES} bytes")
    try:
        value: object = load_json(data)
    except (ValueError, RecursionError) as error:
        raise ToolchainMalformed(f"{path} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ToolchainMalformed(f"{path} is not a JSON object")
    entries = cast("dict[str, object]", value)
    if entries.get("format") != _FORMAT:
        raise ToolchainMalformed(f"{path} has format {entries.get('format')!r}, expected {_FORMAT}")
    return {name: entry for name, entry in entries.items() if isinstance(entry, str)}


def _required(paths: dict[str, str], name: str, source: Path) -> Path:
    try:
        path = Path(paths[name])
    except KeyError:
        raise ToolchainMalformed(f"{source} does not name {name!r}") from None
    if not path.is_absolute():
        raise ToolchainMalformed(f"{source} names a relative path for {name!r}: {path}")
    return path
