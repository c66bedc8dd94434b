"""The guard: one small process that ends the supervisor's children when the supervisor itself is killed.

A supervisor killed with SIGKILL can clean up nothing. So it keeps a pipe to this process, on which it names the
process groups that live (`+PGID`) and those that are over (`-PGID`). The kernel closes the pipe when the
supervisor ends, however it ends; the guard reads the end of file and stops the groups that are left, first
with SIGTERM, then with SIGKILL. It uses process groups, which every system has (`/proc`, where there is one, only
tells when a group is over), and not Linux's PR_SET_PDEATHSIG, which is bound to the *thread* that forked and does
not reach grandchildren. The guard inherits the lock of the state folder, so a new supervisor waits until the last
child is gone.

Run as a file with `python -I -S`: it must stay small, so it imports no package.
"""

import os
import signal
import sys
import time

GRACE_S = 8.0
"""From SIGTERM to SIGKILL, seconds."""
_POLL_S = 0.05


def read_groups(descriptor: int) -> set[int]:
    """Follow the supervisor's messages until the pipe ends; return the groups still alive by them."""
    groups: set[int] = set()
    rest = b""
    while chunk := os.read(descriptor, 4096):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            number = int(line[1:])
            if line[:1] == b"+":
                groups.add(number)
            else:
                groups.discard(number)
    return groups


def end_groups(groups: set[int], grace_s: float) -> None:
    """Stop the process groups: SIGTERM, then SIGKILL for what is left after `grace_s` seconds."""
    left = {group for group in groups if _signal(group, signal.SIGTERM)}
    deadline = time.monotonic() + grace_s
    while left and time.monotonic() < deadline:
        time.sleep(_POLL_S)
        left = {group for group in left if _signal(group, 0) and not _is_dead(group)}
    for group in left:
        _signal(group, signal.SIGKILL)


def _is_dead(group: int) -> bool:
    # A group lasts until init has reaped its last zombie: in a container that may be seconds, or never.
    try:
        processes = [name for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return False
    for name in processes:
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                # The name of the program is in brackets and may hold anything.
                state, _, found, *_ = file.read().rpartition(b")")[2].split()
        except OSError:
            continue
        if int(found) == group and state not in (b"Z", b"X"):
            return False
    return bool(processes)


def _signal(group: int, number: int) -> bool:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        # PermissionError: on macOS a group of zombies only.
        return False
    return True


if __name__ == "__main__":
    end_groups(read_groups(int(sys.argv[1])), GRACE_S)
