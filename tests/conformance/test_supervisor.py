"""The supervisor with real processes: restarts, order, and nobody left behind, however it ends."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from caimi.devnet.process import ProcessSpec, RestartPolicy
from caimi.devnet.supervisor import (
    AlreadySupervised,
    ProcessNotHealthy,
    Supervisor,
    SupervisorError,
    SupervisorTiming,
)

pytestmark = pytest.mark.devnet

_QUICK = SupervisorTiming(first_pause_s=0.02, longest_pause_s=0.05, stable_s=60.0, grace_s=2.0, lock_wait_s=12.0)
# Holds a lock on the file named by its first argument for as long as it lives, then says so in the second.
_HOLDER = """
import fcntl, os, signal, sys, time
if sys.argv[3] == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if sys.argv[3] == "parent" and os.fork():
    while True: time.sleep(60)
lock = open(sys.argv[1], "w")
fcntl.flock(lock, fcntl.LOCK_EX)
open(sys.argv[2], "w").write(str(os.getpid()))
while True: time.sleep(60)
"""


def _holder(folder: Path, name: str, kind: str = "plain", **fields: object) -> ProcessSpec:
    argv = (sys.executable, "-I", "-S", "-c", _HOLDER, str(folder / f"{name}.lock"), str(folder / f"{name}.up"), kind)
    base: dict[str, object] = {"name": name, "argv": argv, "cwd": folder, "log_path": folder / "logs" / f"{name}.log"}
    return ProcessSpec(**{**base, **fields})  # pyright: ignore[reportArgumentType]


def _is_free(folder: Path, name: str, *, within_s: float = 0.0) -> bool:
    deadline = time.monotonic() + within_s
    with (folder / f"{name}.lock").open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            except OSError:
                if time.monotonic() >= deadline:
                    return False
            time.sleep(0.02)


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while True:
            if holds():
                return
            await asyncio.sleep(0.01)


async def _exists(path: Path) -> None:
    await _until(lambda: path.is_file() and path.read_text() != "")


def _status(home: Path) -> dict[str, dict[str, int]]:
    return json.loads((home / "supervisor.json").read_text())["processes"]


def test_a_dead_child_comes_back_and_is_counted(tmp_path: Path) -> None:
    async def run() -> None:
        async with Supervisor(tmp_path, timing=_QUICK) as supervisor:
            await supervisor.start([_holder(tmp_path, "a")])
            for number in (1, 2):
                await _exists(tmp_path / "a.up")
                old = supervisor.children["a"].pid
                assert old is not None
                (tmp_path / "a.up").unlink()
                os.kill(old, signal.SIGKILL)
                await _exists(tmp_path / "a.up")
                await _until(lambda n=number: _status(tmp_path)["a"]["restarts"] == n)
                assert _status(tmp_path)["a"]["exit_code"] == -signal.SIGKILL
                assert _status(tmp_path)["a"]["pid"] == supervisor.children["a"].pid != old
        assert _is_free(tmp_path, "a")

    asyncio.run(run())


def test_a_child_comes_back_though_its_status_cannot_be_written(tmp_path: Path) -> None:
    async def run() -> None:
        async with Supervisor(tmp_path, timing=_QUICK) as supervisor:
            await supervisor.start([_holder(tmp_path, "a")])
            await _exists(tmp_path / "a.up")
            first = supervisor.children["a"].pid
            assert first is not None
            # Stands for a full disk: every write of the status fails.
            (tmp_path / "supervisor.json.new").mkdir()
            os.kill(first, signal.SIGKILL)
            await _until(lambda: supervisor.children["a"].pid not in (None, first))

    asyncio.run(run())


def test_what_a_kill_left_half_done_is_mended_before_each_start(tmp_path: Path) -> None:
    mended: list[bool] = []

    def mend() -> None:
        mended.append((tmp_path / "a.up").exists())

    async def run() -> None:
        async with Supervisor(tmp_path, timing=_QUICK) as supervisor:
            await supervisor.start([_holder(tmp_path, "a", mend=mend)])
            await _exists(tmp_path / "a.up")
            os.kill(int((tmp_path / "a.up").read_text()), signal.SIGKILL)
            await _until(lambda: len(mended) == 2)

    asyncio.run(run())
    assert mended == [False, True]


def test_a_child_that_may_not_come_back_does_not(tmp_path: Path) -> None:
    async def run() -> None:
        spec = _holder(tmp_path, "a", restart=RestartPolicy.NEVER)
        async with Supervisor(tmp_path, timing=_QUICK) as supervisor:
            await supervisor.start([spec])
            await _exists(tmp_path / "a.up")
            os.kill(supervisor.children["a"].pid or 0, signal.SIGKILL)
            await _until(lambda: supervisor.children["a"].pid is None)
            await asyncio.sleep(0.2)
            assert supervisor.children["a"].pid is None
            assert supervisor.children["a"].restarts == 0

    asyncio.run(run())


@pytest.mark.parametrize("kind", ["plain", "stubborn", "parent"])
def test_stop_leaves_nobody(tmp_path: Path, kind: str) -> None:
    async def run() -> None:
        async with Supervisor(tmp_path, timing=_QUICK) as supervisor:
            await supervisor.start([_holder(tmp_path, "a", kind)])
            await _exists(tmp_path / "a.up")
            assert not _is_free(tmp_path, "a")

    asyncio.run(run())
    assert _is_free(tmp_path, "a")
    assert json.loads((tmp_path / "supervisor.json").read_text())["pid"] is None


_KILLED = """
import asyncio, sys
sys.path[:0] = {path!r}
from pathlib import Path
from tests.conformance.test_supervisor import _holder, _exists
from caimi.devnet.supervisor import Supervisor
async def main():
    home = Path({home!r})
    supervisor = Supervisor(home)
    await supervisor.open()
    await supervisor.start([_holder(home, k, k) for k in ("plain", "stubborn", "parent")])
    for k in ("plain", "stubborn", "parent"):
        await _exists(home / (k + ".up"))
    print("up", flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""


def test_a_killed_supervisor_leaves_nobody_and_the_next_one_waits(tmp_path: Path) -> None:
    script = _KILLED.format(path=sys.path, home=str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline() == "up\n"
        assert not any(_is_free(tmp_path, name) for name in ("plain", "stubborn", "parent"))
        killed.kill()

    async def successor() -> None:
        async with Supervisor(tmp_path, timing=_QUICK):
            # It got the folder only after the guard had ended them all, the stubborn one included.
            assert all(_is_free(tmp_path, name) for name in ("plain", "stubborn", "parent"))

    asyncio.run(successor())


def test_a_guard_that_was_killed_is_replaced_and_knows_everybody(tmp_path: Path) -> None:
    async def run() -> None:
        supervisor = Supervisor(tmp_path, timing=_QUICK)
        await supervisor.open()
        await supervisor.start([_holder(tmp_path, "a")])
        await _exists(tmp_path / "a.up")
        first = supervisor._guard
        assert first is not None
        first.kill()
        await _until(lambda: supervisor._guard is not first)
        # What the kernel does when the supervisor is killed: the pipe ends.
        supervisor._close_guard_pipe()
        await _until(lambda: _is_free(tmp_path, "a"))
        await supervisor.stop()

    asyncio.run(run())


def test_one_folder_has_one_supervisor(tmp_path: Path) -> None:
    async def run() -> None:
        async with Supervisor(tmp_path, timing=_QUICK):
            with pytest.raises(AlreadySupervised):
                await Supervisor(tmp_path, timing=_QUICK).open()

    asyncio.run(run())


def test_later_processes_wait_for_the_health_of_earlier_ones(tmp_path: Path) -> None:
    async def run() -> None:
        async with Supervisor(tmp_path, timing=_QUICK) as supervisor:
            early = _holder(tmp_path, "early", health_url="tcp://127.0.0.1:1")
            with pytest.raises(ProcessNotHealthy, match="early was not healthy"):
                await supervisor.start([_holder(tmp_path, "late", start_order=1), early], timeout_s=0.3)
            assert supervisor.children["early"].pid is not None
            assert supervisor.children["late"].pid is None

    asyncio.run(run())
    assert _is_free(tmp_path, "early")


def test_a_program_that_cannot_be_executed_is_named_at_once(tmp_path: Path) -> None:
    async def run() -> None:
        async with Supervisor(tmp_path, timing=_QUICK) as supervisor:
            spec = _holder(tmp_path, "a", argv=(str(tmp_path / "absent"),), health_url="tcp://127.0.0.1:1")
            with pytest.raises(ProcessNotHealthy, match=r"cannot execute .*absent"):
                await supervisor.start([spec])

    asyncio.run(run())


def test_a_name_is_used_once(tmp_path: Path) -> None:
    async def run() -> None:
        async with Supervisor(tmp_path, timing=_QUICK) as supervisor:
            await supervisor.start([_holder(tmp_path, "a")])
            with pytest.raises(SupervisorError, match="named a already"):
                await supervisor.start([_holder(tmp_path, "a")])

    asyncio.run(run())


def test_the_environment_of_the_caller_does_not_reach_a_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORE_PEER_LOCALMSPID", "EvilMSP")

    async def run() -> None:
        argv = ("/bin/sh", "-c", f"env > {tmp_path}/env.new && mv {tmp_path}/env.new {tmp_path}/env; sleep 60")
        async with Supervisor(tmp_path, timing=_QUICK) as supervisor:
            await supervisor.start([_holder(tmp_path, "a", argv=argv, env={"MINE": "1"})])
            await _exists(tmp_path / "env")

    asyncio.run(run())
    names = {line.partition("=")[0] for line in (tmp_path / "env").read_text().splitlines()}
    assert "MINE" in names
    assert "CORE_PEER_LOCALMSPID" not in names
