"""What the daemons share: arguments, observer, crash points, exit codes, waiting for ledgers."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, Final, TypeVar

from caimi.apps.json_observer import JsonObserver
from caimi.apps.process_config import CrashAt, read_config
from caimi.apps.system import KillAt
from caimi.ports.chain import ChainUnavailable
from caimi.ports.clock import Clock
from caimi.ports.crash import CrashPoints, NoCrash
from caimi.ports.observer import Observer
from caimi.types.errors import CaimiError, ClockSkew, NotInitialised

__all__ = ["crash_points", "open_observer", "run_daemon", "when_reachable"]

C = TypeVar("C")
T = TypeVar("T")
_PAUSE: Final = 0.5


def run_daemon(kind: type[C], main: Callable[[C], Coroutine[Any, Any, None]]) -> int:
    """Read `--config`, run `main` to its end; the exit code (spec 00 §5)."""
    parser = argparse.ArgumentParser(description=f"Run a process by its {kind.__name__}.")
    parser.add_argument("--config", type=Path, required=True, help="JSON file of mode 0600: caimi.apps.process_config")
    path: Path = parser.parse_args().config
    code = 0
    try:
        asyncio.run(main(read_config(kind, path)))
    except* CaimiError as group:
        error = _first(group)
        sys.stderr.write(f"caimi: error: {type(error).__name__}: {error}\ncaimi: hint: {error.hint}\n")
        code = error.retry.exit_code
    return code


def _first(group: BaseExceptionGroup[CaimiError]) -> CaimiError:
    # Tasks that fail together are shown by the first of them.
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


def open_observer(process: str, log: Path | None) -> JsonObserver:
    """Steps go to the log, or to standard error."""
    return JsonObserver(process, sys.stderr) if log is None else JsonObserver.open(process, log)


def crash_points(crash_at: CrashAt | None) -> CrashPoints:
    """Where the process kills itself; nowhere in production."""
    return NoCrash() if crash_at is None else KillAt(crash_at.step, crash_at.count, crash_at.record)


async def when_reachable(ask: Callable[[], Awaitable[T]], *, clock: Clock, observer: Observer) -> T:
    """Ask until the ledgers are up and this machine's clock is near theirs. Every error but "not now" is raised."""
    while True:
        try:
            return await ask()
        except (ChainUnavailable, NotInitialised, ClockSkew) as error:
            observer.step("process.waits-for-ledger", error=type(error).__name__, text=str(error))
        await clock.sleep(_PAUSE)
