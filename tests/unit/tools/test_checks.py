"""The steps of the targets, with programs of our own in the place of the compilers."""

import json
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from toolchain.checks import Checks
from toolchain.errors import ToolchainError
from toolchain.setup import Toolchain
from toolchain.steps import Step


def _script(path: Path, body: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "repo"
    for folder in ("onchain/ethereum/test", "onchain/fabric/cmd/chaincode", "tests/vectors", "tools", ".venv/bin"):
        (root / folder).mkdir(parents=True)
    permissions = 'fs_permissions = [{ access = "read", path = "../../vectors" }]\n'
    (root / "onchain/ethereum/foundry.toml").write_text(permissions)
    (root / "onchain/fabric/go.mod").touch()
    _script(root / ".venv/bin/python", "exit 0")
    return root


def _checks(root: Path, *, go: str = "exit 0", gofmt: str = "exit 0", forge: str = "exit 0") -> Checks:
    def no_chaincode() -> Path:
        raise ToolchainError("the chaincode: does not compile")

    program = _script(root / "go" / "go", go)
    _script(root / "go" / "gofmt", gofmt)
    environment = {"PATH": "/usr/bin:/bin"}
    toolchain = SimpleNamespace(
        repository=root,
        go=SimpleNamespace(
            program=program, environment=environment, chaincode=no_chaincode, kubo_if_built=lambda: None
        ),
        fabric_bin=root / "fabric",
        anvil=root / "anvil",
        cast=root / "cast",
        forge=_script(root / "forge", forge),
        solc=root / "solc",
        manifest=root / ".venv" / "caimi-toolchain.json",
        environment=environment,
    )
    return Checks(cast(Toolchain, cast(Any, toolchain)))


def _step(steps: list[Step], name: str) -> Step:
    return next(step for step in steps if step.name == name)


def test_solidity_readers_get_the_folder_and_the_right_to_read_it(repository: Path, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    forge = f'echo "$CAIMI_VECTORS" > {seen}; cat "$FOUNDRY_CONFIG" >> {seen}; echo "Ran 1 test"'
    folder = tmp_path / "other"
    step = _step(_checks(repository, forge=forge).vectors(folder), "vectors, Solidity")
    assert step.run() == 0
    assert seen.read_text() == f'{folder}\nfs_permissions = [{{ access = "read", path = "{folder}" }}]\n'


@pytest.mark.parametrize(
    ("forge", "code"), [("echo 'Ran 2 tests'; exit 1", 1), ("echo 'No tests found'", 1), ("echo 'Ran 2 tests'", 0)]
)
def test_solidity_readers_fail_when_they_fail_or_are_none(repository: Path, forge: str, code: int) -> None:
    assert _step(_checks(repository, forge=forge).vectors(repository), "vectors, Solidity").run() == code


def test_solidity_readers_fail_when_the_permission_is_no_longer_recognised(repository: Path) -> None:
    (repository / "onchain/ethereum/foundry.toml").write_text("fs_permissions = []\n")
    assert _step(_checks(repository, forge="echo 'Ran 2 tests'").vectors(repository), "vectors, Solidity").run() == 1


@pytest.mark.parametrize(
    ("go", "code"), [("echo '--- FAIL: X'; exit 1", 1), ("echo 'ok [no tests to run]'", 1), ("echo '--- PASS: X'", 0)]
)
def test_go_readers_fail_when_they_fail_or_are_none(repository: Path, go: str, code: int) -> None:
    assert _step(_checks(repository, go=go).vectors(repository), "vectors, Go").run() == code


@pytest.mark.parametrize(("gofmt", "code"), [("exit 0", 0), ("echo main.go", 1), ("echo broken >&2; exit 2", 1)])
def test_gofmt_fails_when_it_lists_a_file(repository: Path, gofmt: str, code: int) -> None:
    assert _step(_checks(repository, gofmt=gofmt).lint(), "gofmt").run() == code


def test_no_tests_collected_is_not_a_pass(repository: Path) -> None:
    _script(repository / ".venv/bin/python", "exit 5")
    assert _step(_checks(repository).tests(), "pytest, real ledgers").run() == 5


def test_chaincode_that_does_not_compile_fails_and_is_not_named_to_the_product(repository: Path) -> None:
    checks = _checks(repository)
    manifest = repository / ".venv" / "caimi-toolchain.json"
    manifest.write_text('{"chaincode": "/an/older/one"}')
    assert _step(checks.build(), "build the chaincode").run() == 1
    written = json.loads(manifest.read_text())
    assert "chaincode" not in written
    assert written["anvil"] == str(repository / "anvil")


def test_every_generator_is_checked(repository: Path) -> None:
    for name in ("gen_b.py", "gen_a.py", "check_a.py"):
        (repository / "tools" / name).touch()
    assert [step.name for step in _checks(repository).generated()] == ["gen_a", "gen_b"]
