"""How much memory processes use: the one module that reads /proc, where the system has it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

__all__ = ["proportional_bytes"]

_PROC = Path("/proc")


def proportional_bytes(groups: Iterable[int]) -> int | None:
    """Memory of all processes of the given process groups, shared pages counted by share (PSS).

    Arguments:
        groups: numbers of process groups, as the supervisor's children lead them.
    Returns:
        Bytes; None where the system does not tell.
    """
    wanted, total, known = frozenset(groups), 0, False
    for folder in _PROC.glob("[0-9]*"):
        try:
            # The name in the second field may hold anything, a parenthesis too; the group is the third after it.
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(fields[2]) not in wanted:
                continue
            lines = (folder / "smaps_rollup").read_text().splitlines()
        except (OSError, ValueError, IndexError):
            continue  # it has ended, or is another user's
        for line in lines:
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
                known = True
    return total if known else None
