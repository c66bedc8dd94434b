"""The scanner finds what a process holds, wherever it lies, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager

import pytest

from tests.crash import memory_scan
from tests.crash.memory_scan import WINDOW, pieces_of, scan_process

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

# Holds its input at an odd place of its memory, says so and waits for the end of a second line.
_HOLDER = """
import sys
held = b"x" * 13 + sys.stdin.buffer.read({length})
sys.stdout.write("held\\n"); sys.stdout.flush()
sys.stdin.buffer.read()
"""


@contextmanager
def _holder(content: bytes) -> Generator[int]:
    command = [sys.executable, "-c", _HOLDER.format(length=len(content))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(content)
        process.stdin.flush()
        assert process.stdout.readline() == b"held\n"
        yield process.pid


def test_finds_all_of_what_a_process_holds_and_nothing_that_it_does_not() -> None:
    held, other = os.urandom(10 * WINDOW), os.urandom(10 * WINDOW)
    with _holder(held) as pid:
        scan = scan_process(pid, (*pieces_of(held), *pieces_of(other)))
    assert scan.found == frozenset(pieces_of(held))
    assert scan.scanned > 1 << 20


def test_finds_one_window_wherever_it_was_cut() -> None:
    content = os.urandom(4 * WINDOW)
    for start in (0, 1, WINDOW // 2 + 1, WINDOW - 1):
        window = content[start : start + WINDOW]
        assert any(piece in window for piece in pieces_of(content))


def test_finds_what_lies_across_two_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_scan, "_CHUNK", 5_000)
    held = os.urandom(8 * WINDOW)
    with _holder(held) as pid:
        assert scan_process(pid, pieces_of(held)).found == frozenset(pieces_of(held))


def test_finds_a_key() -> None:
    key, other = os.urandom(32), os.urandom(32)
    with _holder(key) as pid:
        assert scan_process(pid, (key, other)).found == {key}


def test_leaves_out_what_every_memory_holds() -> None:
    assert pieces_of(bytes(4 * WINDOW)) == ()


def test_a_process_that_is_not_there() -> None:
    with pytest.raises((ProcessLookupError, FileNotFoundError)):
        scan_process(2**22 + 1, (b"x" * 32,))
