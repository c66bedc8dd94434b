"""The devnet as a background process of its own: `python -m caimi.apps.devnet.background HOME` runs the supervisor."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, cast

from caimi.apps.devnet.bringup import running_devnet
from caimi.apps.devnet.errors import BringUpFailed, NotRunning
from caimi.apps.devnet.folder import StateFolder
from caimi.apps.devnet.progress import Progress, Step
from caimi.apps.devnet.running import is_running, lock_is_free
from caimi.types.errors import CaimiError

__all__ = ["run_foreground", "start_background", "stop_background"]

_POLL_S: Final = 0.1
_LOG_TAIL: Final = 2_000


async def run_foreground(home: Path, *, tell: Callable[[Step], None] = lambda step: None) -> None:
    """Bring the devnet up, keep it up until SIGTERM or SIGINT, then stop all its processes.

    Raises:
        AlreadySupervised: It runs already.
        CaimiError: It does not come up.
    """
    ending = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.set)
    progress = Progress(tell=tell, file=StateFolder.at(home).progress)
    bringing = asyncio.create_task(_hold(home, progress, ending))
    stopping = asyncio.create_task(ending.wait())
    await asyncio.wait((bringing, stopping), return_when=asyncio.FIRST_COMPLETED)
    if not progress.is_ready:
        bringing.cancel()  # told to stop in the middle
    with contextlib.suppress(asyncio.CancelledError):
        await bringing
    stopping.cancel()


async def start_background(home: Path, *, tell: Callable[[Step], None], timeout_s: float) -> None:
    """Start the devnet in the background and wait until it is up.

    Raises:
        BringUpFailed: It ended, or was not up in time; in the latter case it goes on trying.
    """
    folder = StateFolder.at(home)
    log = folder.log("supervisor")
    process = _spawn(folder, log)
    until = time.monotonic() + timeout_s
    shown = 0
    while True:
        lines = _lines(folder.progress)
        for line in lines[shown:]:
            if "step" in line:
                tell(Step(name=str(line["step"]), detail=str(line["detail"]), seconds=float(line["seconds"])))
            elif "error" in line:
                raise BringUpFailed(f"{line['error']} (log: {log})")
            elif line.get("ready"):
                return
        shown = len(lines)
        if process.poll() is not None:
            raise BringUpFailed(f"the supervisor ended with {process.returncode}; {_tail(log)} (log: {log})")
        if time.monotonic() > until:
            raise BringUpFailed(f"not up after {timeout_s:.0f} s, it goes on in the background (log: {log})")
        await asyncio.sleep(_POLL_S)


async def stop_background(home: Path, *, timeout_s: float = 60.0) -> None:
    """Stop the devnet of that folder and wait until its last process is gone.

    Raises:
        NotRunning: None runs there.
        BringUpFailed: It does not stop in time.
    """
    if not is_running(home):
        raise NotRunning(f"no devnet runs in {home}")
    # While the lock is held, the number in the file is that of its holder.
    status = cast("dict[str, Any]", json.loads((home / "supervisor.json").read_text()))
    pid = status.get("pid")
    if not isinstance(pid, int):
        raise NotRunning(f"the devnet in {home} is starting or stopping: try again")
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    until = time.monotonic() + timeout_s
    while not (lock_is_free(home / "supervisor.lock") and lock_is_free(home / "children.lock")):
        if time.monotonic() > until:
            raise BringUpFailed(f"the supervisor {pid} does not stop within {timeout_s:.0f} s")
        await asyncio.sleep(_POLL_S)


def _spawn(folder: StateFolder, log: Path) -> subprocess.Popen[bytes]:
    folder.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.progress.unlink(missing_ok=True)
    with open(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "caimi.apps.devnet.background", str(folder.root)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=folder.root,
            start_new_session=True,
        )


async def _hold(home: Path, progress: Progress, ending: asyncio.Event) -> None:
    try:
        async with running_devnet(home, progress):
            await ending.wait()
    except CaimiError as error:
        progress.append({"error": f"{type(error).__name__}: {error}; {error.hint}"})
        raise


def _lines(path: Path) -> list[dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    # The last line may be half written.
    return [cast("dict[str, Any]", json.loads(line)) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def _tail(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")[-_LOG_TAIL:].strip()


def main() -> int:
    """Run in the foreground of this process; the exit code."""
    try:
        asyncio.run(run_foreground(Path(sys.argv[1])))
    except CaimiError as error:
        sys.stderr.write(f"caimi: error: {type(error).__name__}: {error}\ncaimi: hint: {error.hint}\n")
        return error.retry.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
