"""Whether a devnet runs: by the locks that its supervisor, and the guard of a dead one, hold."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from caimi.apps.devnet.errors import NotRunning

__all__ = ["check_running", "is_running", "lock_is_free"]


def is_running(home: Path) -> bool:
    """Whether a supervisor works in that state folder."""
    return not lock_is_free(home / "supervisor.lock")


def check_running(home: Path) -> None:
    """Refuse to wait for a devnet that nobody has started.

    Raises:
        NotRunning: There is a devnet in that state folder, and it does not run.
    """
    if (home / "plan.json").is_file() and not is_running(home):
        raise NotRunning(f"the devnet in {home} does not run")


def lock_is_free(path: Path) -> bool:
    """Whether nobody holds the lock of that file."""
    try:
        # Reading is enough to try a lock, also where nothing can be written.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
