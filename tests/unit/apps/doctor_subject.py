"""A machine and a state folder in which nothing is wrong, for tests that break one thing each."""

from __future__ import annotations

import atexit
import functools
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from caimi.apps.devnet.folder import VERSIONS, StateFolder, load_or_make_plan
from caimi.apps.devnet.keys import make_keys
from caimi.apps.doctor.findings import Finding, Machine, Severity, Subject
from caimi.sdk.network import network_to_json
from tests.unit.sdk.network_fixture import a_network

__all__ = ["a_machine", "a_subject", "only", "tree"]

_PROGRAMS = ("chaincode", "anvil", "cast", "forge", "go", "solc", "kubo")
_FABRIC = ("configtxgen", "cryptogen", "orderer", "peer")


def a_machine(root: Path) -> Machine:
    """Native programs with their stamp below `root`, and plenty of room."""
    entry = root / "cache" / "caimi" / "programs" / "key"
    (entry / "bin").mkdir(parents=True)
    files: dict[str, str] = {}
    for name in (*_PROGRAMS, *_FABRIC):
        program = entry / "bin" / name
        program.write_bytes(b"#!/bin/sh\n# " + name.encode())
        program.chmod(0o755)
        files[f"bin/{name}"] = "x:" + hashlib.sha256(program.read_bytes()).hexdigest()
    (entry / ".caimi-stamp.json").write_text(json.dumps({"format": 1, "files": files}))
    named = {name: str(entry / "bin" / name) for name in _PROGRAMS}
    (root / "caimi-toolchain.json").write_text(json.dumps({"format": 1, "fabric_bin": str(entry / "bin"), **named}))
    return Machine(
        python=(3, 12),
        environment={"XDG_CACHE_HOME": str(root / "cache")},
        prefix=root,
        free_bytes=lambda folder: 1 << 40,
        now=time.time,
    )


@functools.cache
def _made_once() -> Path:
    # Keys take their time to make.
    folder = StateFolder.at(Path(tempfile.mkdtemp(prefix="caimi-doctor-")))
    atexit.register(shutil.rmtree, folder.root, ignore_errors=True)
    make_keys(folder, load_or_make_plan(folder))
    return folder.root


def a_subject(root: Path) -> Subject:
    """That machine with the state folder of a network which was made once and is stopped."""
    folder = StateFolder.at(root / "home")
    shutil.copytree(_made_once(), folder.root)
    network = replace(a_network(folder.root), versions={"caimi": "0", **VERSIONS})
    folder.network.write_text(json.dumps(network_to_json(network)))
    for name in ("relay", "validator-1"):
        config = folder.process(name) / "config.json"
        config.write_text("{}")
        config.chmod(0o600)
    return Subject(machine=a_machine(root), folder=folder)


def only(
    check: Callable[[Subject], Iterable[Finding]], subject: Subject, severity: Severity = Severity.BROKEN
) -> Finding:
    """The one finding of a check, of that severity."""
    (finding,) = check(subject)
    assert finding.severity is severity
    assert finding.mend
    return finding


def tree(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Everything below a folder: mode, time of change, content."""
    found: dict[str, tuple[int, int, bytes]] = {}
    for directory, _, files in os.walk(folder):
        for path in (Path(directory), *(Path(directory, name) for name in files)):
            state = path.stat()
            found[str(path)] = state.st_mode, state.st_mtime_ns, path.read_bytes() if path.is_file() else b""
    return found
