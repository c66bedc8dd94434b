"""Check that import-linter's contracts name every room that exists: a contract cannot list a room that does not.

The layers contract is exhaustive by itself. The others are lists in pyproject.toml, and a new room that nobody adds to
them would be free to do what they forbid.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from check_purity import PURE_ROOMS

__all__ = ["SERVICE_ROOMS", "omissions"]

_ROOT = Path(__file__).resolve().parent.parent

SERVICE_ROOMS = ("relay", "validator", "host", "gateway", "issuer")
"""The rooms that a client library must work without."""


def omissions(contracts: list[dict[str, Any]], rooms: set[str]) -> Iterator[str]:
    """What the contracts leave open for the rooms (names below caimi) that exist."""
    by_id = {contract["id"]: contract for contract in contracts}
    layers = by_id.get("layers", {})
    if layers.get("exhaustive") is not True or layers.get("containers") != ["caimi"]:
        yield "contract `layers` must be exhaustive over caimi"
    yield from _missing(by_id, "pure", "source_modules", rooms.intersection(PURE_ROOMS))
    if "sdk" in rooms:
        yield from _missing(by_id, "sdk", "source_modules", {"sdk"})
        yield from _missing(by_id, "sdk", "forbidden_modules", rooms.intersection(SERVICE_ROOMS))
    if "chains" in rooms and by_id.get("chains", {}).get("modules") != ["caimi.chains.*"]:
        yield "contract `chains` must be about caimi.chains.*"
    if "simulators" in rooms:
        yield from _missing(by_id, "simulators", "protected_modules", {"simulators"})


def _missing(contracts: dict[str, dict[str, Any]], name: str, key: str, rooms: set[str]) -> Iterator[str]:
    listed = contracts.get(name, {}).get(key, [])
    for room in sorted(rooms):
        if f"caimi.{room}" not in listed:
            yield f"contract `{name}`: {key} lacks caimi.{room}"


def main() -> int:
    """Check the repository. Returns 1 if a room is left out."""
    settings = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    package = _ROOT / "src" / "caimi"
    rooms = {path.parent.name for path in package.glob("*/__init__.py")} | {path.stem for path in package.glob("*.py")}
    found = list(omissions(settings["tool"]["importlinter"]["contracts"], rooms))
    for what in found:
        print(f"error: pyproject.toml: {what}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
