"""Check the import rules that a list in pyproject.toml cannot hold while rooms are still being built.

import-linter refuses a contract that names a room which does not exist, so its contract for the pure rooms can lag
behind them: this finds the ones that it leaves out. And it holds two rules for rooms that may not be there yet: the
client library works without our services, and simulators are loaded by the wiring of the devnet and of the simulation,
and by tests, only.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grimp
from check_purity import PURE_ROOMS

__all__ = ["SERVICE_ROOMS", "forbidden_imports", "omissions"]

_ROOT = Path(__file__).resolve().parent.parent

SERVICE_ROOMS = ("relay", "validator", "host", "gateway", "issuer")
"""The rooms that a client library must work without."""

_LOADS_SIMULATORS = ("caimi.apps.devnet", "caimi.apps.simulation")


def omissions(contracts: list[dict[str, Any]], rooms: set[str]) -> Iterator[str]:
    """What import-linter's contracts leave open for the rooms (names below caimi) that exist."""
    by_id = {contract["id"]: contract for contract in contracts}
    layers = by_id.get("layers", {})
    if layers.get("exhaustive") is not True or layers.get("containers") != ["caimi"]:
        yield "contract `layers` must be exhaustive over caimi"
    listed = by_id.get("pure", {}).get("source_modules", [])
    for room in sorted(rooms.intersection(PURE_ROOMS)):
        if f"caimi.{room}" not in listed:
            yield f"contract `pure`: source_modules lacks caimi.{room}"
    if "chains" in rooms and by_id.get("chains", {}).get("modules") != ["caimi.chains.*"]:
        yield "contract `chains` must be about caimi.chains.*"


def forbidden_imports(graph: grimp.ImportGraph, package: str = "caimi") -> Iterator[str]:
    """The chains of imports by which the client library reaches a service, and the strangers that import simulators."""
    for service in SERVICE_ROOMS:
        if {f"{package}.sdk", f"{package}.{service}"} <= graph.modules:
            chains = graph.find_shortest_chains(
                importer=f"{package}.sdk", imported=f"{package}.{service}", as_packages=True
            )
            yield from sorted(" -> ".join(chain) for chain in chains)
    simulators = f"{package}.simulators"
    allowed = (simulators, *(room.replace("caimi", package, 1) for room in _LOADS_SIMULATORS))
    for module in sorted(graph.modules):
        if module == simulators or module.startswith(simulators + "."):
            for importer in sorted(graph.find_modules_that_directly_import(module)):
                if not any(importer == name or importer.startswith(name + ".") for name in allowed):
                    yield f"{importer} -> {module}"


def main() -> int:
    """Check the repository. Returns 1 if a room is left out or an import is forbidden."""
    settings = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    package = _ROOT / "src" / "caimi"
    rooms = {path.parent.name for path in package.glob("*/__init__.py")} | {path.stem for path in package.glob("*.py")}
    found = [f"pyproject.toml: {what}" for what in omissions(settings["tool"]["importlinter"]["contracts"], rooms)]
    graph = grimp.build_graph("caimi", cache_dir=None)
    found += [f"forbidden import: {chain}" for chain in forbidden_imports(graph)]
    for what in found:
        print(f"error: {what}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
