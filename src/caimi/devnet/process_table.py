"""Which processes run, where the system has /proc."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["works_below"]

_PROC = Path("/proc")


def works_below(pid: int, folder: Path) -> bool:
    """Whether process `pid` runs and its working folder is `folder` or below it.

    A number is given to other processes later: the folder tells ours apart. False where the system does not tell.
    """
    try:
        place = Path(os.readlink(_PROC / str(pid) / "cwd"))
        is_dead = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] in ("Z", "X")
    except (OSError, IndexError):
        return False
    return not is_dead and place.is_relative_to(folder.resolve())
