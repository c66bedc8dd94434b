"""Starts the devnet's processes, keeps them running and leaves none behind.

Every child leads a process group of its own and starts behind a gate: a shell that waits for one line before
it becomes the program. Between the two the guard (see `guard`) learns the group, so there is no moment at
which the supervisor could be killed and a child survive it.

* CaimiError
  + SupervisorError: root
    - AlreadySupervised: another supervisor, or the guard of a dead one, still holds the folder
    - ProcessNotHealthy: a process did not become useful in time
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from caimi.devnet import guard
from caimi.devnet.health import is_healthy
from caimi.devnet.process import ProcessSpec, RestartPolicy
from caimi.types.failure import Blame, CaimiError, Certainty, Retry

__all__ = [
    "AlreadySupervised",
    "ChildState",
    "ProcessNotHealthy",
    "Supervisor",
    "SupervisorError",
    "SupervisorTiming",
    "restart_pause_s",
]

_GATE: Final = 'read -r go && exec "$@" </dev/null'
_LOCK_POLL_S: Final = 0.1
_LEFTOVER_GRACE_S: Final = 1.0
_NOT_EXECUTABLE: Final = (126, 127)  # the shell's exit codes


class SupervisorError(CaimiError):
    """The devnet's processes cannot be run."""

    blame = Blame.OPERATOR


class AlreadySupervised(SupervisorError):
    """The folder's processes belong to another supervisor."""

    certainty = Certainty.PROVEN
    retry = Retry.AFTER
    hint = "stop the other devnet of this state folder first (`caimi down`)"


class ProcessNotHealthy(SupervisorError):
    """A process did not become useful in time."""

    retry = Retry.AFTER
    hint = "see its log"


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisorTiming:
    """All durations in seconds."""

    first_pause_s: float = 0.2
    """Before the first restart; doubles with each further one in a row."""
    longest_pause_s: float = 10.0
    stable_s: float = 30.0
    """A process that ran this long begins with the first pause again."""
    health_poll_s: float = 0.05
    grace_s: float = guard.GRACE_S
    """From SIGTERM to SIGKILL."""
    lock_wait_s: float = guard.GRACE_S + 2.0
    """How long to wait for the children of a killed supervisor to go."""


def restart_pause_s(failures: int, timing: SupervisorTiming) -> float:
    """Return the pause before the restart that follows `failures` ends in a row (at least 1), in seconds."""
    return min(timing.longest_pause_s, timing.first_pause_s * 2 ** min(failures - 1, 32))


@dataclass(slots=True, kw_only=True)
class ChildState:
    """What is known about one process."""

    spec: ProcessSpec
    pid: int | None = None
    """None while it does not run."""
    started_at: float | None = None
    """Unix seconds of the last start."""
    restarts: int = 0
    """How often it was started again after it had ended by itself."""
    exit_code: int | None = None
    """Of the last end; negative is the number of a signal."""

    def to_json(self) -> dict[str, object]:
        """Its entry in `supervisor.json`."""
        return {
            "pid": self.pid,
            "started_at": self.started_at,
            "restarts": self.restarts,
            "exit_code": self.exit_code,
            "log": str(self.spec.log_path),
        }


class Supervisor:
    """Runs processes for one state folder; `supervisor.json` in it tells how they are."""

    def __init__(self, home: Path, *, timing: SupervisorTiming | None = None) -> None:
        """Prepare without starting anything.

        Args:
            home: State folder; only one supervisor may work in it at a time.
        """
        self._home = home
        self._timing = timing or SupervisorTiming()
        self._children: dict[str, ChildState] = {}
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._locks: list[int] = []
        self._guard: asyncio.subprocess.Process | None = None
        self._guard_pipe: int | None = None
        self._started_at = 0.0
        self._url: str | None = None

    @property
    def children(self) -> Mapping[str, ChildState]:
        """The processes by name."""
        return self._children

    @property
    def url(self) -> str | None:
        """Where this supervisor itself can be asked, None if nowhere."""
        return self._url

    def serves_at(self, url: str) -> None:
        """Have the status file tell where this supervisor can be asked."""
        self._url = url
        self._write_status()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def open(self) -> None:
        """Take the folder, waiting for the children of a killed supervisor to go, and start the guard.

        Raises:
            AlreadySupervised: Another supervisor works in the folder.
        """
        self._home.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            self._locks.append(await self._take_lock("supervisor.lock", wait_s=0.0))
            self._locks.append(await self._take_lock("children.lock", wait_s=self._timing.lock_wait_s))
        except AlreadySupervised:
            self._release()
            raise
        self._started_at = time.time()
        await self._start_guard()
        self._tasks.append(asyncio.create_task(self._watch_guard()))
        self._write_status()

    async def start(self, specs: Iterable[ProcessSpec], *, timeout_s: float = 60.0) -> None:
        """Start processes, lower `start_order` first, and wait until they are useful. May be called again.

        Args:
            timeout_s: For each order.

        Raises:
            ProcessNotHealthy: A process was not useful in time; all go on running until `stop`.
            SupervisorError: A name is taken, or the supervisor is not open.
        """
        if self._guard is None:
            raise SupervisorError("the supervisor is not open")
        by_order: dict[int, list[ChildState]] = {}
        for spec in specs:
            if spec.name in self._children:
                raise SupervisorError(f"there is a process named {spec.name} already")
            self._children[spec.name] = ChildState(spec=spec)
            by_order.setdefault(spec.start_order, []).append(self._children[spec.name])
        for _, together in sorted(by_order.items()):
            for child in together:
                await self._spawn(child)
                self._tasks.append(asyncio.create_task(self._watch(child)))
            await asyncio.gather(*(self.wait_healthy(child.spec.name, timeout_s=timeout_s) for child in together))

    async def wait_healthy(self, name: str, *, timeout_s: float = 60.0) -> None:
        """Wait until a process is useful.

        Raises:
            ProcessNotHealthy: It is not within `timeout_s`, or its program cannot be executed.
        """
        child = self._children[name]
        url = child.spec.health_url
        try:
            async with asyncio.timeout(timeout_s):
                while child.pid is None or not (url is None or await is_healthy(url)):
                    if child.exit_code in _NOT_EXECUTABLE:
                        raise ProcessNotHealthy(f"{name}: cannot execute {child.spec.argv[0]}")
                    if child.exit_code is not None and child.spec.restart is RestartPolicy.NEVER:
                        raise ProcessNotHealthy(f"{name} ended with {child.exit_code}")
                    await asyncio.sleep(self._timing.health_poll_s)
        except TimeoutError:
            log = child.spec.log_path
            raise ProcessNotHealthy(f"{name} was not healthy within {timeout_s} s; its log is {log}") from None

    async def stop(self) -> None:
        """Stop all processes, higher `start_order` first: SIGTERM, then SIGKILL; then release the folder."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        for order in sorted({child.spec.start_order for child in self._children.values()}, reverse=True):
            running = [c for c in self._children.values() if c.spec.start_order == order and c.pid is not None]
            groups = {child.pid for child in running if child.pid is not None}
            await asyncio.to_thread(guard.end_groups, groups, self._timing.grace_s)
            for child in running:
                child.exit_code = await self._processes.pop(child.spec.name).wait()
                self._ended(child)
        self._close_guard_pipe()
        if self._guard is not None:
            await self._guard.wait()
            self._guard = None
        self._write_status()
        self._children.clear()
        self._release()

    # One child

    async def _spawn(self, child: ChildState) -> None:
        spec = child.spec
        if spec.mend is not None:
            await asyncio.to_thread(spec.mend)
        spec.cwd.mkdir(parents=True, exist_ok=True)
        spec.log_path.parent.mkdir(parents=True, exist_ok=True)
        log = os.open(spec.log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            process = await asyncio.create_subprocess_exec(
                *("/bin/sh", "-c", _GATE, "sh", *spec.argv),
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=spec.cwd,
                env={**_base_environment(), **spec.env},
                start_new_session=True,
            )
        finally:
            os.close(log)
        self._processes[spec.name] = process
        child.pid, child.started_at = process.pid, time.time()
        self._tell_guard(f"+{process.pid}")
        if process.stdin is not None:
            process.stdin.write(b"go\n")
            process.stdin.close()
        self._write_status()

    async def _watch(self, child: ChildState) -> None:
        failures = 0
        while True:
            child.exit_code = await self._processes[child.spec.name].wait()
            # What the process itself had started (a peer's chaincode) may not outlive it into the next run.
            await asyncio.to_thread(guard.end_groups, {child.pid} if child.pid else set[int](), _LEFTOVER_GRACE_S)
            uptime_s = time.time() - (child.started_at or 0.0)
            self._ended(child)
            if child.spec.restart is RestartPolicy.NEVER:
                return
            failures = 0 if uptime_s >= self._timing.stable_s else failures
            while child.pid is None:
                failures += 1
                await asyncio.sleep(restart_pause_s(failures, self._timing))
                # The machine may be short of processes or descriptors for a while.
                with contextlib.suppress(OSError):
                    await self._spawn(child)
            child.restarts += 1
            self._write_status()

    def _ended(self, child: ChildState) -> None:
        if child.pid is not None:
            self._tell_guard(f"-{child.pid}")
        child.pid = None
        self._write_status()

    # The guard and the folder

    async def _start_guard(self) -> None:
        self._close_guard_pipe()
        reader, self._guard_pipe = os.pipe()
        try:
            # -I -S: neither the environment nor the working folder decides what the guard executes.
            self._guard = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", guard.__file__, str(reader)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                env=_base_environment(),
                cwd="/",
                pass_fds=(reader, self._locks[-1]),
                start_new_session=True,
            )
        finally:
            os.close(reader)
        for child in self._children.values():
            if child.pid is not None:
                self._tell_guard(f"+{child.pid}")

    async def _watch_guard(self) -> None:
        while self._guard is not None:
            await self._guard.wait()
            await self._start_guard()

    def _tell_guard(self, line: str) -> None:
        if self._guard_pipe is not None:
            try:
                os.write(self._guard_pipe, f"{line}\n".encode())
            except BrokenPipeError:
                # The guard was killed; its successor is told of every child that runs.
                return

    def _close_guard_pipe(self) -> None:
        if self._guard_pipe is not None:
            os.close(self._guard_pipe)
            self._guard_pipe = None

    async def _take_lock(self, name: str, *, wait_s: float) -> int:
        descriptor = os.open(self._home / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return descriptor
            except OSError:
                if time.monotonic() >= deadline:
                    os.close(descriptor)
                    raise AlreadySupervised(f"{self._home / name} is held by another supervisor") from None
            await asyncio.sleep(_LOCK_POLL_S)

    def _release(self) -> None:
        for descriptor in self._locks:
            os.close(descriptor)
        self._locks.clear()

    def _write_status(self) -> None:
        status = {
            "pid": os.getpid() if self._guard is not None else None,
            "started_at": self._started_at,
            "url": self._url,
            "processes": {name: child.to_json() for name, child in self._children.items()},
        }
        fresh = self._home / "supervisor.json.new"
        # A full disk must not keep a process from being started again.
        with contextlib.suppress(OSError):
            fresh.write_text(json.dumps(status, indent=1))
            fresh.replace(self._home / "supervisor.json")


def _base_environment() -> dict[str, str]:
    # Nothing else of the caller's environment may reach a child: Fabric reads its whole configuration from CORE_*.
    return {"PATH": os.defpath, **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}}
