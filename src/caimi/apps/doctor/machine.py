"""Is everything here that a network needs before there is any: Python, native programs, contracts, cache, room."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, cast

from caimi.apps.doctor.findings import Finding, Machine, Severity, Subject
from caimi.chains.ethereum.artefacts import EPOCHS, REGISTRY, TOKEN, artefact_folder, load_artefact
from caimi.chains.ethereum.errors import BadArtefact
from caimi.devnet.toolchain import ToolchainError, named_programs

__all__ = [
    "LEAST_BYTES",
    "WISHED_BYTES",
    "check_cache",
    "check_contracts",
    "check_programs",
    "check_python",
    "check_room",
    "check_toolchain",
    "this_machine",
]

LEAST_BYTES: Final = 256 * 1024**2
"""With less room on the disk of the state folder, ledgers and stores stop."""
WISHED_BYTES: Final = 2 * 1024**3
"""With less there is a note."""

_PYTHONS: Final = ((3, 11), (3, 12), (3, 13))
_SETUP: Final = "python3 tools/bootstrap.py setup"
_STAMP: Final = ".caimi-stamp.json"
_DEPTH: Final = 6


def this_machine() -> Machine:
    """The machine on which this runs."""
    return Machine(
        python=sys.version_info[:2],
        environment=os.environ,
        prefix=Path(sys.prefix),
        free_bytes=lambda folder: shutil.disk_usage(folder).free,
        now=time.time,
    )


def check_python(subject: Subject) -> Iterator[Finding]:
    """The version of Python."""
    version = subject.machine.python
    if version not in _PYTHONS:
        shown, newest = (".".join(map(str, v)) for v in (version, _PYTHONS[-1]))
        text = f"Python {shown} runs this, CAIMI is made for 3.11, 3.12 and 3.13"
        yield Finding(
            check="python", severity=Severity.BROKEN, text=text, mend=f"python{newest} tools/bootstrap.py setup"
        )


def check_toolchain(subject: Subject) -> Iterator[Finding]:
    """The file that names the native programs."""
    try:
        _named(subject)
    except ToolchainError as error:
        text = f"{error}: no network can be started"
        yield Finding(check="toolchain", severity=Severity.BROKEN, text=text, mend=_SETUP)


def check_programs(subject: Subject) -> Iterator[Finding]:
    """Each native program: there, executable, and byte for byte what was built."""
    try:
        programs = _named(subject)
    except ToolchainError:
        return  # `check_toolchain` says it
    for name, path in programs.items():
        fault = _fault(path)
        if fault:
            text = f"{name}: {path} {fault}"
            yield Finding(check="programs", severity=Severity.BROKEN, text=text, mend=_SETUP)


def check_contracts(subject: Subject) -> Iterator[Finding]:
    """The compiled contracts."""
    del subject
    try:
        folder = artefact_folder()
        for name in (REGISTRY, EPOCHS, TOKEN):
            load_artefact(folder, name)
    except BadArtefact as error:
        text = f"{error}: no registry can be put on Ethereum"
        yield Finding(
            check="contracts", severity=Severity.BROKEN, text=text, mend="git checkout -- onchain/ethereum/abi"
        )


def check_cache(subject: Subject) -> Iterator[Finding]:
    """The folder of what was built, which `tools/bootstrap.py` fills."""
    cache = _cache(subject.machine)
    standing = _existing(cache)
    if not os.access(standing, os.W_OK | os.X_OK):
        text = f"{standing} cannot be written: nothing can be built into the cache {cache}"
        mend = f'export CAIMI_CACHE="$HOME/caimi-cache" && {_SETUP}'
        yield Finding(check="cache", severity=Severity.BROKEN, text=text, mend=mend)


def check_room(subject: Subject) -> Iterator[Finding]:
    """Free room for the state folder and for the cache."""
    machine = subject.machine
    for what, folder in (("the state folder", subject.folder.root), ("the cache", _cache(machine))):
        free = machine.free_bytes(_existing(folder))
        if free < WISHED_BYTES:
            severity = Severity.BROKEN if free < LEAST_BYTES else Severity.NOTE
            text = f"{free // 1024**2} MiB are free for {what} ({folder}), {LEAST_BYTES // 1024**2} are the least"
            yield Finding(check="room", severity=severity, text=text, mend=f"rm -rf {_cache(machine) / 'go' / 'build'}")


def _named(subject: Subject) -> dict[str, Path]:
    return named_programs(environment=subject.machine.environment, prefix=subject.machine.prefix)


def _fault(program: Path) -> str:
    # What keeps a program from being the one that was built, "" for nothing.
    if not program.is_file():
        return "is missing"
    if not os.access(program, os.X_OK):
        return "is not executable"
    for folder in list(program.parents)[:_DEPTH]:
        if (folder / _STAMP).is_file():
            wanted = _stamped(folder, program)
            if wanted is None:
                return f"is not among the files of {folder / _STAMP}"
            with program.open("rb") as stream:
                found = hashlib.file_digest(stream, "sha256").hexdigest()
            return "" if wanted == f"x:{found}" else "is not the file that was built: its SHA-256 is another one"
    return ""  # a part of a Python package, or somebody's own: nobody wrote down its hash


def _stamped(folder: Path, program: Path) -> str | None:
    try:
        stamp: Any = json.loads((folder / _STAMP).read_text(encoding="utf-8"))
        return cast("dict[str, str]", stamp["files"]).get(program.relative_to(folder).as_posix())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _cache(machine: Machine) -> Path:
    # As tools/toolchain/cache.py has it, which is no part of the package.
    named, xdg = machine.environment.get("CAIMI_CACHE"), machine.environment.get("XDG_CACHE_HOME")
    if named:
        return Path(named).absolute()
    return (Path(xdg) if xdg and os.path.isabs(xdg) else Path.home() / ".cache") / "caimi"


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.is_dir())
