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

__all__ = ["Toolchain", "add_kubo", "set_up"]

_MANIFEST_FORMAT = 1


@dataclass(frozen=True)
class Toolchain:
    """What a target may use. All paths are absolute."""

    repository: Path
    cache: Cache
    go: Go
    node: Node
    fabric_bin: Path
    forge: Path
    solc: Path
    environment: dict[str, str]
    """The caller's environment plus CAIMI_TOOLCHAIN, with the environment's programs first on PATH."""


def set_up(repository: Path, environment: dict[str, str]) -> Toolchain:
    """Make or complete the toolchain; when all is there this takes about a second.

    Raises:
        ToolchainError: A part could not be made; what was finished is kept.
    """
    cache = Cache(default_root(environment), say=say)
    make_environment(repository, cache, environment)
    node = Node(repository, cache, environment)
    modules = node.modules()
    go = Go(repository, cache, environment)
    fabric_bin = go.fabric()
    solc = repository / ".venv" / "bin" / "caimi-solc"
    node.write_solc_launcher(solc, modules)
    _link_modules(repository, modules)
    programs = {
        "anvil": node.foundry("anvil"),
        "cast": node.foundry("cast"),
        "chaincode": _chaincode(repository, go),
        "fabric_bin": fabric_bin,
        "forge": node.foundry("forge"),
        "go": go.program,
        "kubo": go.kubo_if_built(),
        "solc": solc,
    }
    manifest = repository / ".venv" / "caimi-toolchain.json"
    _write_manifest(manifest, programs)
    scripts = repository / ".venv" / "bin"
    return Toolchain(
        repository=repository,
        cache=cache,
        go=go,
        node=node,
        fabric_bin=fabric_bin,
        forge=node.foundry("forge"),
        solc=solc,
        environment={
            **environment,
            "CAIMI_TOOLCHAIN": str(manifest),
            "PATH": f"{scripts}:{environment.get('PATH', '')}",
        },
    )


def add_kubo(toolchain: Toolchain) -> dict[str, str]:
    """Build Kubo, which only the slow tests use, and name it in the manifest. Returns the targets' environment."""
    toolchain.go.kubo()
    return set_up(toolchain.repository, toolchain.environment).environment


def _chaincode(repository: Path, go: Go) -> Path | None:
    if not (repository / "onchain" / "fabric" / "cmd" / "chaincode").is_dir():
        return None
    return go.chaincode()


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
