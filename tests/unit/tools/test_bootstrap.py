"""The first file that anybody runs: what it refuses, and that it can be read by the Pythons that it refuses."""

import ast
import os
import stat
import subprocess
import sys
from pathlib import Path

import bootstrap
import pytest
import targets

REPOSITORY = Path(__file__).resolve().parents[3]
BOOTSTRAP = REPOSITORY / "tools" / "bootstrap.py"


@pytest.mark.parametrize("version", [(3, 11), (3, 12), (3, 13)])
def test_accepts_supported_pythons(version: tuple[int, int]) -> None:
    assert bootstrap.python_refusal(version) is None


@pytest.mark.parametrize("version", [(2, 7), (3, 10), (3, 14), (4, 0)])
def test_rejects_other_pythons_and_says_what_to_do(version: tuple[int, int]) -> None:
    refusal = bootstrap.python_refusal(version)
    assert refusal is not None
    assert f"Python {version[0]}.{version[1]} is not supported" in refusal
    assert "3.11 to 3.13" in refusal
    assert "python3.13 tools/bootstrap.py demo" in refusal


def test_accepts_linux_on_x86_64() -> None:
    assert bootstrap.platform_refusal("Linux", "x86_64", allow_untried=False) is None


@pytest.mark.parametrize(("system", "machine"), [("Linux", "aarch64"), ("Darwin", "arm64"), ("Darwin", "x86_64")])
def test_rejects_an_untried_platform_unless_asked(system: str, machine: str) -> None:
    refusal = bootstrap.platform_refusal(system, machine, allow_untried=False)
    assert refusal is not None
    assert "Linux x86-64 only" in refusal
    assert "CAIMI_ALLOW_UNTRIED_PLATFORM=1" in refusal
    assert bootstrap.platform_refusal(system, machine, allow_untried=True) is None


@pytest.mark.parametrize(("system", "machine"), [("Windows", "AMD64"), ("Linux", "riscv64"), ("FreeBSD", "amd64")])
def test_rejects_an_unknown_platform_even_if_asked(system: str, machine: str) -> None:
    refusal = bootstrap.platform_refusal(system, machine, allow_untried=True)
    assert refusal is not None
    assert "WSL 2" in refusal
    assert "CAIMI_ALLOW_UNTRIED_PLATFORM" not in refusal


def test_can_be_read_by_the_oldest_python_3_that_ast_knows() -> None:
    tree = ast.parse(BOOTSTRAP.read_text(encoding="utf-8"), feature_version=(3, 4))
    # ast refuses new syntax only in part; these two are what it lets through.
    assert not any(isinstance(node, ast.JoinedStr | ast.Match) for node in ast.walk(tree))


def test_imports_only_modules_that_python_2_has_before_it_has_checked() -> None:
    tree = ast.parse(BOOTSTRAP.read_text(encoding="utf-8"))
    top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = [alias.name for node in top if isinstance(node, ast.Import) for alias in node.names]
    assert all(isinstance(node, ast.Import) for node in top)
    assert sorted(names) == ["os", "platform", "sys"]


def test_toolchain_uses_the_standard_library_only() -> None:
    own = {"toolchain", "targets", "bootstrap"}
    for path in [BOOTSTRAP, REPOSITORY / "tools" / "targets.py", *(REPOSITORY / "tools" / "toolchain").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            else:
                continue
            for name in names:
                top = name.split(".")[0]
                assert top in own or top in sys.stdlib_module_names, f"{path.name} imports {name}"


def test_help_names_every_target_and_an_unknown_one_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert targets.main(["--help"]) == 0
    shown = capsys.readouterr().out
    for name in ("demo", "test", "test-long", "lint", "bench", "generated-check", "test-vectors", "setup", "clean"):
        assert f"  {name} " in shown
    assert targets.main(["no-such-target"]) == 2
    assert targets.main([]) == 2


@pytest.mark.parametrize("arguments", [["test", "extra"], ["test-vectors", "a", "b"], ["test-vectors", "/no/such/dir"]])
def test_a_check_that_cannot_start_still_ends_with_the_count(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert targets.main(arguments) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "0 passed, 1 failed"


def test_makefile_has_one_line_per_target_and_each_calls_the_bootstrap() -> None:
    lines = (REPOSITORY / "Makefile").read_text(encoding="utf-8").splitlines()
    rules = {line.split(":")[0]: line for line in lines if line and line[0] not in "#.\t" and "?=" not in line}
    assert set(rules) == set(targets.TARGETS)
    for name, line in rules.items():
        assert f"tools/bootstrap.py {name}" in line


def test_ci_runs_make_test() -> None:
    script = REPOSITORY / ".ci" / "run"
    assert script.stat().st_mode & stat.S_IXUSR
    assert script.read_text(encoding="utf-8").rstrip().endswith("make --no-print-directory test")


def test_refusal_is_the_programs_exit(tmp_path: Path) -> None:
    # A copy of the file alone, with a Python that claims to be too new: nothing else may be needed to refuse.
    program = tmp_path / "bootstrap.py"
    program.write_text(
        "import sys\nsys.version_info = (3, 99, 0)\n" + BOOTSTRAP.read_text(encoding="utf-8"), encoding="utf-8"
    )
    done = subprocess.run(
        [sys.executable, str(program), "demo"], capture_output=True, text=True, check=False, env={**os.environ}
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("bootstrap: Python 3.99 is not supported")
