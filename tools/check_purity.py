"""Check that the pure rooms ask nobody for the time or for randomness: both are arguments there.

import-linter sees modules (`time`, `random`); this sees the calls that hide in modules which are allowed: `os.urandom`,
`datetime.now`, `numpy.random` and their like, also under another name.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

__all__ = ["PURE_ROOMS", "impure_uses"]

_ROOT = Path(__file__).resolve().parent.parent

PURE_ROOMS = ("types", "wire", "crypto", "identity", "attestation", "bundle", "protocol", "ports")
"""The rooms of src/caimi that compute only."""

_FORBIDDEN_PREFIXES = ("time.", "random.", "secrets.", "numpy.random.")
_FORBIDDEN = frozenset(
    {
        "datetime.date.today",
        "datetime.datetime.now",
        "datetime.datetime.today",
        "datetime.datetime.utcnow",
        "os.environ",
        "os.getenv",
        "os.getrandom",
        "os.urandom",
        "uuid.uuid1",
        "uuid.uuid4",
    }
)


def impure_uses(text: str) -> Iterator[tuple[int, str]]:
    """(line, full name) of each use of a clock, of randomness or of the environment in a module's source."""
    tree = ast.parse(text)
    names = _imported_names(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Name):
            full = _full_name(node, names)
            if full is not None and (full in _FORBIDDEN or full.startswith(_FORBIDDEN_PREFIXES)):
                yield node.lineno, full


def _imported_names(tree: ast.Module) -> dict[str, str]:
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.split(".")[0]
                names[alias.asname or top] = alias.name if alias.asname else top
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return names


def _full_name(node: ast.expr, names: dict[str, str]) -> str | None:
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute):
        base = _full_name(node.value, names)
        return None if base is None else f"{base}.{node.attr}"
    return None


def main() -> int:
    """Check the repository. Returns 1 if a pure room is not pure."""
    failed = False
    for room in PURE_ROOMS:
        for path in sorted((_ROOT / "src" / "caimi" / room).rglob("*.py")):
            for line, name in impure_uses(path.read_text(encoding="utf-8")):
                failed = True
                print(f"error: {path.relative_to(_ROOT)}:{line}: {name} in a pure room; take the value as an argument")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
