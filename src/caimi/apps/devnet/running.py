"""Whether a devnet runs: by the locks that its supervisor, and the guard of a dead one, hold."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

__all__ = ["is_running", "lock_is_free"]


def is_running(home: Path) -> bool:
    """Whether a supervisor works in that state folder."""
    return not lock_is_free(home / "supervisor.lock")


def lock_is_free(path: Path) -> bool:
    """Whether nobody holds the lock of that file."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
