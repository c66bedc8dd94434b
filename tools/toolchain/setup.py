"""Everything between an empty machine and a repository in which any target can run."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from .cache import Cache, default_root
from .golang import Go
from .node import Node
from .process import say
from .python_env import make_environment

__all__ = ["Toolchain", "complete", "set_up"]

_MANIFEST_FORMAT = 1


@dataclass(frozen=True)
class Toolchain:
    """What a target may use. All paths are absolute."""

    repository: Path
    cache: Cache
    go: Go
    fabric_bin: Path
    anvil: Path
    cast: Path
    forge: Path
    solc: Path
    manifest: Path
    """The file that tells the product where the programs are."""
    environment: dict[str, str]
    """The caller's environment plus CAIMI_TOOLCHAIN, with the environment's programs first on PATH."""


def set_up(repository: Path, environment: dict[str, str]) -> Toolchain:
    """Make everything that is not our own code; when all is there this takes about a second.

    Raises:
        ToolchainError: A part could not be made; what was finished is kept.
    """
    cache = Cache(default_root(environment), say=say)
    make_environment(repository, cache, environment)
    node = Node(repository, cache, environment)
    modules = node.modules()
    go = Go(repository, cache, environment)
    fabric_bin = go.fabric()
    scripts = repository / ".venv" / "bin"
    solc = scripts / "caimi-solc"
    node.write_solc_launcher(solc, modules)
    _link_modules(repository, modules)
    manifest = repository / ".venv" / "caimi-toolchain.json"
    return Toolchain(
        repository=repository,
        cache=cache,
        go=go,
        fabric_bin=fabric_bin,
        anvil=node.foundry(modules, "anvil"),
        cast=node.foundry(modules, "cast"),
        forge=node.foundry(modules, "forge"),
        solc=solc,
        manifest=manifest,
        environment={
            **environment,
            "CAIMI_TOOLCHAIN": str(manifest),
            "PATH": f"{scripts}:{environment.get('PATH', '')}",
        },
    )


def complete(toolchain: Toolchain) -> None:
    """Build our own chaincode and write the manifest.

    Raises:
        ToolchainError: The chaincode does not compile. The manifest then names none, rather than an older one.
    """
    chaincode: Path | None = None
    try:
        if (toolchain.repository / "onchain" / "fabric" / "cmd" / "chaincode").is_dir():
            chaincode = toolchain.go.chaincode()
    finally:
        programs = {
            "anvil": toolchain.anvil,
            "cast": toolchain.cast,
            "chaincode": chaincode,
            "fabric_bin": toolchain.fabric_bin,
            "forge": toolchain.forge,
            "go": toolchain.go.program,
            "kubo": toolchain.go.kubo_if_built(),
            "solc": toolchain.solc,
        }
        _write_manifest(toolchain.manifest, programs)


def _link_modules(repository: Path, modules: Path) -> None:
    # Forge accepts imports from inside its project folder only, and names sources by their path there: the link
    # keeps the paths in the artefacts the same on every machine.
    project = repository / "onchain" / "ethereum"
    if not project.is_dir():
        return
    link = project / "node_modules"
    if link.is_symlink() and Path(os.readlink(link)) == modules:
        return
    if link.exists() and not link.is_symlink():
        say(f"{link} is a folder of somebody's own; leaving it")
        return
    scratch = project / f".node_modules.{os.getpid()}"
    scratch.unlink(missing_ok=True)
    scratch.symlink_to(modules)
    scratch.replace(link)


def _write_manifest(path: Path, programs: dict[str, Path | None]) -> None:
    manifest = {"format": _MANIFEST_FORMAT, **{name: str(p) for name, p in programs.items() if p is not None}}
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    scratch.replace(path)
