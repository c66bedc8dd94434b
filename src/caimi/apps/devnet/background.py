"""The devnet as a background process of its own: `python -m caimi.apps.devnet.background HOME` runs the supervisor."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
import time
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, cast

from caimi.apps.devnet.bringup import running_devnet
from caimi.apps.devnet.errors import BringUpBlocked, BringUpFailed, BringUpRefused, NotRunning, StateNotWritable
from caimi.apps.devnet.folder import StateFolder, check_choice
from caimi.apps.devnet.profiles import Choice, ProfileName, StorageName
from caimi.apps.devnet.progress import Progress, Step, read_records, unfinished_step
from caimi.apps.devnet.running import is_running, lock_is_free
from caimi.types.failure import CaimiError, Retry

__all__ = ["follow_background", "run_foreground", "start_background", "stop_background"]

_POLL_S: Final = 0.1
_LOG_TAIL: Final = 2_000
_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT)
_BY_RETRY: Final = {
    Retry.NEVER.value: BringUpRefused,
    Retry.AFTER.value: BringUpBlocked,
    Retry.SAFE.value: BringUpFailed,
}


async def run_foreground(
    home: Path,
    *,
    choice: Choice | None = None,
    tell: Callable[[Step], None] = lambda step: None,
    ready: Callable[[], None] = lambda: None,
) -> None:
    """Bring the devnet up, keep it up until SIGTERM or SIGINT, then stop all its processes.

    Arguments:
        ready: Called when it is up.
    Raises:
        AlreadySupervised: It runs already.
        CaimiError: It does not come up.
    """
    folder = StateFolder.at(home)
    folder.claim()
    ending = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.set)
    progress = Progress(tell=tell, file=folder.progress)
    bringing = asyncio.create_task(_hold(home, choice, progress, ending, ready))
    stopping = asyncio.create_task(ending.wait())
    await asyncio.wait((bringing, stopping), return_when=asyncio.FIRST_COMPLETED)
    if not progress.is_ready:
        bringing.cancel()  # told to stop in the middle
    with contextlib.suppress(asyncio.CancelledError):
        await bringing
    stopping.cancel()


async def start_background(
    home: Path, *, tell: Callable[[Step], None], timeout_s: float, choice: Choice | None = None
) -> None:
    """Start the devnet in the background and wait until it is up.

    Raises:
        OtherProfile: The folder's network was made in another way than `choice` asks for; nothing was started.
        NoStateFolder, OtherFormat, MalformedFile, StateNotWritable: Of the state folder; nothing was started.
        BringUpFailed: It ended, or was not up in time; in the latter case it goes on trying.
    """
    folder = StateFolder.at(home)
    folder.claim()
    chosen = choice or Choice()
    check_choice(folder, chosen)
    log = folder.log("supervisor")
    try:
        begin = log.stat().st_size if log.exists() else 0
        process = _spawn(folder, log, chosen)
    except OSError as error:
        raise StateNotWritable(f"{error.filename or folder.root}: {error.strerror}") from error

    def ended() -> str | None:
        code = process.poll()
        return None if code is None else f"the supervisor ended with {code}; {_tail(log, begin)}"

    await _follow(folder, tell, ended, timeout_s)


async def follow_background(home: Path, *, tell: Callable[[Step], None], timeout_s: float) -> None:
    """Wait until a devnet that somebody else has started is up; returns at once if it is.

    Raises:
        BringUpFailed: As `start_background`.
    """
    folder = StateFolder.at(home)

    def ended() -> str | None:
        return None if is_running(folder.root) else "the supervisor ended"

    await _follow(folder, tell, ended, timeout_s)


async def stop_background(home: Path, *, timeout_s: float = 60.0) -> None:
    """Stop the devnet of that folder and wait until its last process is gone.

    Raises:
        NotRunning: None runs there.
        BringUpFailed: It does not stop in time.
    """
    if not is_running(home):
        raise NotRunning(f"no devnet runs in {home}")
    # While the lock is held, the number in the file is that of its holder.
    try:
        pid = cast("dict[str, Any]", json.loads((home / "supervisor.json").read_text())).get("pid")
    except (OSError, ValueError):
        pid = None
    if not isinstance(pid, int):
        raise BringUpFailed(f"the devnet in {home} is just starting or stopping: try again")
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    until = time.monotonic() + timeout_s
    while not (lock_is_free(home / "supervisor.lock") and lock_is_free(home / "children.lock")):
        if time.monotonic() > until:
            raise BringUpFailed(f"the supervisor {pid} does not stop within {timeout_s:.0f} s")
        await asyncio.sleep(_POLL_S)


async def _follow(
    folder: StateFolder, tell: Callable[[Step], None], ended: Callable[[], str | None], timeout_s: float
) -> None:
    log, until, shown = folder.log("supervisor"), time.monotonic() + timeout_s, 0
    while True:
        # In this order: what it wrote before it ended is read.
        end = ended()
        lines = read_records(folder.progress)
        for line in lines[shown:]:
            if "step" in line:
                tell(Step(name=str(line["step"]), detail=str(line["detail"]), seconds=float(line["seconds"])))
            elif "error" in line:
                raise _BY_RETRY.get(str(line.get("retry")), BringUpFailed)(f"{line['error']} (log: {log})")
            elif line.get("ready"):
                return
        shown = len(lines)
        if end is not None:
            raise BringUpFailed(f"{end} (log: {log})")
        if time.monotonic() > until:
            reached = unfinished_step(folder.progress)
            raise BringUpFailed(
                f"not up after {timeout_s:.0f} s, done so far: {reached}; it goes on in the background (log: {log})"
            )
        await asyncio.sleep(_POLL_S)


def _spawn(folder: StateFolder, log: Path, choice: Choice) -> subprocess.Popen[bytes]:
    words = [f"--{name}={value}" for name, value in choice.made().items()]
    folder.progress.unlink(missing_ok=True)
    with open(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "caimi.apps.devnet.background", str(folder.root), *words],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=folder.root,
            start_new_session=True,
        )


async def _hold(
    home: Path, choice: Choice | None, progress: Progress, ending: asyncio.Event, ready: Callable[[], None]
) -> None:
    try:
        async with running_devnet(home, progress, choice):
            ready()
            await ending.wait()
    except CaimiError as error:
        progress.append({"error": f"{type(error).__name__}: {error}; {error.hint}", "retry": error.retry.value})
        raise
    except OSError as error:
        if error.filename is None and error.errno not in _NO_ROOM:
            raise
        told = StateNotWritable(f"{error.filename or home}: {error.strerror}")
        with contextlib.suppress(OSError):  # there may be no room for this line either
            progress.append({"error": f"{type(told).__name__}: {told}; {told.hint}", "retry": told.retry.value})
        raise told from error


def _tail(path: Path, begin: int) -> str:
    # What this start wrote: earlier ones have their own story.
    try:
        return path.read_bytes()[begin:].decode("utf-8", "replace")[-_LOG_TAIL:].strip()
    except OSError:
        return "its log cannot be read"


def main() -> int:
    """Run in the foreground of this process; the exit code."""
    parser = argparse.ArgumentParser(description="CAIMI devnet")
    parser.add_argument("home", type=Path)
    parser.add_argument("--profile", choices=typing.get_args(ProfileName))
    parser.add_argument("--storage", choices=typing.get_args(StorageName))
    parser.add_argument("--block_time_ms", type=int)
    parser.add_argument("--finality_depth", type=int)
    words = vars(parser.parse_args())
    home = words.pop("home")
    try:
        asyncio.run(run_foreground(home, choice=Choice(**words)))
    except CaimiError as error:
        sys.stderr.write(f"caimi: error: {type(error).__name__}: {error}\ncaimi: hint: {error.hint}\n")
        return error.retry.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
