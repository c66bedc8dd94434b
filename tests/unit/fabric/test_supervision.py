"""The parts of the supervisor that need no network: pauses, the guard, health addresses."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from caimi.devnet import guard
from caimi.devnet.health import BadHealthUrl, is_healthy
from caimi.devnet.process import ProcessSpec
from caimi.devnet.supervisor import Supervisor, SupervisorError, SupervisorTiming, restart_pause_s

_TIMING = SupervisorTiming(first_pause_s=0.2, longest_pause_s=10.0)


def test_restarts_back_off_and_never_stop() -> None:
    assert [restart_pause_s(n, _TIMING) for n in (1, 2, 3, 4, 6, 7, 1000)] == [0.2, 0.4, 0.8, 1.6, 6.4, 10.0, 10.0]


@pytest.mark.parametrize(
    ("chunks", "left"),
    [
        ([], set[int]()),
        ([b"+11\n+12\n", b"-11\n"], {12}),
        ([b"+1", b"1\n+1", b"2\n"], {11, 12}),
        ([b"+11\n-11\n+11\n"], {11}),
        ([b"-11\n"], set[int]()),
        ([b"+11\n+12"], {11}),  # a line that was cut short names no group
    ],
)
def test_the_guard_knows_which_groups_live_when_the_pipe_ends(chunks: list[bytes], left: set[int]) -> None:
    reader, writer = os.pipe()
    for chunk in chunks:
        os.write(writer, chunk)
    os.close(writer)
    try:
        assert guard.read_groups(reader) == left
    finally:
        os.close(reader)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="only /proc tells zombies from processes")
def test_a_group_that_nobody_reaps_is_over_when_its_last_process_is() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True) as child:
        begin = time.monotonic()
        guard.end_groups({child.pid}, 60.0)
        assert time.monotonic() - begin < 30.0
        assert child.wait() == -signal.SIGTERM


def test_a_process_that_ignores_sigterm_is_killed_after_the_grace_only() -> None:
    code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as child:
        assert child.stdout is not None and child.stdout.readline() == b"deaf\n"
        begin = time.monotonic()
        guard.end_groups({child.pid}, 0.5)
        assert time.monotonic() - begin >= 0.5
        assert child.wait() == -signal.SIGKILL


def test_the_guard_imports_nothing_but_the_standard_library() -> None:
    imported = [line.split()[1] for line in Path(guard.__file__).read_text().splitlines() if line.startswith("import ")]
    assert imported == ["os", "signal", "sys", "time"]
    assert "\nfrom " not in Path(guard.__file__).read_text()


@pytest.mark.parametrize("url", ["", "https://127.0.0.1:1/", "127.0.0.1:80", "http://127.0.0.1/", "tcp://:80"])
def test_a_health_address_of_another_form_is_refused(url: str) -> None:
    with pytest.raises(BadHealthUrl):
        asyncio.run(is_healthy(url))


def _ask(answer: bytes, scheme: str) -> bool:
    async def run() -> bool:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if scheme == "http":
                await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server:
            return await is_healthy(f"{scheme}://127.0.0.1:{port}/healthz")

    return asyncio.run(run())


def test_only_200_is_healthy() -> None:
    assert _ask(b"HTTP/1.1 200 OK\r\n\r\n", "http")
    assert not _ask(b"HTTP/1.1 503 Service Unavailable\r\n\r\n", "http")
    assert not _ask(b"200\r\n", "http")
    assert not _ask(b"", "http")
    assert not _ask(b"x" * 5000, "http")
    assert _ask(b"", "tcp")


def test_a_closed_port_is_not_healthy() -> None:
    assert not asyncio.run(is_healthy("tcp://127.0.0.1:1"))


def test_nothing_starts_under_a_closed_supervisor(tmp_path: Path) -> None:
    spec = ProcessSpec(name="a", argv=("/bin/true",), cwd=tmp_path, log_path=tmp_path / "log")
    with pytest.raises(SupervisorError, match="not open"):
        asyncio.run(Supervisor(tmp_path).start([spec]))
