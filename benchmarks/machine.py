"""What a result was measured on: the machine, the load of others, and the source."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any, Final

__all__ = ["describe_machine", "load_average", "source_commit"]

_LIBRARIES: Final = ("coincurve", "cryptography", "numpy", "onnxruntime")
_SOURCE: Final = ("src", "onchain", "benchmarks", ":!benchmarks/results", "pyproject.toml", "uv.lock")


def describe_machine() -> dict[str, Any]:
    """Processor, cores that this process may use, memory, and versions. No names of hosts or people."""
    return {
        "cpu": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "libraries": {name: metadata.version(name) for name in _LIBRARIES},
    }


def load_average() -> float:
    """Processes that ran or wanted to, mean of the last minute."""
    return round(os.getloadavg()[0], 2)


def source_commit(repository: Path) -> str:
    """The commit that is checked out; with "-dirty" if what is measured differs from it; "unknown" without git."""
    try:
        head = _git(repository, "rev-parse", "HEAD")
        return f"{head}-dirty" if _git(repository, "status", "--porcelain", "--", *_SOURCE) else head
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(repository: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=repository, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    found: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        found.setdefault(name.strip(), value.strip())
    model = found.get("model name", "unknown")
    return f"{model} (family {found.get('cpu family', '?')}, model {found.get('model', '?')})"
