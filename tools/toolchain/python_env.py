"""The Python environment: a standard-library venv filled by a pinned uv from uv.lock."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from .cache import Cache, content_key, locked
from .errors import ToolchainError
from .platforms import platform_name
from .process import run_logged, say

__all__ = ["clean_environment", "install_locked", "make_environment", "site_packages", "venv_python", "venv_version"]

# Variables of a caller's own Python environment that would send our tools to the wrong interpreter.
_FOREIGN = ("VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONHOME", "PYTHONPATH", "UV_PROJECT_ENVIRONMENT", "UV_PYTHON")


def clean_environment(environment: dict[str, str]) -> dict[str, str]:
    """The caller's environment without the variables that point to another Python environment."""
    return {name: value for name, value in environment.items() if name not in _FOREIGN}


def venv_python(repository: Path) -> Path:
    """The interpreter of the repository's environment."""
    return repository / ".venv" / "bin" / "python"


def site_packages(repository: Path) -> Path:
    """Where the environment's packages are, for the Python that runs us (its version is the environment's)."""
    return repository / ".venv" / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"


def venv_version(repository: Path) -> tuple[int, int] | None:
    """The version of the environment's Python, or None if it does not exist or does not start."""
    question = "import sys; print(sys.version_info[0], sys.version_info[1])"
    try:
        answer = subprocess.run(
            [str(venv_python(repository)), "-I", "-c", question], check=True, capture_output=True, text=True
        ).stdout.split()
        return int(answer[0]), int(answer[1])
    except (OSError, subprocess.CalledProcessError, ValueError, IndexError):
        return None


def make_environment(repository: Path, cache: Cache, environment: dict[str, str]) -> None:
    """Bring `.venv` to what uv.lock says. Two calls at once on one tree do it one after the other.

    Raises:
        ToolchainError: venv, pip or uv failed; the text has their last words.
    """
    uv = _uv(repository, cache, environment)
    tree = content_key([str(repository.resolve())])
    waiting = "the Python environment: another bootstrap is at it, waiting"
    with locked(cache.root / "locks" / f"tree-{tree}.lock", on_wait=lambda: say(waiting)):
        _make_venv(repository)
        run_logged(
            # --inexact: packages that somebody added by hand for an experiment are not ours to remove.
            [uv, "sync", "--locked", "--all-groups", "--inexact", "--python", venv_python(repository)],
            label="Python packages (uv sync)",
            log=cache.root / "logs" / "uv-sync.log",
            cwd=repository,
            environment={
                **clean_environment(environment),
                "UV_PROJECT_ENVIRONMENT": str(repository / ".venv"),
                "UV_PYTHON_DOWNLOADS": "never",
                "UV_NO_PROGRESS": "1",
            },
        )


def install_locked(
    requirements: Path, folder: Path, repository: Path, cache: Cache, environment: dict[str, str]
) -> None:
    """Put the packages of a file with hashes into a folder for PYTHONPATH, for the Python that runs us.

    Use it with PYTHONDONTWRITEBYTECODE: what is written into a cached folder later makes it another one.

    Raises:
        ToolchainError: uv failed; the text has its last words.
    """
    run_logged(
        [
            *(_uv(repository, cache, environment), "pip", "install", "--python", sys.executable, "--target", folder),
            *("--require-hashes", "--only-binary", ":all:", "-r", requirements),
        ],
        label=f"Python packages of {requirements.parent.name}",
        log=cache.root / "logs" / f"uv-{requirements.parent.name}.log",
        cwd=repository,
        environment={**clean_environment(environment), "UV_NO_PROGRESS": "1"},
    )


def _make_venv(repository: Path) -> None:
    wanted = (sys.version_info[0], sys.version_info[1])
    if venv_version(repository) == wanted:
        return
    say(f"making .venv with Python {wanted[0]}.{wanted[1]}")
    # `clear` removes an environment of another version or one whose interpreter is gone.
    venv.EnvBuilder(clear=True, symlinks=True, with_pip=False).create(repository / ".venv")


def _uv(repository: Path, cache: Cache, environment: dict[str, str]) -> Path:
    requirements = repository / "tools" / "uv-requirements.txt"

    def build(folder: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="caimi-pip-") as scratch:
            python = _pip_python(Path(scratch) / "venv")
            run_logged(
                [
                    python,
                    "-m",
                    "pip",
                    "install",
                    "--no-deps",
                    "--require-hashes",
                    "--only-binary=:all:",
                    "--disable-pip-version-check",
                    "--target",
                    folder,
                    "-r",
                    requirements,
                ],
                label="the installer (uv)",
                log=cache.root / "logs" / "uv-install.log",
                cwd=repository,
                environment=clean_environment(environment),
            )

    key = content_key([platform_name()], [("requirements", requirements)])
    return cache.ensure("uv", key, build) / "bin" / "uv"


def _pip_python(folder: Path) -> Path:
    try:
        venv.EnvBuilder(symlinks=True, with_pip=True).create(folder)
    except (OSError, subprocess.CalledProcessError) as error:
        raise ToolchainError(
            f"this Python ({sys.executable}) cannot make an environment with pip: {error}\n"
            "On Debian and Ubuntu: apt install python3-venv"
        ) from error
    return folder / "bin" / "python"
