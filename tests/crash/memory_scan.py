"""Looks for bytes in the memory of a running process. Linux only, for tests only: needs the rights of its user.

    python tests/crash/memory_scan.py PID FILE

tells how many pieces of a file are somewhere in the memory of a process.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["WINDOW", "Scan", "pieces_of", "scan_process"]

WINDOW = 4096
"""Length of a window in bytes."""
_CHUNK = 8 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """What was found."""

    pid: int
    scanned: int
    """Bytes that could be read."""
    found: frozenset[bytes]
    """The needles that are there."""


def pieces_of(content: bytes, window: int = WINDOW) -> tuple[bytes, ...]:
    """Pieces of half a window, side by side: wherever a whole window of the content lies, one of them lies in it.

    Left out are pieces of one repeated byte, which are in every memory.
    """
    length = window // 2
    pieces = (content[i : i + length] for i in range(0, len(content) - length + 1, length))
    return tuple(dict.fromkeys(piece for piece in pieces if len(set(piece)) > 1))


def scan_process(pid: int, needles: Iterable[bytes]) -> Scan:
    """Read all memory of a process that can be read, and look for each needle in it, at every place.

    Raises:
        ProcessLookupError: There is no such process.
        PermissionError: Its memory may not be read.
    """
    wanted = set(needles)
    longest = max(map(len, wanted))
    found: set[bytes] = set()
    scanned = 0
    for piece, fresh in _pieces(pid, longest - 1):
        scanned += fresh
        found |= {needle for needle in wanted - found if needle in piece}
    return Scan(pid=pid, scanned=scanned, found=frozenset(found))


def _pieces(pid: int, overlap: int) -> Iterator[tuple[bytes, int]]:
    # Pieces of each region with what ends the piece before, and how many bytes of each are new.
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for start, end in _regions(pid):
            kept = b""
            for place in range(start, end, _CHUNK):
                try:
                    memory.seek(place)
                    piece = memory.read(min(_CHUNK, end - place))
                except (OSError, ValueError, OverflowError):
                    # Given back meanwhile, or a region of the kernel's.
                    kept = b""
                    continue
                yield kept + piece, len(piece)
                kept = (kept + piece)[-overlap:] if overlap else b""


def _regions(pid: int) -> list[tuple[int, int]]:
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    if not lines:
        raise ProcessLookupError(pid)
    found: list[tuple[int, int]] = []
    for line in lines:
        fields = line.split()
        start, end = (int(part, 16) for part in fields[0].split("-"))
        if "r" in fields[1] and fields[-1] not in ("[vvar]", "[vsyscall]", "[vvar_vclock]"):
            found.append((start, end))
    return found


def main() -> int:
    """The command: exit code 1 if something was found."""
    needles = pieces_of(Path(sys.argv[2]).read_bytes())
    scan = scan_process(int(sys.argv[1]), needles)
    sys.stdout.write(f"{len(scan.found)} of {len(needles)} pieces in {scan.scanned} bytes\n")
    return 1 if scan.found else 0


if __name__ == "__main__":
    sys.exit(main())
