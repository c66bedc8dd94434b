"""The targets of `tools/bootstrap.py`: what each runs, in words that `--help` shows."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from toolchain.checks import Checks
from toolchain.errors import ToolchainError
from toolchain.process import call, say
from toolchain.setup import Toolchain, complete, set_up
from toolchain.steps import Step, run_steps

__all__ = ["TARGETS", "main"]

REPOSITORY = Path(__file__).resolve().parent.parent

_BUILD_OUTPUTS = (
    ".venv",
    ".pytest_cache",
    ".ruff_cache",
    ".hypothesis",
    ".import_linter_cache",
    "build",
    "dist",
    "onchain/ethereum/cache",
    "onchain/ethereum/node_modules",
    "onchain/ethereum/out",
    "onchain/fabric/bin",
)


def main(arguments: list[str]) -> int:
    """Run one target. Returns the exit code: 0 done, 1 something failed, 2 the call makes no sense."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_usage())
        return 0 if arguments else 2
    target = TARGETS.get(arguments[0])
    if target is None:
        say(f"no target {arguments[0]!r}\n{_usage()}")
        return 2
    try:
        return target(arguments[1:])
    except ToolchainError as error:
        say(f"error: {error}")
        # CI reads the last line of the checks; a toolchain that cannot be made is a failure of them all.
        if arguments[0] in _CHECKED:
            print("0 passed, 1 failed")
        return 1
    except KeyboardInterrupt:
        say("interrupted")
        return 130


def _setup(arguments: list[str]) -> int:
    """Make the toolchain and nothing else; with --kubo also the reference for block formats."""
    if arguments not in ([], ["--kubo"]):
        raise ToolchainError(f"setup takes nothing or --kubo, got: {' '.join(arguments)}")
    toolchain = _toolchain()
    if arguments:
        toolchain.go.kubo()
    complete(toolchain)
    say("ready: .venv/bin/caimi")
    return 0


def _demo(arguments: list[str]) -> int:
    """Publish on two real ledgers, infer, and show the receipts; arguments go to `caimi demo`."""
    toolchain = _toolchain()
    complete(toolchain)
    command = [REPOSITORY / ".venv" / "bin" / "caimi", "demo", *arguments]
    return call(command, cwd=REPOSITORY, environment=toolchain.environment)


def _test(arguments: list[str]) -> int:
    """All checks and tests but the slow ones."""
    _none(arguments)
    return _run(lambda checks: [*checks.lint(), *checks.build(), *checks.generated(), *checks.tests()])


def _test_long(arguments: list[str]) -> int:
    """All checks and tests, the slow ones too."""
    _none(arguments)
    toolchain = _toolchain()
    toolchain.go.kubo()
    checks = Checks(toolchain)
    return run_steps([*checks.lint(), *checks.build(), *checks.generated(), *checks.tests(), *checks.slow()])


def _lint(arguments: list[str]) -> int:
    """The checks that run no code of ours."""
    _none(arguments)
    return _run(lambda checks: checks.lint())


def _generated_check(arguments: list[str]) -> int:
    """Is every generated file what its generator makes now?"""
    _none(arguments)
    return _run(lambda checks: [*checks.build(), *checks.generated()])


def _test_vectors(arguments: list[str]) -> int:
    """Each language's readers of the shared vectors, on the folder in the argument (default: vectors)."""
    if len(arguments) > 1:
        raise ToolchainError("test-vectors takes one folder: make test-vectors VECTORS=DIR")
    folder = Path(arguments[0] if arguments else REPOSITORY / "vectors").absolute()
    if not folder.is_dir():
        raise ToolchainError(f"{folder} is not a folder")
    return _run(lambda checks: checks.vectors(folder))


def _bench(arguments: list[str]) -> int:
    """Measure; arguments go to the benchmarks."""
    if not (REPOSITORY / "benchmarks" / "__main__.py").is_file():
        raise ToolchainError("this version of CAIMI has no benchmarks")
    toolchain = _toolchain()
    complete(toolchain)
    command = [REPOSITORY / ".venv" / "bin" / "python", "-m", "benchmarks", *arguments]
    return call(command, cwd=REPOSITORY, environment=toolchain.environment)


def _clean(arguments: list[str]) -> int:
    """Remove what was built inside the repository; the shared cache in the home folder stays."""
    _none(arguments)
    for name in _BUILD_OUTPUTS:
        _remove(REPOSITORY / name)
    for folder in ("src", "tests", "tools", "benchmarks", "examples"):
        for cache in sorted((REPOSITORY / folder).rglob("__pycache__")):
            _remove(cache)
    return 0


def _remove(path: Path) -> None:
    # A link is removed, never followed: the one in onchain/ethereum points into the shared cache.
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.is_dir():
        shutil.rmtree(path)


def _toolchain() -> Toolchain:
    return set_up(REPOSITORY, dict(os.environ))


def _run(steps: Callable[[Checks], list[Step]]) -> int:
    return run_steps(steps(Checks(_toolchain())))


def _none(arguments: list[str]) -> None:
    if arguments:
        raise ToolchainError(f"this target takes no arguments, got: {' '.join(arguments)}")


def _usage() -> str:
    rows = [f"  {name:<17}{(target.__doc__ or '').splitlines()[0]}" for name, target in TARGETS.items()]
    return "usage: python3 tools/bootstrap.py TARGET\n" + "\n".join(rows)


TARGETS: dict[str, Callable[[list[str]], int]] = {
    "demo": _demo,
    "test": _test,
    "test-long": _test_long,
    "lint": _lint,
    "bench": _bench,
    "generated-check": _generated_check,
    "test-vectors": _test_vectors,
    "setup": _setup,
    "clean": _clean,
}
"""Every target by name; each takes the words after its name and returns an exit code."""

_CHECKED = frozenset({"test", "test-long", "lint", "generated-check", "test-vectors"})
