"""Reading the paths of the native programs."""

import json
from pathlib import Path

import pytest

from caimi.devnet.toolchain import MANIFEST_NAME, ToolchainError, ToolchainMalformed, ToolchainMissing, load_toolchain
from caimi.types.errors import Blame, Retry

_SINGLE = ("anvil", "cast", "chaincode", "forge", "go")


def _program(path: Path) -> str:
    path.write_bytes(b"#!/bin/sh\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    fabric = tmp_path / "fabric"
    fabric.mkdir()
    for name in ("configtxgen", "cryptogen", "orderer", "peer"):
        _program(fabric / name)
    paths = {name: _program(tmp_path / name) for name in _SINGLE}
    path = tmp_path / MANIFEST_NAME
    path.write_text(json.dumps({"format": 1, "fabric_bin": str(fabric), "solc": "/ignored", **paths}))
    return path


def _change(manifest: Path, **changes: object) -> None:
    entries = {**json.loads(manifest.read_text()), **changes}
    manifest.write_text(json.dumps({name: value for name, value in entries.items() if value is not None}))


def test_reads_the_environments_root(manifest: Path) -> None:
    toolchain = load_toolchain(environment={}, prefix=manifest.parent)
    assert toolchain.fabric_bin == manifest.parent / "fabric"
    assert toolchain.anvil == manifest.parent / "anvil"
    assert toolchain.chaincode == manifest.parent / "chaincode"
    assert toolchain.kubo is None


def test_variable_goes_before_the_environments_root(manifest: Path, tmp_path: Path) -> None:
    toolchain = load_toolchain(environment={"CAIMI_TOOLCHAIN": str(manifest)}, prefix=tmp_path / "nowhere")
    assert toolchain.go == manifest.parent / "go"


def test_names_kubo_once_it_is_built(manifest: Path) -> None:
    _change(manifest, kubo=_program(manifest.parent / "ipfs"))
    assert load_toolchain(environment={}, prefix=manifest.parent).kubo == manifest.parent / "ipfs"


def test_rejects_no_manifest_and_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(ToolchainMissing) as caught:
        load_toolchain(environment={}, prefix=tmp_path)
    assert "make demo" in caught.value.hint
    assert "tools/bootstrap.py setup" in caught.value.hint
    assert (caught.value.blame, caught.value.retry) == (Blame.OPERATOR, Retry.AFTER)
    assert str(tmp_path) in str(caught.value)


def test_rejects_a_named_manifest_that_is_absent_without_looking_elsewhere(manifest: Path, tmp_path: Path) -> None:
    with pytest.raises(ToolchainMissing, match="other"):
        load_toolchain(environment={"CAIMI_TOOLCHAIN": str(tmp_path / "other")}, prefix=manifest.parent)


@pytest.mark.parametrize("name", [*_SINGLE, "fabric/peer", "fabric/orderer", "fabric/configtxgen", "fabric/cryptogen"])
def test_rejects_a_program_that_is_gone(manifest: Path, name: str) -> None:
    (manifest.parent / name).unlink()
    with pytest.raises(ToolchainMissing, match=name):
        load_toolchain(environment={}, prefix=manifest.parent)


def test_rejects_a_program_that_is_not_executable(manifest: Path) -> None:
    (manifest.parent / "anvil").chmod(0o644)
    with pytest.raises(ToolchainMissing, match="anvil"):
        load_toolchain(environment={}, prefix=manifest.parent)


def test_rejects_a_kubo_that_is_gone(manifest: Path) -> None:
    _change(manifest, kubo=str(manifest.parent / "ipfs"))
    with pytest.raises(ToolchainMissing, match="ipfs"):
        load_toolchain(environment={}, prefix=manifest.parent)


@pytest.mark.parametrize("name", ["fabric_bin", *_SINGLE])
def test_rejects_a_manifest_without_a_path(manifest: Path, name: str) -> None:
    _change(manifest, **{name: None})
    with pytest.raises(ToolchainMalformed, match=name):
        load_toolchain(environment={}, prefix=manifest.parent)


def test_rejects_a_relative_path(manifest: Path) -> None:
    _change(manifest, anvil="bin/anvil")
    with pytest.raises(ToolchainMalformed, match="bin/anvil"):
        load_toolchain(environment={}, prefix=manifest.parent)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"format": 2}', "{}", "[" * 50_000, " " * 65_537, '{"format": 1, "anvil": 3}'],
    ids=["empty", "cut", "list", "null", "format", "nothing", "deep", "large", "number"],
)
def test_rejects_a_malformed_manifest(manifest: Path, text: str) -> None:
    manifest.write_text(text)
    with pytest.raises(ToolchainMalformed):
        load_toolchain(environment={}, prefix=manifest.parent)


def test_rejects_bytes_that_are_not_utf_8(manifest: Path) -> None:
    manifest.write_bytes(b'{"format": 1, "anvil": "\xff"}')
    with pytest.raises(ToolchainError):
        load_toolchain(environment={}, prefix=manifest.parent)
